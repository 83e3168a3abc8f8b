//! What a source file says of others: a small reader of Rust, enough for paths. Comments and test modules do not count.

use std::{fs, path::Path, sync::LazyLock};

use super::{files, root};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name, a keyword, a lifetime or a number.
    Word(String),
    Text(String),
    /// `::`
    Path,
    Sign(char),
}

/// A module of `src/`, which is a file there.
pub struct Module {
    /// Below the crate: `["proxy", "upstream", "head"]`.
    pub path: Vec<String>,
    /// From the project's root.
    pub file: String,
    pub tokens: Vec<Token>,
}

/// Every module but `lib.rs` and `main.rs`, which name all others, and those that are for tests only.
pub fn modules() -> &'static [Module] {
    static MODULES: LazyLock<Vec<Module>> = LazyLock::new(read_all);
    &MODULES
}

fn read_all() -> Vec<Module> {
    let all: Vec<Module> = files("src", "rs").into_iter().map(|file| Module::read(&file)).collect();
    let only_for_tests: Vec<Vec<String>> = all.iter().flat_map(Module::test_children).collect();
    let crate_root = |module: &Module| ["src/lib.rs", "src/main.rs"].contains(&module.file.as_str());
    all.into_iter().filter(|module| !crate_root(module) && !only_for_tests.contains(&module.path)).collect()
}

impl Module {
    fn read(file: &str) -> Self {
        let text = fs::read_to_string(root().join(file)).unwrap();
        Self::parse(file, &text)
    }

    pub fn parse(file: &str, text: &str) -> Self {
        let below = Path::new(file).strip_prefix("src").unwrap().with_extension("");
        let mut path: Vec<String> = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        path.pop_if(|last| last == "mod");
        Self { path, file: file.to_owned(), tokens: tokens(text) }
    }

    fn word(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// `#[cfg(test)] mod tests;`: a file of its own.
    fn test_children(&self) -> Vec<Vec<String>> {
        let starts = (0..self.tokens.len()).filter(|&at| is_cfg_test(&self.tokens[at..]));
        let child = |at: usize| (self.word(at + 7)? == "mod").then(|| self.word(at + 8)).flatten();
        starts.filter_map(child).map(|name| [&self.path[..], &[name.to_owned()]].concat()).collect()
    }

    /// The tokens outside test modules.
    pub fn code(&self) -> Vec<Token> {
        let mut code = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            if is_cfg_test(&self.tokens[at..]) && self.word(at + 7) == Some("mod") {
                at = end_of_item(&self.tokens, at + 7);
                continue;
            }
            code.push(self.tokens[at].clone());
            at += 1;
        }
        code
    }

    /// Every path that leads out of this file or could: absolute, from the crate's root. `true`: it is exported again.
    pub fn paths(&self) -> Vec<(Vec<String>, bool)> {
        let code = self.code();
        let word = |at: usize| code.get(at).and_then(Token::word);
        let is_path = |at: usize| code.get(at) == Some(&Token::Path);
        let children: Vec<&str> = (0..code.len())
            .filter(|&at| word(at) == Some("mod") && code.get(at + 2) == Some(&Token::Sign(';')))
            .filter_map(|at| word(at + 1))
            .collect();
        let mut found = Vec::new();
        let mut at = 0;
        while at < code.len() {
            let begins = !(at > 0 && is_path(at - 1));
            match word(at) {
                Some("use") => {
                    let public = at > 0 && (word(at - 1) == Some("pub") || code[at - 1] == Token::Sign(')'));
                    let mut paths = Vec::new();
                    at = tree(&code, at + 1, &[], &mut paths);
                    found.extend(paths.into_iter().filter_map(|path| Some((self.absolute(&path)?, public))));
                }
                Some(first) if begins && is_path(at + 1) => {
                    if ["crate", "super", "self"].contains(&first) || children.contains(&first) {
                        let mut path = vec![first.to_owned()];
                        while let (true, Some(next)) = (is_path(at + 1), word(at + 2)) {
                            path.push(next.to_owned());
                            at += 2;
                        }
                        found.extend(self.absolute(&path).map(|path| (path, false)));
                    }
                    at += 1;
                }
                _ => at += 1,
            }
        }
        found
    }

    /// `None`: another crate's. A path without a keyword begins at a child of this module, if there is one.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base = self.path.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => return Some(path[1..].to_vec()),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|first| first == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            _ => {}
        }
        Some([&base[..], rest].concat())
    }
}

