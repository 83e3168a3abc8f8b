//! `docs/cli.md`, made of the help texts; a test keeps the committed file true.

use std::fmt::Write;

use clap::{Command, CommandFactory};

use super::args::Cli;

/// Every command's `--help` as Markdown.
pub fn reference() -> String {
    let mut out = String::from(
        "# The command line\n\nMade of every command's `--help`; a test keeps it true. Change `src/cli/args.rs`, then run\n\
         `UPDATE_SNAPSHOTS=1 cargo test --test it`.\n",
    );
    let mut root = Cli::command().term_width(100).disable_help_subcommand(true);
    root.build();
    describe(&root, "bento-gateway", &mut out);
    out
}

fn describe(command: &Command, path: &str, out: &mut String) {
    // Writing to a String cannot fail.
    let help = command.clone().term_width(100).render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(out, "\n## {path}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        describe(sub, &format!("{path} {}", sub.get_name()), out);
    }
}
