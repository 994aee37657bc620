//! Git's unified diff, read into files, hunks and numbered lines. Pure.
//!
//! Inside a hunk lines are *counted* against its header, never recognised by how they look: an added
//! line may well read `+++ b/x` or `@@ -1 +1 @@`. Lines end at `\n` alone, so form feeds, carriage
//! returns and Unicode separators stay part of the text. Format: `git help diff-format`, "Generating
//! patch text with -p".

use std::fmt;
use std::str::Chars;

use serde::{Deserialize, Serialize};

/// Everything one comparison changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// In the order of the diff.
    pub files: Vec<File>,
    /// Changed files that GitHub did not list, at least so many.
    pub unlisted: usize,
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path before; `None` for a new file.
    pub old_path: Option<String>,
    /// Its path now; `None` for a deleted file.
    pub new_path: Option<String>,
    /// Why there is no text to read, if so.
    pub unreadable: Option<Unreadable>,
    /// The changed places; empty for pure renames, mode changes and empty files.
    pub hunks: Vec<Hunk>,
}

/// Why a file's change has no lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unreadable {
    /// Git shows no text for it.
    Binary,
    /// GitHub left its patch out of the files API.
    TooLarge,
    /// A pointer to another repository's commit.
    Submodule,
}

/// One contiguous changed place with its context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    /// The text after the second `@@`: mostly the function it stands in.
    pub section: String,
    /// In the order of the diff.
    pub lines: Vec<Line>,
}

/// One line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What happened to it.
    pub kind: Kind,
    /// Its number (from 1) in the old file; `None` if added.
    pub old_no: Option<u32>,
    /// Its number (from 1) in the new file; `None` if removed.
    pub new_no: Option<u32>,
    /// Without the marker and the `\n`; a `\r` is kept.
    pub text: String,
}

/// What happened to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Unchanged.
    Context,
    /// Only in the new file.
    Added,
    /// Only in the old file.
    Removed,
}

/// The text is not a diff we understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Line of the diff's text, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the diff: {}", self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

impl File {
    /// The path it is known by: the new one, or the old one of a deleted file.
    pub fn path(&self) -> &str {
        self.new_path.as_deref().or(self.old_path.as_deref()).unwrap_or_default()
    }
}

/// Reads a whole diff (`git diff`, or GitHub's `application/vnd.github.diff`).
///
/// # Errors
/// [`ParseError`] with the line that does not fit.
pub fn parse(text: &str) -> Result<Diff, ParseError> {
    let mut input = Input::new(text);
    let mut files = Vec::new();
    while let Some(line) = input.peek() {
        if line.starts_with("diff --cc ") || line.starts_with("diff --combined ") {
            return Err(input.error("a combined diff of a merge has no single old side"));
        }
        if line.starts_with("diff --git ") {
            files.push(file(&mut input)?);
        } else if line.is_empty() {
            input.next();
        } else {
            return Err(input.error("expected `diff --git`, or `@@` after a complete hunk"));
        }
    }
    Ok(Diff { files, unlisted: 0 })
}

/// Reads the hunks alone, as the `patch` of GitHub's files API has them.
///
/// # Errors
/// [`ParseError`] with the line that does not fit.
pub fn parse_hunks(patch: &str) -> Result<Vec<Hunk>, ParseError> {
    let mut input = Input::new(patch);
    let found = hunks(&mut input)?;
    match input.peek() {
        None => Ok(found),
        Some(_) => Err(input.error("expected `@@` after a complete hunk")),
    }
}

/// The lines of the text, with one line of foresight.
struct Input<'a> {
    lines: std::iter::Peekable<std::str::Split<'a, char>>,
    number: usize,
}

impl<'a> Input<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let mut lines = text.split('\n').peekable();
        if text.is_empty() {
            lines.next();
        }
        Self { lines, number: 1 }
    }

    fn peek(&mut self) -> Option<&'a str> {
        self.lines.peek().copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        self.number += 1;
        self.lines.next()
    }

    fn error(&self, message: &'static str) -> ParseError {
        ParseError { line: self.number, message }
    }
}

