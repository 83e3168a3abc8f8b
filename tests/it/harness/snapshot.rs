//! Documents that are made of the program.

use std::{fs, path::Path};

/// Compares a committed document with what it is made of, or writes it where `UPDATE_SNAPSHOTS` is set.
pub fn assert_reference(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&file, expected).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == expected, "{path} is out of date; run UPDATE_SNAPSHOTS=1 cargo test --test it");
}
