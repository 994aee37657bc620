//! What a finding quotes. Pure.

use super::spots::{Spot, is_range};
use crate::text::normalise;

/// A quotation with fewer letters and digits than this (`}`, `else`) stands in too many places to move
/// a finding by it, unless it stands in exactly one.
const TELLING: usize = 5;

/// A quotation, line by line as it may stand in the file.
#[derive(Debug)]
pub(super) struct Quote {
    /// As given, and without the number and sign of the prompt's format, which a model sometimes copies along.
    forms: [Vec<String>; 2],
}

impl Quote {
    /// Blank lines around it do not count; nothing but those is one blank line.
    pub(super) fn new(quote: &str) -> Self {
        let is_blank = |line: &&str| line.trim().is_empty();
        let mut lines: Vec<&str> = quote.split('\n').skip_while(is_blank).collect();
        while lines.last().is_some_and(is_blank) {
            lines.pop();
        }
        if lines.is_empty() {
            lines.push("");
        }
        let unmarked = |line: &&str| {
            let unnumbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
            normalise(unnumbered.strip_prefix(['+', '-', ' ']).unwrap_or(line))
        };
        Self {
            forms: [lines.iter().map(|line| normalise(line)).collect(), lines.iter().map(unmarked).collect()],
        }
    }

    /// Its lines.
    pub(super) fn len(&self) -> usize {
        self.forms[0].len()
    }

    /// Whether its first line is the first of these.
    pub(super) fn starts_at(&self, spots: &[Spot<'_>]) -> bool {
        let starts =
            |form: &Vec<String>| form.first().zip(spots.first()).is_some_and(|(line, spot)| spot.reads(line));
        self.forms.iter().any(starts)
    }

    /// Whether all of it stands there.
    pub(super) fn stands_at(&self, spots: &[Spot<'_>]) -> bool {
        let stands = |form: &Vec<String>| {
            let there = spots.get(..form.len()).filter(|there| !there.is_empty() && is_range(there));
            there.is_some_and(|there| form.iter().zip(there).all(|(line, spot)| spot.reads(line)))
        };
        self.forms.iter().any(stands)
    }

    /// One that stands nowhere in particular.
    pub(super) fn is_blank(&self) -> bool {
        self.forms[0].iter().all(String::is_empty)
    }

    pub(super) fn is_telling(&self) -> bool {
        self.forms[1].iter().flat_map(|line| line.chars()).filter(|c| c.is_alphanumeric()).count() >= TELLING
    }
}
