//! Code that may be committed with one click: its reader sees all of it, and sees it as it is.

use super::hidden::{is_hidden, is_line_break};
use super::postable::has_command;
use crate::redact::contains_secret;

/// A longer line runs out of the window.
const LONGEST_LINE: usize = 500;
/// So much space inside of a line moves what follows out of sight.
const LONGEST_GAP: usize = 40;

/// Whether a reader of this code sees all of it, no letter passes for another, no bot takes a line of it for a command, and
/// it has no secret that would have to be replaced.
pub fn is_plain(code: &str) -> bool {
    has_plain_characters(code)
        && code.split('\n').all(|line| line.chars().count() <= LONGEST_LINE && !has_gap(line))
        && !code.split(|c: char| !c.is_alphanumeric()).any(is_mixed)
        && !has_command(code)
        && !contains_secret(code)
}

fn has_plain_characters(code: &str) -> bool {
    let mut before = None;
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        let is_plain = match c {
            ' ' | '\t' | '\n' | '\u{3000}' => true,
            // a carriage return elsewhere ends a line for some compilers, and for no reader
            '\r' => matches!(chars.peek(), None | Some('\n')),
            c => !(c.is_whitespace() || c.is_control() || is_line_break(c) || is_hidden(before, c)),
        };
        if !is_plain {
            return false;
        }
        before = Some(c);
    }
    true
}

fn has_gap(line: &str) -> bool {
    let inside = line.trim();
    inside.split(|c: char| !c.is_whitespace()).any(|gap| gap.chars().count() >= LONGEST_GAP)
}

/// Whether a word mixes ASCII letters with letters that look like them.
fn is_mixed(word: &str) -> bool {
    let look_alike = |c: char| {
        matches!(c, '\u{0370}'..='\u{058F}' | '\u{13A0}'..='\u{13FF}' | '\u{1D00}'..='\u{1DBF}' | '\u{2C60}'..='\u{2C7F}'
            | '\u{A640}'..='\u{A69F}' | '\u{FF00}'..='\u{FF5E}' | '\u{1D400}'..='\u{1D7FF}')
    };
    word.chars().any(|c| c.is_ascii_alphabetic()) && word.chars().any(look_alike)
}
