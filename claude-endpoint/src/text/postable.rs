//! A model's Markdown made fit to be posted under our name.
//!
//! What is code is decided by a parser that reads as GitHub does, never by looking for backticks: a code span can go
//! on over a line, a backtick can be escaped, a fence ends with its list item. Everything else is disarmed with a
//! zero-width space, which reads the same and, unlike a backslash or an entity, means the same wherever it stands.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::readable;

const GAP: char = '\u{200B}';
/// Disarming can change what is code, so it is repeated until nothing changes; then everything is disarmed.
const MOST_ROUNDS: usize = 8;
/// Stands behind a text to see whether it would be swallowed.
const PROBE: &str = "probe";

/// Fit to be posted: no hidden text, no mention that notifies, no picture that is fetched, no HTML, no command to a
/// bot; a code fence left open is closed. Code keeps its text.
pub fn postable(markdown: &str) -> String {
    settle(&closed(readable(markdown)))
}

/// [`postable`] for a place within a line: nothing in it opens a block.
pub fn postable_line(markdown: &str) -> String {
    const BEFORE: &str = "x ";
    let line = readable(markdown).split_whitespace().collect::<Vec<_>>().join(" ");
    let safe = settle(&format!("{BEFORE}{line}"));
    safe.strip_prefix(BEFORE).unwrap_or(&safe).to_owned()
}

/// Code in which no line is a command to a bot: some read comments line by line, code or not.
pub fn without_commands(code: &str) -> String {
    code.split('\n').map(without_command).collect::<Vec<_>>().join("\n")
}

/// Whether [`without_commands`] would change it.
pub(super) fn has_command(code: &str) -> bool {
    code.split('\n').any(|line| command(line).is_some())
}

fn settle(markdown: &str) -> String {
    let mut text = without_commands(markdown);
    for _ in 0..MOST_ROUNDS {
        let next = disarm(&text, &code(&text));
        if next == text {
            return text;
        }
        text = next;
    }
    disarm(&text, &[])
}

fn parser(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM;
    Parser::new_ext(text, options).into_offset_iter()
}

/// Where the text is code, in order.
fn code(text: &str) -> Vec<Range<usize>> {
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

/// The text with the fence closed that would swallow what is put behind it.
fn closed(mut text: String) -> String {
    let end = text.len();
    let probed = format!("{text}\n\n{PROBE}");
    let swallowing = parser(&probed).find_map(|(event, range)| {
        let is_block = matches!(event, Event::Start(Tag::CodeBlock(_)));
        (is_block && range.end > end + 2).then_some(range.start)
    });
    if let Some(start) = swallowing {
        let fence = text[start..].trim_start();
        let first = fence.chars().next().unwrap_or('`');
        let run: String = fence.chars().take_while(|&c| c == first).collect();
        text.push('\n');
        text.push_str(&run);
    }
    text
}

/// Outside of `code`, nothing notifies, embeds or is HTML.
fn disarm(text: &str, code: &[Range<usize>]) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut code = code.iter().peekable();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        while code.next_if(|range| range.end <= at).is_some() {}
        out.push(c);
        let is_code = code.peek().is_some_and(|range| range.contains(&at));
        let next = chars.peek().map(|&(_, next)| next);
        if !is_code && next.is_some_and(|next| is_live(c, next)) {
            out.push(GAP);
        }
    }
    out
}

/// Whether `c` means something before `next`: a mention, an entity (which could stand for an `@`), raw HTML or an
/// autolink, a picture.
fn is_live(c: char, next: char) -> bool {
    match c {
        '@' => !next.is_whitespace() && next != GAP,
        '&' => next == '#' || next.is_ascii_alphabetic(),
        '<' => next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?'),
        '!' => next == '[',
        _ => false,
    }
}

fn without_command(line: &str) -> String {
    match command(line) {
        Some(slash) => format!("{}/{GAP}{}", &line[..slash], &line[slash + 1..]),
        None => line.to_owned(),
    }
}

