//! A model's Markdown made fit to be posted under our name.
//!
//! Outside of code everything is disarmed with a zero-width space, which reads the same and, unlike a backslash or an
//! entity, means the same wherever it stands. Code keeps its text.
//!
//! **Links.** None that a model writes is live, but to a few sites of documentation where no stranger publishes. Whoever
//! steers the model could else have people click on an address of his that carries what the model has read, or on a page
//! that asks them for a password, under our name. That goes for GitHub too: anybody has pages there, and an address of an
//! issue notifies those who follow it. The address stays readable.
//!
//! **Blocks.** A fence keeps the name of a language and nothing else: `suggestion` would be a button that commits what
//! nobody has checked, `mermaid`, `geojson`, `stl` and `math` are programs.

use std::ops::Range;

use super::hidden::cleaned;
use super::markdown::{code, fences, is_within, parser, without};
use super::visible;
use crate::redact::redact;

pub(super) const GAP: char = '\u{200B}';
/// Reads like a dollar sign, and is not the mark of a formula.
const DOLLAR: char = '\u{FF04}';
/// Disarming can change what is code, so it is repeated until nothing changes; then everything is disarmed.
const MOST_ROUNDS: usize = 8;
/// Stands behind a text to see whether it would be swallowed.
const PROBE: &str = "probe";

/// Documentation that a link may lead to: nobody but its editors writes there.
const DOCUMENTATION: [&str; 11] = [
    "//cheatsheetseries.owasp.org/",
    "//cwe.mitre.org/",
    "//datatracker.ietf.org/",
    "//developer.mozilla.org/",
    "//doc.rust-lang.org/",
    "//docs.github.com/",
    "//docs.python.org/",
    "//go.dev/",
    "//nodejs.org/",
    "//nvd.nist.gov/",
    "//www.rfc-editor.org/",
];

/// What a fence may say.
const LANGUAGES: [&str; 60] = [
    "asm",
    "awk",
    "bash",
    "c",
    "c++",
    "clojure",
    "cmake",
    "cpp",
    "cs",
    "csharp",
    "css",
    "dart",
    "diff",
    "dockerfile",
    "elixir",
    "erlang",
    "fish",
    "go",
    "graphql",
    "groovy",
    "haskell",
    "hcl",
    "html",
    "http",
    "ini",
    "java",
    "javascript",
    "js",
    "json",
    "jsx",
    "kotlin",
    "kt",
    "lua",
    "make",
    "makefile",
    "nix",
    "objc",
    "ocaml",
    "perl",
    "php",
    "powershell",
    "proto",
    "py",
    "python",
    "r",
    "rb",
    "rs",
    "ruby",
    "rust",
    "scala",
    "sh",
    "shell",
    "sql",
    "swift",
    "text",
    "toml",
    "ts",
    "typescript",
    "xml",
    "yaml",
];

/// Blocks that GitHub does more with than show them.
const RENDERED: [&str; 6] = ["suggestion", "mermaid", "geojson", "topojson", "stl", "math"];

/// Phrases by which people, and programs that read comments, command bots of other makers; at the start of a line.
const WORDS: [&str; 6] = ["bors", "homu", "jenkins", "r+", "recheck", "retest"];
/// The same, wherever they stand.
const PHRASES: [&str; 4] = ["ok to test", "test this please", "add to whitelist", "add to allowlist"];

/// Fit to be posted: no hidden text, no secret, no mention that notifies, no reference that leaves a trace, no link, no
/// picture that is fetched, no HTML, no block that is rendered, no command to a bot; a code fence left open is closed.
pub fn postable(markdown: &str) -> String {
    settle(&seen(markdown))
}

/// [`postable`] for a place within a line: nothing in it opens a block.
pub fn postable_line(markdown: &str) -> String {
    const BEFORE: &str = "x ";
    let line = seen(markdown).split_whitespace().collect::<Vec<_>>().join(" ");
    let safe = settle(&format!("{BEFORE}{line}"));
    safe.strip_prefix(BEFORE).unwrap_or(&safe).to_owned()
}

