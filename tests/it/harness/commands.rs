//! Commands on a store of their own, by the real binary, without a gateway that runs.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A directory with a SQLite store in it, and the binary that works on it.
pub struct CommandLine {
    dir: TempDir,
}

pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl CommandLine {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, &[], "")
    }

    /// Nothing of the caller's environment is passed on: the store is `$HOME/.local/share/…`, in our directory.
    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)], stdin: &str) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bento-gateway"))
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Must succeed.
    pub fn json(&self, args: &[&str]) -> Value {
        let run = self.run(&[args, &["-o", "json"]].concat());
        assert_eq!(run.code, 0, "{args:?}: {}", run.err);
        serde_json::from_str(&run.out).unwrap()
    }

    /// Must fail so.
    pub fn refused(&self, args: &[&str], code: i32, texts: &[&str]) {
        let run = self.run(args);
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{args:?}: {}", run.err);
        for text in texts {
            assert!(run.err.contains(text), "{args:?}: {text:?} is not in\n{}", run.err);
        }
    }

    pub fn with_admin() -> Self {
        let commands = Self::new();
        commands.json(&["user", "create", "--email", "ada@example.com", "--name", "Ada", "--admin"]);
        commands
    }
}
