//! `docs/` as a book: `docs/SUMMARY.md` has every page once, and what the pages show can be pasted.
//!
//! `scripts/book` makes the book; nothing here needs mdBook.

use std::{collections::BTreeSet, fs, process::Command};

use super::{files, links, root};
use crate::harness::commands::CommandLine;

const SUMMARY: &str = "docs/SUMMARY.md";
/// Of what is not there yet.
const ROADMAP: &str = "docs/roadmap.md";
/// Generated from the program.
const GENERATED: [&str; 2] = ["docs/cli.md", "docs/configuration.md"];

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

#[test]
fn every_page_is_in_the_book_once() {
    let entries: Vec<String> = links::links(&text(SUMMARY)).iter().map(|entry| format!("docs/{entry}")).collect();
    let once: BTreeSet<String> = entries.iter().cloned().collect();
    assert_eq!(once.len(), entries.len(), "a page is in {SUMMARY} twice");
    let pages: BTreeSet<String> = files("docs", "md").into_iter().filter(|page| page != SUMMARY).collect();
    assert!(pages.len() > 50, "{pages:?}");
    let missing: Vec<String> = pages.difference(&once).map(|page| line_for(page)).collect();
    assert!(missing.is_empty(), "not in {SUMMARY}:\n{}", missing.join("\n"));
    let gone: Vec<_> = once.difference(&pages).collect();
    assert!(gone.is_empty(), "in {SUMMARY}, and not there: {gone:?}");
}

/// What to write into the summary.
fn line_for(page: &str) -> String {
    let text = text(page);
    let title = text.lines().next().unwrap_or_default().trim_start_matches("# ");
    format!("- [{title}]({})", &page["docs/".len()..])
}

/// The pages that people read and paste from.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    let written = |page: &String| !GENERATED.contains(&page.as_str()) && !page.starts_with("docs/decisions/");
    pages.extend(files("docs", "md").into_iter().filter(written));
    pages
}

/// What stands in fences with this word behind them, without the indentation of a list.
fn fenced(text: &str, kind: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(found) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let inside = lines.by_ref().take_while(|line| !line.trim_start().starts_with("```"));
        let block: String = inside.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
        if found == kind {
            blocks.push(block);
        }
    }
    blocks
}

/// The arguments of the gateway in a line of a shell: behind the prompt and variables, or as a program in a container.
/// `None`: it runs something else, or is abbreviated.
fn arguments(line: &str) -> Option<Vec<String>> {
    let (before, rest) = line.split_once("bento-gateway ")?;
    let before = before.trim_start_matches(['$', '#']).trim_start();
    let starts = before.ends_with(" /") || before.split_whitespace().all(|word| word.contains('='));
    let ends = [" | ", " > ", " >> ", " 2>", " && ", " # ", "$("];
    let command = ends.iter().fold(rest, |command, end| command.split(end).next().unwrap_or_default());
    let words = command.split_whitespace().map(|word| word.trim_matches(['\'', '"']).to_owned());
    Some(words.collect()).filter(|_| starts && !command.contains('…'))
}

#[test]
fn every_command_on_a_page_can_be_read() {
    let mut read = 0;
    for page in pages().into_iter().filter(|page| page != ROADMAP) {
        let blocks = fenced(&text(&page), "console").join("").replace("\\\n", " ");
        let prompted = blocks.lines().filter(|line| line.starts_with("$ ") || line.starts_with("# "));
        for arguments in prompted.filter_map(arguments) {
            read += 1;
            // With `--help` the arguments before it are read, and nothing is done.
            let mut run = Command::new(env!("CARGO_BIN_EXE_bento-gateway"));
            let output = run.args(&arguments).arg("--help").env_clear().output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{page}: bento-gateway {}: {said}", arguments.join(" "));
        }
    }
    assert!(read > 40, "{read}");
}

/// A problem that a page cannot have solved: the file is on the reader's machine.
fn is_of_a_missing_file(problem: &str) -> bool {
    problem.contains("No such file or directory")
}

#[test]
fn every_configuration_on_a_page_is_one() {
    let mut checked = 0;
    for page in pages() {
        for block in fenced(&text(&page), "toml") {
            checked += 1;
            let gateway = CommandLine::new();
            gateway.write("config.toml", &block);
            let run = gateway.run(&["--config", "config.toml", "config", "check"]);
            // "  setting = value: what is wrong", and below each "    fix: what to do".
            let problems: Vec<_> =
                run.err.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")).collect();
            let only_files = !problems.is_empty() && problems.iter().all(|problem| is_of_a_missing_file(problem));
            assert!(run.code == 0 || only_files, "{page}:\n{block}\n{}", run.err);
        }
    }
    assert!(checked > 10, "{checked}");
}

#[test]
fn blocks_and_commands_are_found() {
    let text = "A `word`.\n```toml\na = 1\n```\n1. One\n\n   ```console\n   $ two\n   three\n   ```\n```\nfour\n```\n";
    assert_eq!(fenced(text, "toml"), ["a = 1\n"]);
    assert_eq!(fenced(text, "console"), ["$ two\nthree\n"]);
    let words = |line| arguments(line).map(|words| words.join(" "));
    for (line, expected) in [
        ("$ bento-gateway token list | head", Some("token list")),
        ("$ A=b bento-gateway usage --csv > file", Some("usage --csv")),
        ("$ docker exec gateway /bento-gateway token create ci --scope 'api'", Some("token create ci --scope api")),
        ("# bento-gateway audit verify $(cat file)", Some("audit verify")),
        ("$ docker build -t bento-gateway .", None),
        ("$ helm lint charts/bento-gateway --strict", None),
        ("$ bento-gateway audit verify --checkpoint changes:1:c0ff…", None),
    ] {
        assert_eq!(words(line).as_deref(), expected, "{line}");
    }
}
