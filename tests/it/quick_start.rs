//! `docs/quick-start.md`: every command in it is run, and what the page says it prints is what it prints.
//!
//! The page has stand-ins for what differs from machine to machine. `UPDATE_SNAPSHOTS` writes the page anew.

use std::{
    fmt::Write as _,
    fs::{self, File},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::harness::{
    bentoml::{Service, python},
    gateway::free_address,
    snapshot::assert_reference,
    wait_for,
};

const PAGE: &str = "docs/quick-start.md";
/// What stands for a token on the page, in the order in which they are printed.
const TOKENS: [&str; 2] = ["bgw_k0hSn4FJdaEp_yYZT…", "bgw_II0rhVIANEyD_xg6C…"];
/// What stands for the id of a token, in the same way.
const IDS: [&str; 2] = ["10ce24acb36f", "7d1e0fb45a29"];
const TOKEN_LEN: usize = 66;
/// Setting up a store and starting, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Somebody's terminal.
struct Terminal {
    directory: tempfile::TempDir,
    /// What the page calls an address, and what it is here.
    addresses: Vec<(&'static str, String)>,
    /// As they were printed.
    tokens: Vec<String>,
    ids: Vec<String>,
    exported: String,
    serving: Option<Child>,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(child) = &mut self.serving {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Terminal {
    fn new(service: &Service) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let programs = directory.path().join("bin");
        fs::create_dir(&programs).unwrap();
        symlink(env!("CARGO_BIN_EXE_bento-gateway"), programs.join("bento-gateway")).unwrap();
        let bentoml = programs.join("bentoml");
        fs::write(&bentoml, format!("#!/bin/sh\nexec '{}' -B -m bentoml \"$@\"\n", python(&[]))).unwrap();
        fs::set_permissions(&bentoml, fs::Permissions::from_mode(0o755)).unwrap();
        let addresses = vec![
            ("127.0.0.1:8080", free_address().to_string()),
            ("127.0.0.1:8081", free_address().to_string()),
            ("127.0.0.1:3000", service.address.to_string()),
        ];
        Self { directory, addresses, tokens: Vec::new(), ids: Vec::new(), exported: String::new(), serving: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let settings = [
            ("BENTO_GATEWAY__PROXY__LISTEN", self.addresses[0].1.as_str()),
            ("BENTO_GATEWAY__MANAGEMENT__LISTEN", self.addresses[1].1.as_str()),
            ("BENTO_GATEWAY__TELEMETRY__LISTEN", ""),
            ("BENTO_GATEWAY__STORE__POLL_INTERVAL", "20ms"),
            // When a use is written depends on how long the commands take.
            ("BENTO_GATEWAY__TOKENS__USAGE_INTERVAL", "1h"),
            ("BENTOML_DO_NOT_TRACK", "True"),
            ("COLUMNS", "80"),
            ("LANG", "C.UTF-8"),
            ("PYTHONIOENCODING", "utf-8"),
            ("TZ", "UTC"),
        ];
        let command = self.here(command);
        shell.args(["-c", &format!("{}{command}", self.exported)]).current_dir(self.directory.path()).env_clear();
        shell.env("PATH", path).env("HOME", self.directory.path()).envs(settings).stdin(Stdio::null());
        shell
    }

    /// What a command of the page prints, as the page would say it.
    fn run(&mut self, command: &str) -> String {
        if command.starts_with("export ") {
            let _ = writeln!(self.exported, "{}", self.here(command));
            return String::new();
        }
        let printed =
            if command.starts_with("bento-gateway serve --") { self.serve(command) } else { self.ends(command) };
        self.as_on_the_page(&printed)
    }

    fn ends(&self, command: &str) -> String {
        let both = self.path("output");
        let file = File::create(&both).unwrap();
        self.shell(command).stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
        fs::read_to_string(both).unwrap()
    }

    /// It stays, and is read until it has said all that it says at its start.
    fn serve(&mut self, command: &str) -> String {
        let file = self.path("serve");
        let mut shell = self.shell(&format!("exec {command}"));
        let child = shell.stdout(File::create(&file).unwrap()).stderr(File::create(self.path("log")).unwrap()).spawn();
        self.serving = Some(child.unwrap());
        wait_for("the welcome", START_TIMEOUT, || {
            fs::read_to_string(&file).ok().filter(|text| text.contains("bentoml cloud login") && text.ends_with("\n\n"))
        })
    }

    /// A command of the page with what things are called here.
    fn here(&self, command: &str) -> String {
        let addresses = self.addresses.iter().map(|(page, here)| (*page, here));
        let all = addresses.chain(TOKENS.into_iter().zip(&self.tokens));
        all.fold(command.to_owned(), |text, (page, here)| text.replace(page, here))
    }

    fn as_on_the_page(&mut self, printed: &str) -> String {
        let port = |address: &str| address[address.rfind(':').unwrap()..].to_owned();
        let ports = self.addresses.iter().map(|(page, here)| (port(page), port(here)));
        let printed = ports.fold(printed.to_owned(), |text, (page, here)| text.replace(&here, &page));
        printed.trim_end().lines().map(|line| self.line(line).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    fn line(&mut self, line: &str) -> String {
        let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
        let mut words = Vec::new();
        for part in line.split_inclusive(|c| !in_word(c)) {
            let word = part.trim_end_matches(|c| !in_word(c));
            words.push((self.word(word), &part[word.len()..]));
        }
        let boxed = line.contains('│');
        let text = |(word, rest): &(String, &str)| {
            let missing = if boxed && word.starts_with("bgw_") { TOKEN_LEN - word.chars().count() } else { 0 };
            format!("{word}{}{rest}", " ".repeat(missing))
        };
        let line: String = words.iter().map(text).collect();
        // A time in milliseconds.
        match line.split_once("after ") {
            Some((before, after)) if after.ends_with(" ms.") => format!("{before}after 21 ms."),
            _ => line,
        }
    }

    fn word(&mut self, word: &str) -> String {
        let is_hex =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let bare = shape.trim_end_matches('.');
        if word.starts_with("bgw_") && word.len() == TOKEN_LEN {
            return TOKENS[place(&mut self.tokens, word)].to_owned();
        }
        if word.len() == 12 && is_hex(word) {
            return IDS[place(&mut self.ids, word)].to_owned();
        }
        let stand_in = match (word.len(), bare) {
            (36, _) if word.split('-').all(is_hex) => "01a20cd4-4748-7cbe-b481-10ce24acb36f",
            (40, _) if is_hex(word) => "2f3c9a0d7b1e4c58a6f0e2d4b8c1935a7d6e0f21",
            (32, _) if is_hex(word) => "9556d7fe9ba05c450000000000000001",
            (_, "0000-00-00T00:00:00.000Z") => "2026-11-24T09:12:48.000Z",
            (_, "0000-00-00") => "2026-11-24",
            (_, "00:00:00") => "09:12:48",
            _ => word,
        };
        let ends = if word.ends_with('.') && stand_in != word { "." } else { "" };
        format!("{stand_in}{ends}")
    }
}

/// The place of a word among those that were printed before it.
fn place(printed: &mut Vec<String>, word: &str) -> usize {
    printed.iter().position(|before| before == word).unwrap_or_else(|| {
        printed.push(word.to_owned());
        printed.len() - 1
    })
}

/// The page with what its commands print on this machine.
fn played(page: &str, terminal: &mut Terminal) -> String {
    let (mut text, mut in_block) = (String::new(), false);
    for line in page.lines() {
        if in_block && !line.starts_with("$ ") && line != "```" {
            continue;
        }
        let _ = writeln!(text, "{line}");
        in_block = line == "```console" || (in_block && line != "```");
        if let Some(command) = line.strip_prefix("$ ").filter(|_| in_block) {
            let printed = terminal.run(command);
            if !printed.is_empty() {
                let _ = writeln!(text, "{printed}");
            }
        }
    }
    text
}

#[test]
fn every_command_of_the_first_hour_prints_what_the_page_says() {
    let service = Service::start();
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let played = played(&page, &mut Terminal::new(&service));
    assert!(played.matches("\n$ ").count() > 15, "{played}");
    for (line, on_page) in played.lines().zip(page.lines()) {
        assert!(
            line == on_page || std::env::var_os("UPDATE_SNAPSHOTS").is_some(),
            "{PAGE}: {on_page}\nprinted: {line}"
        );
    }
    assert_reference(PAGE, &played);
}
