//! The effective configuration as TOML, in the order of `config/default.toml`, each value with its source.

use std::fmt::Write;

use config::{Map, Value, ValueKind};

use super::{problems::shown, reader::source_of, sources::DEFAULTS};

pub(super) fn render(tree: &Value) -> String {
    let mut out = String::new();
    if let ValueKind::Table(root) = &tree.kind {
        render_table(&mut out, "", root);
    }
    out
}

fn render_table(out: &mut String, path: &str, table: &Map<String, Value>) {
    let key_path = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let mut keys: Vec<&String> = table.keys().collect();
    keys.sort_by_cached_key(|key| (place_in_defaults(path, key), (*key).clone()));
    let is_table =
        |key: &&&String| matches!(table.get(key.as_str()).map(|value| &value.kind), Some(ValueKind::Table(_)));
    if !path.is_empty() && keys.iter().any(|key| !is_table(&key)) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n[{path}]");
    }
    for key in keys.iter().filter(|key| !is_table(key)) {
        if let Some(value) = table.get(key.as_str()) {
            let _ = writeln!(out, "{key} = {} # {}", shown(&key_path(key), value), source_of(value));
        }
    }
    for key in keys.iter().filter(is_table) {
        if let Some(ValueKind::Table(inner)) = table.get(key.as_str()).map(|value| &value.kind) {
            render_table(out, &key_path(key), inner);
        }
    }
}

/// Where the key of section `path` stands in the defaults; after everything else if it does not.
fn place_in_defaults(path: &str, key: &str) -> usize {
    let header = if path.is_empty() { format!("[{key}]") } else { format!("[{path}.{key}]") };
    let mut section = String::new();
    for (at, line) in DEFAULTS.lines().enumerate() {
        if line == header {
            return at;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        }
        if section == path && line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" =")) {
            return at;
        }
    }
    usize::MAX
}
