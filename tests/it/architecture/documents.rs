//! What the documents say: the map of rooms, the codes of refusals, and names of files and of what is in them.

use std::{collections::BTreeSet, fs};

use super::{
    files, root,
    source::{Module, Token, modules},
};

/// The section "The rooms" of `docs/architecture.md`.
pub struct Map {
    /// From the highest floor to the lowest.
    pub rooms: Vec<String>,
    /// "`a` uses `b`": against the direction.
    pub exceptions: BTreeSet<(String, String)>,
    /// "`a` does not use `b`": though the direction would allow it.
    pub forbidden: BTreeSet<(String, String)>,
}

impl Map {
    pub fn read() -> Self {
        Self::parse(&document("docs/architecture.md"))
    }

    fn parse(text: &str) -> Self {
        let section = section(text, "## The rooms");
        let first_word = |line: &str| words(line.split('|').nth(1).unwrap()).next().map(str::to_owned);
        let rooms = section.lines().filter(|line| line.starts_with("| `")).filter_map(first_word).collect();
        let pairs = |verb: &str| {
            let verb = format!("` {verb} `");
            let sentences = section.lines().filter(|line| line.starts_with("- `") && line.contains(&verb));
            let pair = |line: &str| {
                let mut words = words(line).map(str::to_owned);
                (words.next().unwrap(), words.next().unwrap())
            };
            sentences.map(pair).collect()
        };
        Self { rooms, exceptions: pairs("uses"), forbidden: pairs("does not use") }
    }
}

fn document(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// From its heading to the next of the same rank.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text.find(heading).unwrap_or_else(|| panic!("there is no section {heading:?}"));
    let body = &text[start + heading.len()..];
    &body[..body.find("\n## ").unwrap_or(body.len())]
}

/// What stands in backticks in a line.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

// === codes ===

/// Of RFC 6750, and OpenAI's families of errors: not codes of ours.
const OTHERS_WORDS: [&str; 7] = [
    "invalid_request",
    "invalid_token",
    "api_error",
    "authentication_error",
    "invalid_request_error",
    "permission_error",
    "rate_limit_error",
];

/// The codes of one listener: those in the source, and those that `docs/errors.md` explains.
pub struct Codes {
    pub code: BTreeSet<String>,
    pub explained: BTreeSet<String>,
}

/// In place of a service's answer.
pub fn data_plane_codes() -> Codes {
    // The one table, and what hyper answers before it is asked. Nothing else in them is spelled so.
    let tables = ["src/proxy/rejection/mod.rs", "src/proxy/rejection/response.rs", "src/proxy/state.rs"];
    let found = modules().iter().filter(|module| tables.contains(&&*module.file));
    let mut code: BTreeSet<String> = found.flat_map(|module| spelled_as_code(&module.code())).collect();
    for word in OTHERS_WORDS {
        assert!(code.remove(word), "{word} is no word of the table any more");
    }
    let text = document("docs/errors.md");
    let management = text.find(MANAGEMENT).unwrap();
    Codes { code, explained: headings(&text[..management]) }
}

/// Of the management API. The console shows pages, which have none.
pub fn management_codes() -> Codes {
    let mut code = BTreeSet::new();
    for module in modules() {
        match module.file.strip_prefix("src/management/") {
            Some("error.rs") => code.extend(spelled_as_code(&module.code())),
            Some(file) if !file.starts_with("console/") => code.extend(made_of(module)),
            _ => {}
        }
    }
    let text = document("docs/errors.md");
    let table = section(&text, MANAGEMENT).lines().filter(|line| line.starts_with("| "));
    // | status | `code`, `code` | when |
    let explained = table.flat_map(|row| words(row.split('|').nth(2).unwrap_or_default())).map(str::to_owned).collect();
    Codes { code, explained }
}

/// The chapter of `docs/errors.md` about the other listener.
const MANAGEMENT: &str = "## The management API";

/// Each code has a heading, which makes its address: `errors.md#code`.
fn headings(text: &str) -> BTreeSet<String> {
    let codes = text.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    codes.map(str::to_owned).collect()
}