/// A file: its `diff --git` line, the extended headers, the hunks.
fn file(input: &mut Input<'_>) -> Result<File, ParseError> {
    let mut paths = input.peek().and_then(header_paths);
    let start = input.number;
    input.next();
    let (mut added, mut deleted, mut unreadable) = (false, false, None);
    while let Some(line) = input.peek() {
        if line.starts_with("@@ ") || line.starts_with("diff --") {
            break;
        }
        match line {
            _ if line.starts_with("new file mode ") => added = true,
            _ if line.starts_with("deleted file mode ") => deleted = true,
            _ if line.starts_with("Binary files ") || line == "GIT binary patch" => {
                unreadable = Some(Unreadable::Binary);
            }
            _ => {}
        }
        if is_submodule(line) {
            unreadable = Some(Unreadable::Submodule);
        }
        for (prefix, side) in [("rename from ", 0), ("rename to ", 1), ("copy from ", 0), ("copy to ", 1)] {
            if let Some(path) = line.strip_prefix(prefix) {
                paths.get_or_insert_with(Default::default)[side] = unquote(path);
            }
        }
        for (prefix, side) in [("--- ", 0), ("+++ ", 1)] {
            if let Some(path) = line.strip_prefix(prefix).and_then(stated_path) {
                paths.get_or_insert_with(Default::default)[side] = path;
            }
        }
        input.next();
    }
    let Some([old, new]) = paths else {
        return Err(ParseError { line: start, message: "the file's path cannot be told from its headers" });
    };
    Ok(File {
        old_path: (!added).then_some(old),
        new_path: (!deleted).then_some(new),
        hunks: hunks(input)?,
        unreadable,
    })
}

fn is_submodule(header: &str) -> bool {
    let is_mode_line = ["index ", "new file mode ", "deleted file mode ", "old mode ", "new mode "]
        .iter()
        .any(|prefix| header.starts_with(prefix));
    is_mode_line && header.ends_with(" 160000")
}

/// The two paths of `diff --git a/x b/x`. Unquoted, they can only be told apart when they are equal,
/// which they are wherever no other header names them.
fn header_paths(line: &str) -> Option<[String; 2]> {
    let rest = line.strip_prefix("diff --git ")?;
    let (old, new) = if let Some(body) = rest.strip_prefix('"') {
        let end = closing_quote(body)?;
        (&rest[..end + 2], rest.get(end + 3..)?)
    } else if rest.ends_with('"') {
        let start = rest.find(" \"")?;
        (&rest[..start], &rest[start + 1..])
    } else {
        let middle = rest.len() / 2;
        (rest.get(..middle)?, rest.get(middle..)?.strip_prefix(' ')?)
    };
    let (old, new) = (without_prefix(&unquote(old))?, without_prefix(&unquote(new))?);
    Some([old, new])
}

/// The path of a `---` or `+++` line; `None` for `/dev/null`.
fn stated_path(text: &str) -> Option<String> {
    // git ends a path with spaces in it with a tab; other tools put a date behind one
    let path = if text.starts_with('"') { text } else { text.split('\t').next().unwrap_or(text) };
    if path == "/dev/null" { None } else { without_prefix(&unquote(path)) }
}

fn without_prefix(path: &str) -> Option<String> {
    path.strip_prefix("a/").or_else(|| path.strip_prefix("b/")).map(str::to_owned)
}