/// Code in which no line is a command to a bot: some read comments line by line, code or not.
pub fn without_commands(code: &str) -> String {
    code.split('\n').map(without_command).collect::<Vec<_>>().join("\n")
}

/// Code as it may be shown: nothing invisible, no secret, no command.
pub(super) fn shown(code: &str) -> String {
    let visible: Vec<String> = code.split('\n').map(visible).collect();
    without_commands(&redact(&visible.join("\n")))
}

/// Whether [`without_commands`] would change it.
pub(super) fn has_command(code: &str) -> bool {
    without_commands(code) != code
}

/// Without invisible characters, secrets, and HTML comments outside of code. One that is never closed is not taken for one:
/// it is disarmed like any tag, and shows what it would hide.
fn seen(markdown: &str) -> String {
    let mut text = cleaned(markdown);
    loop {
        let comments = comments(&text);
        if comments.is_empty() {
            break;
        }
        text = without(&text, &comments);
    }
    redact(text.trim()).into_owned()
}

fn comments(text: &str) -> Vec<Range<usize>> {
    if !text.contains("<!--") {
        return Vec::new();
    }
    let code = code(text);
    let mut found: Vec<Range<usize>> = Vec::new();
    for (start, _) in text.match_indices("<!--") {
        let is_inside = found.last().is_some_and(|last| start < last.end);
        if is_inside || is_within(&code, start) {
            continue;
        }
        if let Some(end) = text[start + 4..].find("-->") {
            found.push(start..start + 4 + end + 3);
        }
    }
    found
}

fn settle(markdown: &str) -> String {
    let mut text = without_commands(markdown);
    for _ in 0..MOST_ROUNDS {
        // what an HTML comment has swallowed so far is there once it is disarmed
        let plain = closed(with_plain_fences(&text));
        let next = disarm(&plain, &code(&plain));
        if next == text {
            return without_markers(&text);
        }
        text = next;
    }
    without_markers(&closed(with_plain_fences(&disarm(&text, &[]))))
}

/// Not even in code does anything look like a marker of ours: they are looked for in the text.
fn without_markers(text: &str) -> String {
    text.replace("<!--", &format!("<{GAP}!--"))
}

/// The text with the fence closed that would swallow what is put behind it.
fn closed(mut text: String) -> String {
    let end = text.len();
    let probed = format!("{text}\n\n{PROBE}");
    let swallowing = parser(&probed).find_map(|(event, range)| {
        let is_block = matches!(event, pulldown_cmark::Event::Start(pulldown_cmark::Tag::CodeBlock(_)));
        (is_block && range.end > end + 2).then_some(range.start)
    });
    if let Some(start) = swallowing {
        let (fence, _) = fence(text[start..].trim_start());
        let fence = fence.to_owned();
        text.push('\n');
        text.push_str(&fence);
    }
    text
}

/// A line's run of backticks or tildes, and what it says behind them.
fn fence(line: &str) -> (&str, &str) {
    let first = line.chars().next().filter(|c| matches!(c, '`' | '~'));
    let length = first.map_or(0, |first| line.len() - line.trim_start_matches(first).len());
    line.split_at(length)
}

/// Fences that say at most the name of a language.
fn with_plain_fences(text: &str) -> String {
    let mut out = text.to_owned();
    for (range, info) in fences(text).into_iter().rev() {
        let word: String = info.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '+').collect();
        let name = LANGUAGES.iter().find(|name| name.eq_ignore_ascii_case(&word));
        let line = text[range.clone()].trim_start();
        let (run, said) = fence(line.split('\n').next().unwrap_or_default());
        let start = range.end - line.len() + run.len();
        if !run.is_empty() && name.is_none_or(|name| *name != said) {
            out.replace_range(start..start + said.len(), name.unwrap_or(&""));
        }
    }
    without_rendered(&out)
}

