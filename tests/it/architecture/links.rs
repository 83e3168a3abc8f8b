//! Links in documents: each relative one leads to a file of the project and, with `#`, to a heading in it.

use std::{collections::BTreeSet, fs, path::Path};

use super::{files, root};

/// DOCUMENT: LINK, for each that leads nowhere.
pub fn dead() -> Vec<String> {
    let all = documents();
    assert!(all.len() > 50, "{all:?}");
    let read = |document: &String| fs::read_to_string(root().join(document)).unwrap();
    let dead = |document: String| {
        let text = read(&document);
        let dead = links(&text).into_iter().filter(|link| !leads(&document, link));
        dead.map(|link| format!("{document}: {link}")).collect::<Vec<_>>()
    };
    all.into_iter().flat_map(dead).collect()
}

/// Of the project, and not of what was installed or built.
fn documents() -> Vec<String> {
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ours = top.filter(|name| !["target", ".git"].contains(&name.as_str()));
    ours.flat_map(|name| files(&name, "md")).filter(|file| !file.contains("/node_modules/")).collect()
}

/// What stands in the parentheses behind `[…]`, outside code, unless it begins with a scheme.
pub fn links(text: &str) -> Vec<String> {
    let text = prose(text);
    let paragraphs = text.split("\n\n");
    let all = paragraphs.flat_map(|paragraph| {
        let ends = paragraph.match_indices("](");
        let outside = ends.filter(|(at, _)| paragraph[..*at].matches('`').count() % 2 == 0);
        outside.filter_map(|(at, end)| paragraph[at + end.len()..].split(')').next())
    });
    all.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).map(str::to_owned).collect()
}

/// Without what stands in fences.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let outside = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    };
    text.lines().filter(outside).collect::<Vec<_>>().join("\n")
}

fn leads(document: &str, link: &str) -> bool {
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let here = root().join(document);
    let target = if path.is_empty() { here } else { here.parent().unwrap().join(path) };
    target.exists() && heading.is_none_or(|heading| anchors(&target).contains(heading))
}

/// As GitHub makes them of headings; of the second with the same text, with `-1` behind.
fn anchors(document: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(document).unwrap_or_default();
    let text = prose(&text);
    let headings = text.lines().filter_map(|line| line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' '));
    let mut all = BTreeSet::new();
    for heading in headings {
        let anchor = anchor(heading);
        let repeated = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(repeated).find(|name| !all.contains(name));
        all.extend(free);
    }
    all
}

fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_are_found_and_code_is_not() {
    let text = "A [link](one.md), [`code`](two.md#three) and ![picture](three.png).\n```\n[no](four.md)\n```\n\
                [elsewhere](https://example.com/) `a\nb[no](five.md)` [six](#six)\n";
    assert_eq!(links(text), ["one.md", "two.md#three", "three.png", "#six"]);
}

#[test]
fn headings_have_the_anchors_that_github_makes() {
    for (heading, expected) in [
        ("In 60 seconds", "in-60-seconds"),
        ("`[proxy.limits]`", "proxylimits"),
        ("What a file's name says, and why", "what-a-files-name-says-and-why"),
        ("A — B", "a--b"),
    ] {
        assert_eq!(anchor(heading), expected);
    }
}

#[test]
fn a_link_that_leads_nowhere_is_seen() {
    assert!(leads("docs/architecture.md", "decisions") && leads("docs/architecture.md", "../README.md#limits"));
    assert!(!leads("docs/architecture.md", "SECURITY.md") && !leads("docs/architecture.md", "../README.md#nothing"));
}
