//! Who imports whom among the files of `src`.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Module;

/// For every file those that it uses. A module's own ancestors do not count: what is in `mod.rs` belongs to all that is
/// below it. What a `mod.rs` exports again is its origin's.
pub fn of(modules: &[Module]) -> BTreeMap<&str, BTreeSet<&str>> {
    let by_path: BTreeMap<&[String], &Module> = modules.iter().map(|module| (&module.path[..], module)).collect();
    let exported = exported(modules);
    let origin = |mut path: Vec<String>| {
        // Each step leads to another file; nobody exports a name through ten of them.
        for _ in 0..10 {
            let longest = (1..=path.len()).rev().find(|&length| exported.contains_key(&path[..length]));
            let Some(length) = longest else { break };
            path = [&exported[&path[..length]][..], &path[length..]].concat();
        }
        (1..=path.len()).rev().find_map(|length| by_path.get(&path[..length]).copied())
    };
    let used = |module: &Module| {
        let targets = module.paths().into_iter().filter_map(|(path, _)| origin(path));
        targets.filter(|target| !module.path.starts_with(&target.path)).map(|target| &*target.file).collect()
    };
    modules.iter().map(|module| (&*module.file, used(module))).collect()
}

/// Where the names of `pub use` come from.
fn exported(modules: &[Module]) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut exported = BTreeMap::new();
    for module in modules {
        for (path, _) in module.paths().into_iter().filter(|(_, public)| *public) {
            let name = [&module.path[..], &path[path.len() - 1..]].concat();
            exported.insert(name, path);
        }
    }
    exported
}

/// `proxy` for `src/proxy/permit.rs`, `system` for `src/system.rs`.
pub fn room(file: &str) -> &str {
    let below = file.strip_prefix("src/").unwrap();
    below.split(['/', '.']).next().unwrap()
}

/// The files that each reach each other, in groups.
pub fn circles<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<Vec<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|file| (*file, reach(imports, file))).collect();
    let both = |one: &str, other: &str| reached[one].contains(other) && reached[other].contains(one);
    let circle = |file: &str| imports.keys().copied().filter(|other| both(file, other)).collect::<Vec<_>>();
    imports.keys().map(|file| circle(file)).filter(|files| files.len() > 1).collect()
}

fn reach<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>, file: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = imports[file].iter().copied().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(&imports[file]);
        }
    }
    reached
}

#[test]
fn circles_of_any_length_are_found() {
    let module = |file: &str, text: &str| Module::parse(file, text);
    let modules = [
        module("src/a/mod.rs", "mod one; mod two; mod three; pub use two::Two; fn f() { one::f() }"),
        module("src/a/one.rs", "use super::Two; use crate::b;"),
        module("src/a/two.rs", "fn f() { super::three::g() }"),
        module("src/a/three.rs", "use crate::a::one::{self, One as Uno};"),
        module("src/b.rs", "use crate::c::C;"),
        module("src/c.rs", "#[cfg(test)] mod tests { use crate::b; }"),
    ];
    let circle = vec!["src/a/one.rs", "src/a/three.rs", "src/a/two.rs"];
    assert_eq!(circles(&of(&modules)), BTreeSet::from([circle]));
}
