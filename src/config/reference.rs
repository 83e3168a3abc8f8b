//! `docs/configuration.md`, made of `config/default.toml`; a test keeps the committed file true.

use std::fmt::Write;

use super::sources::{DEFAULTS, ENV_PREFIX};

/// Every section and key with its default, its variable and its meaning, as Markdown.
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration\n\nGenerated from `config/default.toml`; a test keeps it true. To change it, edit that file and run\n\
         `UPDATE_SNAPSHOTS=1 cargo test --test it`. `config/example.toml` is a small real configuration.\n",
    );
    // Comments since the last key, section or blank line.
    let mut comments: Vec<&str> = Vec::new();
    let (mut section, mut in_list) = (String::new(), false);
    for line in DEFAULTS.lines() {
        // Writing to a String cannot fail.
        if let Some(comment) = line.strip_prefix('#') {
            comments.push(comment.strip_prefix(' ').unwrap_or(comment));
        } else if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
            in_list = false;
            let _ = write!(out, "\n## `[{section}]`\n");
            paragraphs(&mut comments, &mut out);
        } else if let Some((key, default)) = line.split_once(" = ") {
            if !std::mem::replace(&mut in_list, true) {
                out.push('\n');
            }
            let _ = writeln!(out, "- **`{key}`**, default `{default}`, `{}`\\", variable(&section, key));
            for comment in comments.drain(..) {
                let _ = writeln!(out, "  {}", comment.replace('<', "\\<"));
            }
        } else {
            paragraphs(&mut comments, &mut out);
        }
    }
    out
}

/// Indented lines and commented-out TOML stay as they are; the rest is prose.
fn paragraphs(comments: &mut Vec<&str>, out: &mut String) {
    let mut fenced = false;
    let mut previous_blank = true;
    for line in comments.drain(..) {
        if line.starts_with('[') && !fenced {
            out.push_str("\n```toml\n");
            fenced = true;
        } else if previous_blank && !line.is_empty() && !fenced {
            out.push('\n');
        }
        previous_blank = line.is_empty();
        if !previous_blank || fenced {
            // Two columns of indentation belong to the list in the comments, not to Markdown's.
            out.push_str(if fenced { line } else { line.strip_prefix("  ").unwrap_or(line) });
            out.push('\n');
        }
    }
    if fenced {
        out.push_str("```\n");
    }
}

fn variable(section: &str, key: &str) -> String {
    let path = if section.is_empty() { key.to_owned() } else { format!("{}__{key}", section.replace('.', "__")) };
    format!("{ENV_PREFIX}{}", path.to_ascii_uppercase())
}