/// Where the quote that ends a quoted path stands, counted after the opening one.
fn closing_quote(body: &str) -> Option<usize> {
    let mut escaped = false;
    body.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

/// Undoes git's C-style quoting (`core.quotePath`); anything unquoted is returned as it is.
fn unquote(path: &str) -> String {
    let Some(body) = path.strip_prefix('"').and_then(|p| p.trim_end().strip_suffix('"')) else {
        return path.to_owned();
    };
    let mut bytes = Vec::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            bytes.push(escape(&mut chars));
        } else {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn escape(chars: &mut Chars<'_>) -> u8 {
    match chars.next() {
        Some('a') => 0x07,
        Some('b') => 0x08,
        Some('t') => b'\t',
        Some('n') => b'\n',
        Some('v') => 0x0B,
        Some('f') => 0x0C,
        Some('r') => b'\r',
        Some(digit @ '0'..='7') => {
            let mut value = digit.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                if let Some(next) = chars.clone().next().and_then(|c| c.to_digit(8)) {
                    value = value * 8 + next;
                    chars.next();
                }
            }
            value.to_le_bytes()[0]
        }
        Some(other) => u8::try_from(other).unwrap_or(b'?'),
        None => b'\\',
    }
}

fn hunks(input: &mut Input<'_>) -> Result<Vec<Hunk>, ParseError> {
    let mut found = Vec::new();
    while let Some(line) = input.peek().filter(|line| line.starts_with("@@ ")) {
        let header = Header::read(line).ok_or_else(|| input.error("not a hunk header `@@ -a,b +c,d @@`"))?;
        input.next();
        found.push(hunk(input, header)?);
    }
    Ok(found)
}

/// The numbers of `@@ -old,old_left +new,new_left @@ section`, counted down while lines are read.
struct Header<'a> {
    old: u32,
    old_left: u32,
    new: u32,
    new_left: u32,
    section: &'a str,
}

impl<'a> Header<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (ranges, section) = line.strip_prefix("@@ -")?.split_once(" @@")?;
        let (old, new) = ranges.split_once(" +")?;
        let ((old, old_left), (new, new_left)) = (range(old)?, range(new)?);
        Some(Self { old, old_left, new, new_left, section: section.trim() })
    }
}

/// `12,3` or `12` (which means `12,1`); the range must fit a `u32`.
fn range(text: &str) -> Option<(u32, u32)> {
    let (start, count) = match text.split_once(',') {
        Some((start, count)) => (start.parse().ok()?, count.parse().ok()?),
        None => (text.parse().ok()?, 1),
    };
    let _fits: u32 = u32::checked_add(start, count)?;
    Some((start, count))
}

fn hunk(input: &mut Input<'_>, mut header: Header<'_>) -> Result<Hunk, ParseError> {
    let mut lines = Vec::new();
    while header.old_left > 0 || header.new_left > 0 {
        let Some(raw) = input.peek() else {
            return Err(input.error("the diff ends inside a hunk"));
        };
        if !raw.starts_with('\\') {
            lines.push(line(raw, &mut header).map_err(|message| input.error(message))?);
        }
        input.next();
    }
    if input.peek().is_some_and(|line| line.starts_with('\\')) {
        input.next();
    }
    Ok(Hunk { section: header.section.to_owned(), lines })
}

fn line(raw: &str, header: &mut Header<'_>) -> Result<Line, &'static str> {
    let (kind, text) = match raw.as_bytes().first() {
        Some(b'+') => (Kind::Added, &raw[1..]),
        Some(b'-') => (Kind::Removed, &raw[1..]),
        Some(b' ') => (Kind::Context, &raw[1..]),
        // some tools strip the trailing space of an empty context line
        None => (Kind::Context, raw),
        Some(_) => return Err("a line of a hunk must start with a space, `+`, `-` or `\\`"),
    };
    let (on_old, on_new) = (kind != Kind::Added, kind != Kind::Removed);
    if (on_old && header.old_left == 0) || (on_new && header.new_left == 0) {
        return Err("the hunk has more lines than its header says");
    }
    let numbered = Line {
        kind,
        old_no: on_old.then_some(header.old),
        new_no: on_new.then_some(header.new),
        text: text.to_owned(),
    };
    header.old += u32::from(on_old);
    header.old_left -= u32::from(on_old);
    header.new += u32::from(on_new);
    header.new_left -= u32::from(on_new);
    Ok(numbered)
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