impl Token {
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The paths of one `use` tree; where it ends.
fn tree(code: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while at < code.len() {
        match &code[at] {
            Token::Word(word) if word == "as" => at += 1,
            Token::Word(word) => path.push(word.clone()),
            Token::Sign('{') => {
                at += 1;
                while code.get(at) != Some(&Token::Sign('}')) {
                    at = tree(code, at, &path, found);
                    if code.get(at) == Some(&Token::Sign(',')) {
                        at += 1;
                    }
                }
                path.clear();
            }
            Token::Path | Token::Sign('*') => {}
            _ => break,
        }
        at += 1;
    }
    if !path.is_empty() {
        path.pop_if(|last| last == "self");
        found.push(path);
    }
    at
}

fn is_cfg_test(tokens: &[Token]) -> bool {
    let signs = ['#', '[', '(', ')', ']'];
    let shape: Vec<Token> = tokens.iter().take(7).cloned().collect();
    let word = |word: &str| Token::Word(word.to_owned());
    let [hash, open, begin, end, close] = signs.map(Token::Sign);
    shape == [hash, open, word("cfg"), begin, word("test"), end, close]
}

/// Behind the `;` or the block that ends the item at `at`.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        match tokens[at] {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => depth -= 1,
            _ => {}
        }
        let ends = matches!(tokens[at], Token::Sign('}' | ';')) && depth == 0;
        at += 1;
        if ends {
            break;
        }
    }
    at
}

pub fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at_text = |at: usize, text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let find = |from: usize, text: &str| (from..chars.len()).find(|&at| at_text(at, text)).unwrap_or(chars.len());
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if at_text(at, "//") {
            at = find(at, "\n");
        } else if at_text(at, "/*") {
            at = find(at, "*/") + 2;
        } else if let Some(hashes) = raw_text(&chars[at..]) {
            let begin = find(at, "\"") + 1;
            let end = find(begin, &format!("\"{}", "#".repeat(hashes)));
            tokens.push(Token::Text(chars[begin..end].iter().collect()));
            at = end + 1 + hashes;
        } else if c == '"' {
            let begin = at + 1;
            at = begin;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            tokens.push(Token::Text(chars[begin..at.min(chars.len())].iter().collect()));
            at += 1;
        } else if c == '\'' {
            // A character, or else a lifetime.
            match (chars.get(at + 1), chars.get(at + 2)) {
                (Some('\\'), _) => at = find(at + 3, "'") + 1,
                (_, Some('\'')) => at += 3,
                _ => at += 1,
            }
        } else if c.is_alphanumeric() || c == '_' {
            let end = (at..chars.len()).find(|&at| !(chars[at].is_alphanumeric() || chars[at] == '_'));
            let end = end.unwrap_or(chars.len());
            tokens.push(Token::Word(chars[at..end].iter().collect()));
            at = end;
        } else if at_text(at, "::") {
            tokens.push(Token::Path);
            at += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(Token::Sign(c));
            }
            at += 1;
        }
    }
    tokens
}

/// How many `#` a raw text has that begins here. `None`: none does.
fn raw_text(chars: &[char]) -> Option<usize> {
    let rest = match chars {
        ['r', rest @ ..] | ['b', 'r', rest @ ..] => rest,
        _ => return None,
    };
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    (rest.get(hashes) == Some(&'"')).then_some(hashes)
}

#[test]
fn every_way_to_name_another_module_is_seen() {
    let text = r##"
        // use crate::comment;
        use std::{fmt, io::Read};
        use super::{b, c::{self, D as E}, *};
        pub(crate) use self::below::F;
        /* crate::hidden */
        mod below;
        fn f<'a>(x: &'a str) -> char { crate::x::y::<'a>("crate::text", r#"crate::"raw"#); below::g(); '"' }
        #[cfg(test)] mod tests { use crate::only_in_tests; }
        fn g() { super::super::z::h() }
    "##;
    let module = Module::parse("src/room/a/mod.rs", text);
    let found: Vec<String> =
        module.paths().iter().map(|(path, public)| format!("{}{public}", path.join("::"))).collect();
    let expected = [
        "room::a::std::fmtfalse",
        "room::a::std::io::Readfalse",
        "room::bfalse",
        "room::cfalse",
        "room::c::Dfalse",
        "roomfalse",
        "room::a::below::Ftrue",
        "x::yfalse",
        "room::a::below::gfalse",
        "z::hfalse",
    ];
    assert_eq!(found, expected);
}