/// Codes of either listener without an address of their own.
pub fn codes_without_an_address() -> Vec<String> {
    let text = document("docs/errors.md");
    let (addresses, all) = (headings(&text), [data_plane_codes(), management_codes()]);
    all.into_iter().flat_map(|codes| codes.code).filter(|code| !addresses.contains(code)).collect()
}

/// The scopes that stand for themselves, in the source and in the table of `docs/tokens.md`.
pub fn scopes() -> [BTreeSet<String>; 2] {
    let module = modules().iter().find(|module| module.file == "src/domain/scope.rs").unwrap();
    let text = document("docs/tokens.md");
    let rows = section(&text, "## Create").lines().filter(|line| line.starts_with("| `"));
    let table = rows.flat_map(|row| words(row.split('|').nth(1).unwrap_or_default()));
    [spelled_as_code(&module.code()), table.filter(|word| is_code(word)).map(str::to_owned).collect()]
}

/// In lower case with underscores, as codes are.
fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn spelled_as_code(tokens: &[Token]) -> BTreeSet<String> {
    let texts = tokens.iter().filter_map(Token::text);
    texts.filter(|text| is_code(text)).map(str::to_owned).collect()
}

/// Outside `error.rs`: `ApiError::new(status, "code", …)` and `ApiError::unauthorized("code", …)`.
fn made_of(module: &Module) -> BTreeSet<String> {
    let code = module.code();
    let word = |at: usize| code.get(at).and_then(Token::word);
    let makes_one = |at: usize| {
        word(at) == Some("ApiError")
            && code[at + 1] == Token::Path
            && matches!(word(at + 2), Some("new" | "unauthorized"))
    };
    let first_text = |at: usize| {
        let arguments = code[at + 3..].iter().take_while(|token| **token != Token::Sign(';'));
        arguments.take(8).find_map(Token::text).filter(|text| is_code(text)).map(str::to_owned)
    };
    (0..code.len()).filter(|&at| makes_one(at)).filter_map(first_text).collect()
}

// === names ===

/// Names in documents that look like files of ours, and are none: FILE: NAME.
pub fn names_of_nothing() -> Vec<String> {
    let mut documents: Vec<String> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned).into();
    documents.extend(files("docs", "md"));
    documents.extend(files("migrations", "md"));
    let tree = Tree::read();
    let mut missing = Vec::new();
    for document in documents {
        let text = self::document(&document);
        let prose = prose(&text);
        let lacking = prose.lines().flat_map(words).filter(|name| tree.lacks(name)).map(str::to_owned);
        missing.extend(lacking.chain(tests_of_nothing(&text, &tree)).map(|name| format!("{document}: {name}")));
    }
    missing
}

/// Where a document says `*Tests: …*`, names without an extension are files of `tests/it`.
fn tests_of_nothing(text: &str, tree: &Tree) -> Vec<String> {
    let lists = text.split("*Tests:").skip(1).map(|rest| rest.split('*').next().unwrap_or_default());
    let names = lists.flat_map(words).filter(|name| !name.contains('.'));
    let is_file = |name: &&str| ["", "/mod"].iter().any(|end| tree.0.contains(&format!("tests/it/{name}{end}.rs")));
    names.filter(|name| !is_file(name)).map(str::to_owned).collect()
}

/// Without what stands in fences.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// Every file and directory of the project, from its root, directories with `/` at the end.
struct Tree(BTreeSet<String>);

/// The kinds of files that the project has and users do not.
const KINDS: [&str; 6] = [".rs", ".md", ".mjs", ".py", ".sql", ".html"];

