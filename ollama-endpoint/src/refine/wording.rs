//! How much two texts have in common, word by word: what keeps a small model from making things up. Pure.

use std::collections::BTreeSet;

/// Words end differently and mean the same; so many letters are compared.
const STEM: usize = 5;

/// Shorter words say little.
const SHORTEST: usize = 4;

/// Words of four letters and more that say nothing by themselves.
const EMPTY: [&str; 56] = [
    "about", "after", "again", "also", "always", "because", "been", "before", "being", "both", "could",
    "does", "done", "each", "every", "from", "have", "having", "here", "into", "just", "like", "made",
    "make", "makes", "more", "most", "much", "must", "need", "only", "other", "over", "same", "should",
    "since", "some", "such", "than", "that", "their", "them", "then", "there", "these", "they", "this",
    "used", "uses", "very", "when", "where", "which", "while", "will", "with",
];

/// Words that turn a statement into another one.
const DECISIVE: [&str; 56] = [
    "no",
    "not",
    "never",
    "none",
    "cannot",
    "without",
    "instead",
    "unless",
    "except",
    "longer",
    "anymore",
    "stop",
    "only",
    "always",
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "fifteen",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "ninety",
    "hundred",
    "thousand",
    "once",
    "twice",
    "half",
    "double",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "january",
    "february",
    "april",
    "june",
    "july",
    "august",
    "october",
    "november",
    "december",
];

/// The stems of the words that a text is about.
pub(super) fn stems(text: &str) -> BTreeSet<String> {
    let worth = |word: &String| word.chars().count() >= SHORTEST && !EMPTY.contains(&word.as_str());
    plain(text).filter(worth).map(|word| word.chars().take(STEM).collect()).collect()
}

/// The words that decide what a text says: negations, numbers in words, days and months.
pub(super) fn decisive(text: &str) -> BTreeSet<String> {
    let word = |word: String| {
        let negated = word.ends_with("n't") || word.ends_with("n’t");
        let singular = word.strip_suffix('s').unwrap_or(&word);
        let known = DECISIVE.iter().find(|known| **known == word || **known == singular);
        if negated { Some("not".to_owned()) } else { known.map(|known| (*known).to_owned()) }
    };
    let letter = |letter: char| letter.is_alphanumeric() || letter == '\'' || letter == '’';
    let words = text.split(|other| !letter(other)).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).filter_map(word).collect()
}

/// Which part of the words of `a` are in `b` as well, from 0 to 1; 1 if `a` has none.
pub(super) fn covered(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    part(a.intersection(b).count(), a.len())
}

/// Which part of the words of both is in each of them, from 0 to 1.
pub(super) fn in_common(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    part(a.intersection(b).count(), a.union(b).count())
}

#[expect(clippy::cast_precision_loss, reason = "counts of the words of a text are small")]
fn part(some: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { some as f64 / all as f64 }
}

/// Whether a sentence stands in a text twice, as small models write on and on.
pub(super) fn repeats_itself(text: &str) -> bool {
    let mut seen = BTreeSet::new();
    let sentences =
        text.split(['.', '!', '?', ';', '\n']).map(|sentence| plain(sentence).collect::<Vec<_>>());
    sentences.filter(|words| words.len() > 3).any(|words| !seen.insert(words))
}

fn plain(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_in_other_forms_of_its_words_has_much_in_common() {
        let common = |a: &str, b: &str| in_common(&stems(a), &stems(b));
        assert!(common("Deploys are on Tuesdays.", "We deploy every Tuesday.") > 0.99);
        assert!(common("Deploys are on Tuesdays.", "The relay listens on a port.") < 0.01);
        let record = stems("GitHub answers 502 now and then. Decision: at most five attempts.");
        assert!(covered(&stems("GitHub answers 502 sometimes; five attempts."), &record) > 0.7);
        assert!(covered(&stems("The new feature is not available in the current version."), &record) < 0.1);
        assert!((covered(&stems("so"), &record) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_decides_is_seen() {
        let differ = |a: &str, b: &str| decisive(a) != decisive(b);
        assert!(differ("Capped at five.", "Capped at eight."));
        assert!(differ("It is retried.", "It isn't retried."));
        assert!(differ("Deploys are on Tuesdays.", "Deploys are on Wednesdays."));
        assert!(!differ("Deploys are on Tuesdays.", "We deploy every Tuesday."));
        assert!(!differ("It is not retried.", "It isn’t retried."));
    }

    #[test]
    fn a_text_that_goes_in_circles_is_recognised() {
        assert!(repeats_itself(
            "The feature is in the next branch. Well. The feature is in the next branch."
        ));
        assert!(!repeats_itself("Retries are capped. Retries are capped at five. See above. See above."));
    }
}
