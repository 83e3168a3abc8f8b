//! `bento-gateway token scan`: finds tokens in files, offline, and prints no part of them.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use bento_gateway::system;
use serde_json::Value;

fn scan(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bento-gateway"));
    // Neither a store nor a configuration is needed, and a bad one is not looked at.
    command.env_clear().env("BENTO_GATEWAY__STORE__URL", "nonsense").current_dir(directory);
    command.args(["token", "scan"]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn token() -> String {
    system::new_token_text().unwrap().expose().to_owned()
}

#[test]
fn tokens_are_found_wherever_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let token = token();
    let put = |path: &str, content: &[u8]| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    put("clean.txt", b"bgw_ is only a prefix");
    put("deep/er/.env", format!("A=1\nTOKEN=\"{token}\"\n").as_bytes());
    put(".git/objects/x", &[&[0, 255, 10, 0][..], token.as_bytes(), &[0]].concat());
    // Across the pieces that are read at once.
    let filler = 256 * 1024 - 30;
    put("large.bin", &[vec![b'x'; filler], token.clone().into_bytes(), vec![b'y'; 1000]].concat());
    std::os::unix::fs::symlink(".", directory.path().join("loop")).unwrap();

    // What a shell hands over by `<(...)`, or a file of the kernel's.
    let piped = scan(directory.path(), &["/dev/stdin"], &token);
    assert_eq!(piped.status.code(), Some(6), "{piped:?}");

    let output = scan(directory.path(), &[".", "-o", "json"], "");
    assert_eq!(output.status.code(), Some(6));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let places: Vec<_> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|place| {
            (
                place["path"].as_str().unwrap().to_owned(),
                place["line"].as_u64().unwrap(),
                place["column"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [("./.git/objects/x", 2, 2), ("./deep/er/.env", 2, 8), ("./large.bin", 1, filler as u64 + 1)];
    assert_eq!(places, expected.map(|(path, line, column)| (path.to_owned(), line, column)));

    for format in ["table", "json", "yaml"] {
        let output = scan(directory.path(), &[".", "-", "-o", format], &token);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("4 places") && said.contains("leaked_tokens"), "{said}");
        for part in [&token[4..16], &token[17..60], &token[60..]] {
            assert!(!said.contains(part), "{said}");
        }
    }
}

#[test]
fn what_is_clean_missing_or_unreadable_ends_differently() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("clean"), "nothing").unwrap();
    fs::write(directory.path().join("leak"), token()).unwrap();
    let code = |arguments: &[&str]| {
        let output = scan(directory.path(), arguments, "");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(code(&["clean"]).0, 0);
    let (status, said) = code(&["clean", "nowhere\u{1b}[2J"]);
    assert_eq!(status, 3);
    assert!(said.contains("nowhere\\u{1b}[2J"), "{said}");
    assert_eq!(code(&["nowhere", "leak"]).0, 6, "the others are scanned");
    // Nobody, root neither, may read a process' memory map from its beginning.
    assert_eq!(code(&["clean", "/proc/self/mem"]).0, 1);
    assert_eq!(code(&[]).0, 2);
}

#[test]
fn tokens_are_found_in_utf_16() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("\u{feff}$env:TOKEN = '{}'\r\n", token());
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(directory.path().join("profile.ps1"), wide).unwrap();
    let output = scan(directory.path(), &["."], "");
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
}
