//! What must be true of all that leaves: for the model, for GitHub, for the memory.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use shared::memory::{Trust, Update};
use testkit::anthropic::Request;

use crate::attempts::{Attempt, OURS, Place, token};

/// The one character that is put in on purpose: it takes the life out of a mention.
const GAP: char = '\u{200B}';

/// Written anew, so that it checks the service's own list.
fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0x00..=0x08 | 0x0B..=0x1F | 0x7F..=0x9F | 0xAD | 0x034F | 0x061C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
        | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0
        | 0xFFF0..=0xFFFB | 0xE0000..=0xE0FFF)
}

pub(crate) fn no_secret(place: &str, attempt: &Attempt, text: &str) {
    for secret in OURS.iter().map(|secret| (*secret).to_owned()).chain([token()]).chain(attempt.secrets()) {
        assert!(!text.contains(&secret), "{place} has the secret {secret}: {text}");
    }
}

/// A question to the model.
pub(crate) fn prompt(attempt: &Attempt, request: &Request) {
    let name = &attempt.name;
    no_secret(name, attempt, &request.body.to_string());
    let prompt = request.prompt();
    let odd = prompt.chars().find(|&c| c != '\n' && is_invisible(c));
    assert_eq!(odd, None, "{name}: something invisible in {prompt}");
    for line in prompt.lines().filter(|line| line.starts_with("| ")) {
        assert!(!line.contains("<!--"), "{name}: {line}");
    }
    // no line of a stranger's text is a line of the prompt
    for line in attempt.text.split(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}', '\u{0B}', '\u{0C}']) {
        let line = line.trim();
        // a heading of ours is counted below
        let is_heading = line.starts_with("## ") && request.system().contains(&format!("`{line}`"));
        let begins = |shown: &str| line.chars().count() > 5 && !is_heading && shown.starts_with(line);
        if let Some(shown) = prompt.lines().find(|shown| begins(shown)) {
            panic!("{name}: `{line}` is not fenced: {shown}");
        }
    }
    // each heading is one that the instructions know, and stands there once
    for heading in prompt.lines().filter(|line| line.starts_with('#')) {
        assert!(request.system().contains(&format!("`{heading}`")), "{name}: {heading}");
        assert_eq!(prompt.lines().filter(|line| *line == heading).count(), 1, "{name}: {heading}");
    }
    let files = prompt.lines().filter(|line| line.starts_with("=== ")).count();
    assert!(files <= attempt.files.len(), "{name}: {files} files in {prompt}");
}

/// What stands on GitHub under our name.
pub(crate) fn posted(place: &str, attempt: &Attempt, text: &str) {
    no_secret(place, attempt, text);
    let odd = text.chars().find(|&c| !matches!(c, '\n' | GAP) && is_invisible(c));
    assert_eq!(odd, None, "{place}: something invisible in {text:?}");
    for line in text.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        let is_command = word
            .strip_prefix('/')
            .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains('/'));
        assert!(!is_command && word != "bors", "{place}: a command in {line:?}");
    }
    rendered(place, text);
}

/// As a browser would be given it.
fn rendered(place: &str, text: &str) {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM;
    let (mut prose, mut block) = (String::new(), None::<String>);
    let mut code = String::new();
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                assert!(is_ours(&html), "{place}: HTML {html:?} in {text:?}");
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                panic!("{place}: the picture {dest_url} in {text:?}")
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                assert!(
                    !dest_url.contains("evil") && !dest_url.contains("other"),
                    "{place}: a link to {dest_url}"
                );
            }
            Event::TaskListMarker(_) | Event::FootnoteReference(_) => {
                panic!("{place}: a box or note in {text:?}")
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                code.clear();
                block = Some(match kind {
                    CodeBlockKind::Fenced(info) => info.into_string(),
                    CodeBlockKind::Indented => String::new(),
                });
            }
            Event::End(TagEnd::CodeBlock) => {
                let info = block.take().unwrap_or_default();
                assert!(
                    info.chars().all(|c| c.is_ascii_alphanumeric() || c == '+'),
                    "{place}: a block of {info:?}"
                );
                assert!(
                    !["mermaid", "geojson", "topojson", "stl", "math"].contains(&&*info),
                    "{place}: {info}"
                );
                let is_safe =
                    info != "suggestion" || claude_endpoint::text::is_plain(&code) && !code.contains("evil");
                assert!(is_safe, "{place}: a suggestion of {code:?}");
            }
            Event::Text(part) if block.is_some() => code.push_str(&part),
            Event::Text(part) => prose.push_str(&part),
            Event::Code(_) => prose.push(' '),
            Event::SoftBreak | Event::HardBreak | Event::End(_) => prose.push('\n'),
            _ => {}
        }
    }
    let begins =
        |mark: char, live: fn(char) -> bool| prose.split(mark).skip(1).any(|rest| rest.starts_with(live));
    assert!(!begins('@', char::is_alphanumeric), "{place}: a mention in {prose:?}");
    assert!(!begins('#', |c| c.is_ascii_digit()), "{place}: a reference in {prose:?}");
    for live in ["://evil", "www.evil", "://github.com/acme/other", "GH-3"] {
        assert!(!prose.contains(live), "{place}: {live} in {prose:?}");
    }
}

/// The tags and markers that the service writes itself.
fn is_ours(html: &str) -> bool {
    let html = html.trim();
    let is_marker = html.starts_with("<!-- ai-relay ") && html.ends_with("-->") && !html.contains("evil");
    let bare = ["<details>", "</details>", "<summary>", "</summary>", "<sub>", "</sub>"];
    let rest = bare.iter().fold(html.to_owned(), |html, tag| html.replace(tag, ""));
    is_marker || !rest.contains('<')
}

/// What the memory is told.
pub(crate) fn remembered(attempt: &Attempt, update: &Update) {
    let name = &attempt.name;
    let told = serde_json::to_string(update).unwrap();
    no_secret(name, attempt, &told);
    let odd = update.context.chars().find(|&c| c != '\n' && is_invisible(c));
    assert_eq!(odd, None, "{name}: {told}");
    assert!(!told.contains("<!--") && !told.contains("Money is in cents"), "{name}: {told}");
    assert!(update.trust.is_some_and(|trust| trust <= Trust::Member), "{name}: {told}");
    if attempt.place == Place::Memory {
        for sentence in attempt.text.split(['.', '\n', ':', ';']).filter(|sentence| sentence.len() > 20) {
            assert!(!told.contains(sentence.trim()), "{name} remembers again `{sentence}`: {told}");
        }
    }
}
