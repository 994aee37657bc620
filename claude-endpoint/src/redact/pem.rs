//! Private keys in PEM: the one secret that has lines. Its headers stay, since they say what it is; each line between
//! them is replaced. A diff may mark every line, a program may put each in quotation marks, and either end may lie
//! outside of what is shown.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::{guess, mark};

const KIND: &str = "private-key";
/// In every header.
const NAME: &str = "PRIVATE KEY";
/// Blank lines and headers such as `Proc-Type` between the first line and the key.
const MOST_HEADERS: usize = 6;
/// A first line of less is no key: `else` is base64 too.
const TELLING_LINE: usize = 40;

#[expect(clippy::expect_used, reason = "constant patterns, compiled by the first key in a test")]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern")
}

static BEGIN: LazyLock<Regex> =
    LazyLock::new(|| regex(r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"));
static END: LazyLock<Regex> =
    LazyLock::new(|| regex(r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"));
/// A key in one line, its line breaks escaped.
static INLINE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"PRIVATE KEY(?: BLOCK)? ?-{4,5}(?P<s>(?:\\+[nr]|[A-Za-z0-9+/=]){16,})"));
/// Where a line of a key begins and ends: behind line numbers, the signs of a diff, comments, quotation marks.
static BODY: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"^[ \t]*(?:[-+>|*#/;]{0,2}[0-9]{0,7}[-+>|*#/;: ]{1,2})?[ \t]*["'`]?(?P<s>[A-Za-z0-9+/=]+)(?:\\+[nr])*["'`,;+.\\) \t\r]*$"#,
    )
});
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"^[^A-Za-z]{0,16}(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|Subject|X-[A-Za-z-]+):.*)?$"#,
    )
});

/// The text with the lines of private keys replaced.
pub(super) fn redact(text: &str) -> Cow<'_, str> {
    if !text.contains(NAME) {
        return Cow::Borrowed(text);
    }
    let mut lines: Vec<Cow<'_, str>> = text.split('\n').map(Cow::Borrowed).collect();
    let mut changed = false;
    let mut at = 0;
    while at < lines.len() {
        changed |= inline(&mut lines[at]);
        if END.is_match(&lines[at]) {
            changed |= backwards(&mut lines, at);
        }
        let begins =
            BEGIN.find_iter(&lines[at]).last().is_some_and(|begin| !END.is_match_at(&lines[at], begin.end()));
        at += 1;
        if begins {
            let end = forwards(&mut lines, at);
            changed |= end > at;
            at = end.max(at);
        }
    }
    if changed { Cow::Owned(lines.join("\n")) } else { Cow::Borrowed(text) }
}

fn inline(line: &mut Cow<'_, str>) -> bool {
    let found = INLINE.captures_iter(line);
    let safe = super::replace(line, found, KIND, |found| !guess::is_filler(&found["s"]));
    let changed = safe.is_some();
    if let Some(safe) = safe {
        *line = Cow::Owned(safe);
    }
    changed
}

/// The place of base64 in a line that has nothing else.
fn body(line: &str) -> Option<std::ops::Range<usize>> {
    BODY.captures(line)?.name("s").map(|body| body.range())
}

fn hide(line: &mut Cow<'_, str>) {
    if let Some(range) = body(line) {
        let mut safe = line.clone().into_owned();
        safe.replace_range(range, &mark(KIND));
        *line = Cow::Owned(safe);
    }
}

/// Replaces the key that begins behind a first line; the number of the line behind it.
fn forwards(lines: &mut [Cow<'_, str>], from: usize) -> usize {
    let headers = lines[from..].iter().take(MOST_HEADERS).take_while(|line| HEADER.is_match(line)).count();
    let first = from + headers;
    let is_key = lines.get(first).and_then(|line| body(line)).is_some_and(|body| body.len() >= TELLING_LINE);
    if !is_key {
        return from;
    }
    let mut at = first;
    while at < lines.len() && body(&lines[at]).is_some() {
        hide(&mut lines[at]);
        at += 1;
    }
    at
}

/// Replaces the key that ends before the line `end` and begins where nothing is shown.
fn backwards(lines: &mut [Cow<'_, str>], end: usize) -> bool {
    let length = |line: &Cow<'_, str>| body(line).map_or(0, |body| body.len());
    // only the last line of a key is short
    let last = usize::from(end > 0 && (1..TELLING_LINE).contains(&length(&lines[end - 1])));
    let whole = lines[..end - last].iter().rev().take_while(|line| length(line) >= TELLING_LINE).count();
    if whole == 0 {
        return false;
    }
    for line in &mut lines[end - last - whole..end] {
        hide(line);
    }
    true
}
