//! What Markdown makes of a text: by a parser that reads as GitHub does, never by looking for backticks. A code span can
//! go on over a line, a backtick can be escaped, a fence ends with its list item.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use regex::{Captures, Regex};

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
}

pub(super) fn parser(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    Parser::new_ext(text, options()).into_offset_iter()
}

/// Where the text is code, in order.
pub(super) fn code(text: &str) -> Vec<Range<usize>> {
    let mut in_block = false;
    let mut found = Vec::new();
    for (event, range) in parser(text) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_block = true,
            Event::End(TagEnd::CodeBlock) => in_block = false,
            Event::Code(_) => found.push(range),
            Event::Text(_) if in_block => found.push(range),
            _ => {}
        }
    }
    found
}

/// The fenced code blocks, each with what its fence says.
pub(super) fn fences(text: &str) -> Vec<(Range<usize>, String)> {
    let fence = |(event, range)| match event {
        Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => Some((range, info.into_string())),
        _ => None,
    };
    parser(text).filter_map(fence).collect()
}

/// Whether the place is in one of the ranges, which are in order.
pub(super) fn is_within(ranges: &[Range<usize>], at: usize) -> bool {
    let behind = ranges.partition_point(|range| range.end <= at);
    ranges.get(behind).is_some_and(|range| range.contains(&at))
}

#[expect(clippy::expect_used, reason = "a constant pattern, which every test of `readable` compiles")]
static TAG: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"<([A-Za-z][A-Za-z0-9-]*)[ \t\n/](?:"[^"]*"|'[^']*'|[^'">])*>"#).expect("a constant pattern")
});

/// Prose without what its readers do not see: link definitions, footnotes that nothing leads to, and what stands in HTML
/// tags beside their names.
pub(super) fn without_hidden(prose: &str) -> String {
    let definitions = definitions(prose);
    let kept = without(prose, &definitions.places);
    let lines: Vec<&str> = kept.lines().filter(|line| !definitions.has(line)).collect();
    let kept = lines.join("\n");
    let code = code(&kept);
    let bare = TAG.replace_all(&kept, |tag: &Captures<'_>| {
        let whole = tag.get(0).map_or(0, |whole| whole.start());
        if is_within(&code, whole) { tag[0].to_owned() } else { format!("<{}>", &tag[1]) }
    });
    bare.into_owned()
}

#[derive(Default)]
struct Definitions {
    /// In order; none reaches into another.
    places: Vec<Range<usize>>,
    labels: BTreeSet<String>,
}

impl Definitions {
    /// Whether a line defines what is defined before; the parser tells only of the first.
    fn has(&self, line: &str) -> bool {
        let Some((label, rest)) = line.trim_start().strip_prefix('[').and_then(|line| line.split_once("]:"))
        else {
            return false;
        };
        let rest = rest.trim_start();
        rest.starts_with('#') || rest.starts_with("<>") || self.labels.contains(&label.to_lowercase())
    }
}

fn definitions(prose: &str) -> Definitions {
    let parser = Parser::new_ext(prose, options());
    let mut found = Definitions::default();
    for (label, definition) in parser.reference_definitions().iter() {
        found.labels.insert(label.to_lowercase());
        found.places.push(definition.span.clone());
    }
    let (mut notes, mut used) = (Vec::new(), BTreeSet::new());
    for (event, range) in parser.into_offset_iter() {
        match event {
            Event::Start(Tag::FootnoteDefinition(label)) => notes.push((label.into_string(), range)),
            Event::FootnoteReference(label) => {
                used.insert(label.into_string());
            }
            _ => {}
        }
    }
    found.places.extend(notes.into_iter().filter(|(label, _)| !used.contains(label)).map(|(_, place)| place));
    found.places.sort_by_key(|place| place.start);
    found
}

/// The text without these places, which are in order.
pub(super) fn without(text: &str, places: &[Range<usize>]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for place in places {
        out.push_str(text.get(done..place.start).unwrap_or_default());
        done = done.max(place.end);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}
