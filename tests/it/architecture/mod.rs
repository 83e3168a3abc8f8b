//! The house guards itself: what `docs/architecture.md`, `docs/errors.md` and CONTRIBUTING say of the code is compared
//! with the code. Nothing here runs the program.
//!
//! What is wrong and known stands in a list with its reason, beside the test that would refuse it. Such an entry must be
//! needed: once it is mended, the test fails until the entry is gone, so that the lists only shrink.

mod book;
mod documents;
mod hints;
mod imports;
mod links;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use source::modules;

/// What is wrong, as a test says it, and why it may stay for now.
type Known = &'static [(&'static str, &'static str)];

const KNOWN_CIRCLES: Known = &[];

/// No file is longer, so that one can be read at a sitting.
const MAX_LINES: usize = 400;

const LONG_FILES: Known = &[];

#[test]
fn every_room_is_on_the_map_and_uses_what_is_below_it() {
    let map = documents::Map::read();
    let modules = modules();
    let rooms: BTreeSet<&str> = modules.iter().map(|module| module.path[0].as_str()).collect();
    assert_eq!(rooms, map.rooms.iter().map(String::as_str).collect(), "docs/architecture.md names the rooms");

    let floor = |room: &str| map.rooms.iter().position(|other| other == room).unwrap();
    let mut wrong = BTreeSet::new();
    let mut excepted = BTreeSet::new();
    for (file, used) in imports::of(modules) {
        for other in used {
            let arrow = (imports::room(file).to_owned(), imports::room(other).to_owned());
            let (from, to) = (floor(&arrow.0), floor(&arrow.1));
            if map.exceptions.contains(&arrow) {
                excepted.insert(arrow);
            } else if from > to || map.forbidden.contains(&arrow) {
                wrong.insert(format!("{file} uses {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/architecture.md does not allow it: {wrong:#?}");
    assert_eq!(excepted, map.exceptions, "an exception in docs/architecture.md that nothing needs");
}

#[test]
fn no_two_files_need_each_other() {
    let modules = modules();
    let circles: BTreeSet<String> =
        imports::circles(&imports::of(modules)).iter().map(|files| files.join(", ")).collect();
    assert_known("files that import each other", &circles, KNOWN_CIRCLES);
}

#[test]
fn every_file_can_be_read_at_a_sitting() {
    let mut files = files("src", "rs");
    files.extend(self::files("tests/it", "rs"));
    assert!(files.len() > 150, "{files:?}");
    let lines = |file: &String| fs::read_to_string(root().join(file)).unwrap().lines().count();
    let long: BTreeSet<String> = files.into_iter().filter(|file| lines(file) > MAX_LINES).collect();
    assert_known(&format!("a file of more than {MAX_LINES} lines"), &long, LONG_FILES);
}

#[test]
fn every_code_is_explained_and_every_explained_code_exists() {
    for codes in [documents::data_plane_codes(), documents::management_codes()] {
        let documents::Codes { code, explained } = codes;
        assert!(code.len() > 10, "{code:?}");
        let missing: Vec<_> = code.difference(&explained).collect();
        assert!(missing.is_empty(), "not in docs/errors.md: {missing:?}");
        let stale: Vec<_> = explained.difference(&code).collect();
        assert!(stale.is_empty(), "in docs/errors.md, and nothing answers so: {stale:?}");
    }
}

#[test]
fn every_scope_is_explained_and_every_explained_scope_exists() {
    let [code, explained] = documents::scopes();
    assert!(code.contains("api") && code.len() >= 5, "{code:?}");
    assert_eq!(code, explained, "the table of docs/tokens.md");
}

/// So that one can point somebody at it.
#[test]
fn every_code_has_an_address() {
    let without = documents::codes_without_an_address();
    assert!(without.is_empty(), "no heading ### `code` in docs/errors.md: {without:?}");
}

#[test]
fn what_documents_name_exists() {
    let missing = documents::names_of_nothing();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn links_in_documents_lead_somewhere() {
    let dead = links::dead();
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn migrations_move_together() {
    let names = |database: &str| -> BTreeSet<String> {
        let folder = format!("migrations/{database}");
        files(&folder, "sql").iter().map(|file| file[folder.len()..].to_owned()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}

/// Neither is anything wrong that is not known, nor anything known that is not wrong any more.
#[track_caller]
fn assert_known(what: &str, wrong: &BTreeSet<String>, known: Known) {
    let known: BTreeMap<String, &str> = known.iter().map(|(what, reason)| ((*what).to_owned(), *reason)).collect();
    let new: Vec<_> = wrong.iter().filter(|wrong| !known.contains_key(*wrong)).collect();
    assert!(new.is_empty(), "{what}: {new:#?}");
    let mended: Vec<_> = known.keys().filter(|known| !wrong.contains(*known)).collect();
    assert!(mended.is_empty(), "{what}: mended, so take it off the list: {mended:#?}");
    assert!(known.values().all(|reason| !reason.is_empty()), "a reason is missing");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Below a directory of the project, from the project's root; `""`: whatever the extension.
fn files(directory: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root().join(directory)).sort_by_file_name() {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root()).unwrap();
        if entry.file_type().is_file() && (extension.is_empty() || path.extension().is_some_and(|e| e == extension)) {
            found.push(path.to_str().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn a_list_of_what_is_known_can_only_shrink() {
    let wrong = BTreeSet::from(["a".to_owned()]);
    assert_known("", &wrong, &[("a", "why")]);
    let fails = |wrong: &BTreeSet<String>, known| std::panic::catch_unwind(|| assert_known("", wrong, known)).is_err();
    assert!(fails(&wrong, &[]), "what is new");
    assert!(fails(&wrong, &[("a", "why"), ("b", "why")]), "what is mended");
    assert!(fails(&wrong, &[("a", "")]), "what has no reason");
}