/// Where a line has the slash of a command such as `/approve` or `/lgtm cancel`; a path has more than one.
fn command(line: &str) -> Option<usize> {
    let rest = line.trim_start();
    let word = rest.strip_prefix('/')?.split_whitespace().next()?;
    let is_command = rest[1..].starts_with(|c: char| c.is_ascii_alphabetic()) && !word.contains('/');
    is_command.then_some(line.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a reader's browser would be given: nothing of it is HTML, a picture or a mention.
    fn assert_harmless(posted: &str) {
        let (mut prose, mut in_block) = (String::new(), false);
        for (event, _) in parser(posted) {
            match event {
                Event::Html(html) | Event::InlineHtml(html) => panic!("HTML {html:?} in {posted:?}"),
                Event::Start(Tag::Image { dest_url, .. }) => panic!("picture {dest_url} in {posted:?}"),
                Event::Start(Tag::CodeBlock(_)) => in_block = true,
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Text(text) if !in_block => prose.push_str(&text),
                Event::Code(_) => prose.push(' '),
                Event::SoftBreak | Event::HardBreak | Event::End(_) => prose.push('\n'),
                _ => {}
            }
        }
        let mention = prose.split('@').skip(1).find(|name| name.starts_with(|c: char| c.is_alphanumeric()));
        assert_eq!(mention, None, "{posted:?}");
        assert!(!has_command(posted), "{posted:?}");
    }

    #[test]
    fn what_only_looks_like_code_is_disarmed() {
        for live in [
            "x ` y\n` @octocat ![p](http://evil/?q=s) `",
            "\\`@octocat ![p](http://evil/x)\\`",
            "- x\n  ```\n@octocat ![p](http://evil) <img src=x>",
            "&#64;octocat &commat;octocat &#x40;octocat",
            "!![p](http://evil/x)",
            "\\<img src=x> \\&#64;octocat",
            "<a title=\"`\"> `@octocat` `",
            "| a | b |\n|---|---|\n| `x | @octocat` |",
            "> ```\n@octocat <img src=x>",
            "[p]: http://evil/x\n\n![p] and ![p][p]",
            "    code\n@octocat",
            "/approve\n  /lgtm cancel\n\n```\n/merge\n```",
        ] {
            let posted = postable(live);
            assert_harmless(&posted);
            assert_harmless(&format!("**major** {}", postable_line(live)));
        }
        assert_eq!(postable("&#64;octocat"), "&\u{200B}#64;octocat");
        assert_eq!(postable("see /usr/lib and\n/usr/bin/env"), "see /usr/lib and\n/usr/bin/env");
    }

    #[test]
    fn a_line_opens_no_block() {
        assert_eq!(postable_line("``` @octocat"), "``` @\u{200B}octocat");
        assert_eq!(postable_line("    @octocat\n`@code`"), "@\u{200B}octocat `@code`");
    }

    #[test]
    fn code_keeps_its_text() {
        let answer =
            "cc @octocat, see `@decorator` and ![x](http://evil/?q=1)\n```py\n@property\n```\n<img src=x>";
        assert_eq!(
            postable(answer),
            "cc @\u{200B}octocat, see `@decorator` and !\u{200B}[x](http://evil/?q=1)\n```py\n@property\n```\n<\u{200B}img src=x>"
        );
        let nested = "- a\n  ```c\n  if (a < b && &x) return <T>;\n  ```\n- `a && &b` & c";
        assert_eq!(postable(nested), nested);
    }

    #[test]
    fn a_fence_left_open_is_closed() {
        assert_eq!(postable("a\n```\nopen @x"), "a\n```\nopen @x\n```");
        assert_eq!(postable("~~~~ md\n```\nopen"), "~~~~ md\n```\nopen\n~~~~");
        assert_eq!(postable("`open @x"), "`open @\u{200B}x");
        assert_eq!(postable("- a\n  ```\n  open"), "- a\n  ```\n  open", "the list's end closes it");
        assert_eq!(postable("a<!-- ai-relay v1 --> b"), "a b");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn nothing_posted_is_live(text in "\\PC{0,60}|([`~@!<>&#;/|\\[\\]()\\\\*_ \n\\-a1:.=\"]|img|amp|\n```|\n    ){0,60}") {
            let posted = postable(&text);
            assert_harmless(&posted);
            assert_harmless(&format!("**major** {}\n\n{posted}\n\n```\nquote\n```\n", postable_line(&text)));
            prop_assert!(!posted.contains("<!--"));
        }
    }
}
