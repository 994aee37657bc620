//! Whether a suggestion may get GitHub's button, with which anybody commits it unread. Pure.

use super::spots::{Sides, Spot};
use crate::text::{is_plain, visible};
use crate::verdict::Side;

/// Whether the code replaces exactly these lines: it changes something, repeats nothing of what stands around them, has
/// nothing to hide, and none of the prompt's own signs in it.
pub(super) fn is_exact(code: &str, range: &[Spot<'_>], sides: &Sides<'_>) -> bool {
    let lines: Vec<&str> = match code {
        "" => Vec::new(),
        code => code
            .strip_suffix('\n')
            .unwrap_or(code)
            .split('\n')
            .map(|line| line.trim_end_matches('\r'))
            .collect(),
    };
    let there: Vec<String> = range.iter().map(|spot| visible(spot.text)).collect();
    is_plain(code) && !has_placeholder(code) && lines != there && !repeats_a_neighbour(&lines, range, sides)
}

/// Such as the prompt has for what it does not show: it would be committed as it is.
fn has_placeholder(code: &str) -> bool {
    let is_code_point = |rest: &str| {
        let digits = rest.chars().take_while(char::is_ascii_hexdigit).count();
        (4..=6).contains(&digits) && rest[digits..].starts_with('>')
    };
    code.contains("<redacted:") || code.split("<U+").skip(1).any(is_code_point)
}

/// A suggestion that starts with the line above its range, or ends with the line below, would leave that line there
/// twice: the range is not the one that was meant.
fn repeats_a_neighbour(lines: &[&str], range: &[Spot<'_>], sides: &Sides<'_>) -> bool {
    let (Some(first), Some(last)) = (range.first(), range.last()) else { return false };
    let right = sides.on(Side::Right);
    let neighbour = |one: Option<u32>| right.get(sides.numbered(Side::Right, one?)?);
    let is_repeated = |line: Option<&&str>, own: &Spot<'_>, other: Option<&Spot<'_>>| {
        let (Some(line), Some(other)) = (line, other) else { return false };
        let is_telling = other.text.contains(char::is_alphanumeric);
        is_telling && other.hunk == own.hunk && visible(other.text) == **line && other.text != own.text
    };
    is_repeated(lines.first(), first, neighbour(first.line.checked_sub(1)))
        || is_repeated(lines.last(), last, neighbour(last.line.checked_add(1)))
}
