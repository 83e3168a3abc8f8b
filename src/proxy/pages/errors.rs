//! What each code of a refusal means: the page of the documentation that belongs to this very release. The `type` of every
//! problem body leads here (RFC 9457 § 3.1.1).

use std::{mem, sync::LazyLock};

use askama::Template;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html::push_html};

const DOCUMENT: &str = include_str!("../../../docs/errors.md");
/// The same for everybody, and made for the first who asks.
static HTML: LazyLock<String> = LazyLock::new(|| html(DOCUMENT));

#[derive(Template)]
#[template(path = "gate/errors.html")]
pub(super) struct Errors<'a> {
    base: &'a str,
    html: &'static str,
}

impl<'a> Errors<'a> {
    pub(super) fn new(base: &'a str) -> Self {
        Self { base, html: &HTML }
    }
}

/// Headings have the addresses that the documentation gives them. Of links to its other pages the words are left: the gateway
/// does not have those pages.
fn html(markdown: &str) -> String {
    let mut events: Vec<Event<'_>> = Parser::new_ext(markdown, Options::ENABLE_TABLES)
        .scan(false, |in_dropped_link, event| Some(without_other_pages(in_dropped_link, event)))
        .flatten()
        .collect();
    for at in 0..events.len() {
        let Event::Start(Tag::Heading { level, .. }) = &events[at] else { continue };
        let level = *level;
        let id = anchor(&events[at + 1..], level);
        if let Event::Start(Tag::Heading { id: none, .. }) = &mut events[at] {
            *none = Some(id.into());
        }
    }
    let mut html = String::with_capacity(2 * markdown.len());
    push_html(&mut html, events.into_iter());
    html
}

fn without_other_pages<'a>(in_dropped_link: &mut bool, event: Event<'a>) -> Option<Event<'a>> {
    match &event {
        Event::Start(Tag::Link { dest_url, .. }) if !dest_url.starts_with('#') => {
            *in_dropped_link = true;
            None
        }
        Event::End(TagEnd::Link) if mem::take(in_dropped_link) => None,
        _ => Some(event),
    }
}

/// As the forges and the book make it of the heading's words: small letters, and a hyphen for each space.
fn anchor(behind: &[Event<'_>], level: HeadingLevel) -> String {
    let words = behind.iter().take_while(|event| **event != Event::End(TagEnd::Heading(level)));
    let text = words.filter_map(|event| match event {
        Event::Text(text) | Event::Code(text) => Some(&**text),
        _ => None,
    });
    let letters = text.flat_map(str::chars).flat_map(char::to_lowercase);
    letters
        .filter_map(|letter| match letter {
            ' ' => Some('-'),
            letter => (letter.is_alphanumeric() || matches!(letter, '-' | '_')).then_some(letter),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_has_an_address_and_every_link_leads_somewhere() {
        let ids: HashSet<&str> = HTML.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        let codes: Vec<&str> = DOCUMENT
            .lines()
            .filter_map(|line| line.strip_prefix("### `").and_then(|code| code.strip_suffix('`')))
            .collect();
        assert!(codes.len() > 50 && codes.iter().all(|code| ids.contains(code)), "{codes:?} of {ids:?}");
        let links: Vec<&str> = HTML.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(links.len() > 10);
        for link in links {
            assert!(link.strip_prefix('#').is_some_and(|id| ids.contains(id)), "{link}");
        }
        assert!(HTML.contains("<table>") && !HTML.contains("<script"));
    }

    #[test]
    fn words_of_a_link_that_leads_elsewhere_stay() {
        assert_eq!(html("a [b `c`](other.md) [d](#e)"), "<p>a b <code>c</code> <a href=\"#e\">d</a></p>\n");
    }
}