impl Tree {
    fn read() -> Self {
        let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap());
        let mut all = BTreeSet::new();
        for entry in top {
            let name = entry.file_name().into_string().unwrap();
            if ["target", ".git"].contains(&name.as_str()) {
                continue;
            }
            all.extend(files(&name, ""));
        }
        let directories = all.iter().flat_map(|file| file.match_indices('/').map(|(at, _)| file[..=at].to_owned()));
        let directories: BTreeSet<String> = directories.collect();
        all.extend(directories);
        Self(all)
    }

    /// Whether `name` is to be a file of the project, and there is none, or it does not have what is behind `::`.
    fn lacks(&self, name: &str) -> bool {
        let (path, inside) = match name.split_once(".rs::") {
            Some((path, inside)) => (format!("{path}.rs"), inside.rsplit("::").next()),
            None => (name.to_owned(), None),
        };
        if !is_path(&path) {
            return false;
        }
        let files = self.named(&path);
        let has = |file: &&String| inside.is_none_or(|inside| defines(&document(file), inside));
        !files.iter().any(has)
    }

    /// Documents say `proxy/permit.rs` for `src/proxy/permit.rs`.
    fn named(&self, path: &str) -> Vec<&String> {
        let path = path.trim_end_matches('/');
        let (below, directory) = (format!("/{path}"), format!("{path}/"));
        let is = |file: &&String| {
            let file = file.trim_end_matches('/');
            file == path || file.ends_with(&below)
        };
        let found = self.0.iter().filter(is);
        found.chain(self.0.get(&directory)).collect()
    }
}

/// A path of the project, as opposed to addresses, media types and files of the user's.
fn is_path(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
    if !plain || name.starts_with(['/', '.']) {
        return false;
    }
    let top = ["src", "tests", "docs", "scripts", "migrations", "templates", "assets", "config", "examples", "benches"];
    let first = name.split('/').next().unwrap_or_default();
    KINDS.iter().any(|kind| name.ends_with(kind)) || name.contains('/') && top.contains(&first)
}

fn defines(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

#[test]
fn a_map_is_read() {
    let text = "\n## The rooms\n\n| module | what |\n| --- | --- |\n| `app` | uses `x` |\n| `domain` | |\n\n\
                - `domain` uses `app`: why.\n- `app` does not use `b`: why.\n- else `x` uses `y`\n## Next\n| `no` | |\n";
    let map = Map::parse(text);
    let pair = |one: &str, other: &str| BTreeSet::from([(one.to_owned(), other.to_owned())]);
    assert_eq!(map.rooms, ["app", "domain"]);
    assert_eq!((map.exceptions, map.forbidden), (pair("domain", "app"), pair("app", "b")));
}

#[test]
fn what_could_be_a_path_is_looked_for() {
    let tree = Tree(["src/proxy/", "src/proxy/permit.rs", "scripts/test"].map(str::to_owned).into());
    for there in ["proxy/permit.rs", "permit.rs", "src/proxy", "src/proxy/", "scripts/test"] {
        assert!(is_path(there) && !tree.lacks(there), "{there}");
    }
    for missing in ["proxy/permission.rs", "ermit.rs", "src/proxies", "scripts/tests", "docs/nothing.md"] {
        assert!(tree.lacks(missing), "{missing}");
    }
    for other in ["application/json", "/api/v1", "gateway.toml", "deployment:*", "~/.local/share", "a b.rs"] {
        assert!(!is_path(other), "{other}");
    }
}

#[test]
fn tests_that_a_document_names_are_looked_for() {
    let tree = Tree(["tests/it/one.rs", "tests/it/two/mod.rs"].map(str::to_owned).into());
    let text = "A `word`. *Tests: `one`,\n  `two`, `three`, `file.rs` unit.* And `another`. *Tests: none.*";
    assert_eq!(tests_of_nothing(text, &tree), ["three"]);
}

#[test]
fn codes_are_seen_where_errors_are_made() {
    let text = r#"fn f() { ApiError::new(S::A, "one", "Two"); ApiError::unauthorized("three", "x"); ApiError::new(c, y); g("four") }
                  #[cfg(test)] mod tests { fn t() { ApiError::new(S::A, "five", "") } }"#;
    let module = Module::parse("src/management/a.rs", text);
    assert_eq!(made_of(&module), ["one", "three"].map(str::to_owned).into());
}
