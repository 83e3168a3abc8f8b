//! What errors tell people to do: in the words of whoever reads them, and so that it works when it is pasted.

use std::fs;

use super::{files, root, source::modules};
use crate::harness::commands::CommandLine;

/// Every text of a module that people can read.
fn texts(file: &str) -> Vec<String> {
    let module = modules().iter().find(|module| module.file == file).unwrap();
    module.code().iter().filter_map(|token| token.text().map(str::to_owned)).collect()
}

fn module_files() -> impl Iterator<Item = &'static str> {
    modules().iter().map(|module| module.file.as_str())
}

/// Commands of ours in a text, between these marks.
fn commands(text: &str, [open, close]: [&str; 2]) -> Vec<String> {
    // A line break in a literal is followed by the indentation of the code.
    let line: String = text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    let mut rest = line.as_str();
    while let Some((_, begun)) = rest.split_once(open)
        && let Some((inside, after)) = begun.split_once(close)
    {
        found.extend(Some(inside.to_owned()).filter(|inside| inside.starts_with("bento-gateway ")));
        rest = after;
    }
    found
}

const IN_TEXT: [&str; 2] = ["`", "`"];
const IN_PAGE: [&str; 2] = ["<code>", "</code>"];

#[test]
fn the_api_names_no_command_of_the_gateways_own() {
    // What the CLI words is in `cli`, what the start prints in `app`, and the console is read at the machine, too.
    let api = |file: &&str| {
        let of_api = ["src/management/", "src/service/", "src/domain/", "src/index/", "src/store/"];
        of_api.iter().any(|folder| file.starts_with(folder)) && !file.starts_with("src/management/console/")
    };
    let mut read = 0;
    for file in module_files().filter(api) {
        for text in texts(file) {
            read += 1;
            let own = !commands(&text, IN_TEXT).is_empty() || text.contains("--config") || text.contains("--store");
            assert!(!own, "{file} says {text:?} to whoever calls the API");
        }
    }
    assert!(read > 500, "{read}");
}

/// With what stands for a value in capitals or in braces made one.
fn filled(command: &str) -> Vec<String> {
    let words = command.split(' ').skip(1).map(|word| {
        let word = word.trim_matches(['\'', ',', '.']);
        match word {
            "EMAIL" | "{email}" | "{}" => "ada@example.com",
            "NAME" | "{name}" | "{lost}" | "UID" => "a",
            "HOST" => "a.test",
            "URL" => "http://127.0.0.1:1",
            "IP:PORT" => "127.0.0.1:1",
            word => word,
        }
        .to_owned()
    });
    words.collect()
}

#[test]
fn every_command_that_is_named_works_when_it_is_pasted() {
    let mut all = Vec::new();
    for file in module_files() {
        all.extend(
            texts(file).iter().flat_map(|text| commands(text, IN_TEXT)).map(|command| (file.to_owned(), command)),
        );
    }
    for file in files("templates", "html") {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        all.extend(commands(&text, IN_PAGE).into_iter().map(|command| (file.clone(), command)));
    }
    all.retain(|(_, command)| command != "bento-gateway serve");
    assert!(all.len() > 15, "{all:?}");
    let line = CommandLine::with_admin();
    for (file, command) in all {
        let words = filled(&command);
        let run = line.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        // 2: the command line cannot be read. What it names need not exist.
        assert_ne!(run.code, 2, "{file}: {command}: {}", run.err);
    }
}