/// What another parser might take for the fence of a block that is rendered, wherever it stands.
fn without_rendered(text: &str) -> String {
    let code = code(text);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let inside = line
            .trim_start_matches(|c: char| c.is_whitespace() || c.is_ascii_digit() || ">*+-.)(".contains(c));
        let start = at + line.len() - inside.len();
        let (run, said) = fence(inside);
        let word = said.trim_start().to_ascii_lowercase();
        let is_rendered = run.len() >= 3 && RENDERED.iter().any(|name| word.starts_with(name));
        if is_rendered && !is_within(&code, start) {
            out.push_str(&text[at..start + run.len()]);
            out.push(GAP);
            out.push_str(said);
        } else {
            out.push_str(line);
        }
        at += line.len();
    }
    out
}

/// Outside of `code`, nothing notifies, links, embeds or is HTML.
fn disarm(text: &str, code: &[Range<usize>]) -> String {
    let dollars = text.match_indices('$').filter(|(at, _)| !is_within(code, *at)).count();
    let mut out = String::with_capacity(text.len() + 16);
    let mut code = code.iter().peekable();
    for (at, c) in text.char_indices() {
        while code.next_if(|range| range.end <= at).is_some() {}
        if code.peek().is_some_and(|range| range.contains(&at)) {
            out.push(c);
            continue;
        }
        // a formula has one at each end
        out.push(if c == '$' && dollars > 1 { DOLLAR } else { c });
        if is_live(&text[..at], c, &text[at + c.len_utf8()..]) {
            out.push(GAP);
        }
    }
    out
}

/// Whether `c` means something between what stands before and behind it: a mention, an entity (which could stand for an
/// `@`), raw HTML or an autolink, a picture, a reference to an issue, a link or where one leads, a box to tick.
fn is_live(before: &str, c: char, behind: &str) -> bool {
    let Some(next) = behind.chars().next() else { return false };
    match c {
        '@' => !next.is_whitespace() && next != GAP,
        '&' => next == '#' || next.is_ascii_alphabetic(),
        '<' => next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?'),
        '!' => next == '[',
        '#' => next.is_ascii_digit(),
        '-' => next.is_ascii_digit() && ends_with(before, "gh"),
        ':' => behind.starts_with("//") && !(ends_with(before, "https") && is_documentation(behind)),
        'w' | 'W' => next == '.' && ends_with(before, "ww"),
        ']' => next == ':' || next == '(' && !is_link_to_documentation(&behind[1..]),
        '[' => is_box(before, behind) || behind.starts_with("!") || next == '^',
        _ => false,
    }
}

/// `- [ ]`: a box to tick begins its item.
fn is_box(before: &str, behind: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    let begins = line.chars().all(|c| c.is_whitespace() || c.is_ascii_digit() || ">*+-.)".contains(c));
    begins && behind.get(1..2) == Some("]") && behind.starts_with([' ', 'x', 'X'])
}

/// Whether a text ends with this word, in any case, and not with a longer one.
fn ends_with(text: &str, word: &str) -> bool {
    let Some(start) = text.len().checked_sub(word.len()) else { return false };
    text.is_char_boundary(start)
        && text[start..].eq_ignore_ascii_case(word)
        && !text[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.'))
}

fn is_documentation(behind_scheme: &str) -> bool {
    DOCUMENTATION.iter().any(|site| behind_scheme.starts_with(site))
}

fn is_link_to_documentation(target: &str) -> bool {
    target.strip_prefix("https:").is_some_and(is_documentation)
}

fn without_command(line: &str) -> String {
    let mut out = line.to_owned();
    if let Some(at) = command(line) {
        out.insert(at, GAP);
    }
    for phrase in PHRASES {
        while let Some(at) = out.to_ascii_lowercase().find(phrase) {
            out.insert(at + 1, GAP);
        }
    }
    out
}

/// Behind the first character of a command such as `/approve`, `/lgtm cancel` or `bors r+`; a path has more than one slash.
fn command(line: &str) -> Option<usize> {
    let rest = line.trim_start();
    let start = line.len() - rest.len();
    let word = rest.split_whitespace().next()?;
    let is_word = WORDS.iter().any(|command| word.eq_ignore_ascii_case(command));
    let is_slash = word
        .strip_prefix('/')
        .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains('/'));
    (is_word || is_slash).then_some(start + 1)
}

#[cfg(test)]
#[path = "postable_tests.rs"]
mod tests;
