//! A text → the words that the full text knows it by; a question goes the same way. Pure.
//!
//! Prose is stemmed (Snowball's English stemmer, Porter 2001) and loses its stop words. Code is known by its parts and as
//! a whole, so that `retry_after`, `retryAfter` and "retry after" meet; paths by their names, commits by the seven digits
//! that people quote, issues by `#7`, and versions with or without their `v`.

use std::collections::HashSet;
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};

/// The most distinct words of one question that are looked for.
pub const MOST_ASKED: usize = 64;

/// Longer runs are no words: encoded data, mostly.
const LONGEST: usize = 64;

/// Digits of a commit id that people quote.
const SHORT_COMMIT: usize = 7;

/// Words that are in every text, and so say nothing about which one is meant.
const STOP_WORDS: &str = "a about after all also an and any are as at be been but by can could did do does for from had \
    has have how i if in into is it its me my not of on or our out shall should so some such than that the their them \
    then there these they this those to us was we were what when where which who whom whose why will with would you your";

static STOP: LazyLock<HashSet<&str>> = LazyLock::new(|| STOP_WORDS.split(' ').collect());
static STEMMER: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));

/// All words of `text` in its order, repetitions included: each is of letters and digits alone, in lower case.
pub fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut before = "";
    for piece in text.split(|letter: char| !in_piece(letter)) {
        let piece = piece.trim_matches(['.', '/', ':', '-']);
        if piece.is_empty() || piece.len() > 8 * LONGEST {
            continue;
        }
        numbered(before, piece, &mut found);
        if let Some(version) = version(piece) {
            found.push(version);
        }
        path(piece, &mut found);
        for name in piece.split(|letter: char| !in_name(letter)).filter(|name| !name.is_empty()) {
            identifier(name, &mut found);
        }
        before = piece;
    }
    found
}

/// The distinct words of a question, at most [`MOST_ASKED`].
pub fn asked(question: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    words(question).into_iter().filter(|word| seen.insert(word.clone())).take(MOST_ASKED).collect()
}

fn in_piece(letter: char) -> bool {
    in_name(letter) || matches!(letter, '.' | '/' | ':' | '#' | '-')
}

fn in_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// `#7`, and `7` after a word that announces such a number.
fn numbered(before: &str, piece: &str, found: &mut Vec<String>) {
    let announced = ["pr", "issue", "request", "pull", "ticket", "bug"];
    let announced = announced.iter().any(|word| before.eq_ignore_ascii_case(word));
    let number = match piece.rsplit_once('#') {
        Some((_, number)) => number,
        None if announced => piece,
        None => return,
    };
    if !number.is_empty() && number.len() < 10 && number.bytes().all(|digit| digit.is_ascii_digit()) {
        found.push(format!("number{number}"));
    }
}

/// `v1.2.3` and `1.2.3` as one word.
fn version(piece: &str) -> Option<String> {
    let digits = piece.strip_prefix(['v', 'V']).unwrap_or(piece);
    let parts: Vec<&str> = digits.split('.').collect();
    let numbers = parts
        .iter()
        .all(|part| !part.is_empty() && part.len() <= 8 && part.bytes().all(|digit| digit.is_ascii_digit()));
    (parts.len() >= 2 && numbers).then(|| format!("version{}", parts.join("p")))
}

/// A path as a whole, and its last part.
fn path(piece: &str, found: &mut Vec<String>) {
    let file = piece.rsplit('/').next().unwrap_or(piece);
    if piece.contains('/') {
        joined(piece, found);
    }
    if file.contains('.') && version(file).is_none() {
        joined(file, found);
    }
}

fn joined(text: &str, found: &mut Vec<String>) {
    let word: String =
        text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if (2..=4 * LONGEST).contains(&word.len()) {
        found.push(word);
    }
}

/// The parts of a name, and the name as a whole if it has several.
fn identifier(name: &str, found: &mut Vec<String>) {
    if name.len() > LONGEST {
        return;
    }
    if let Some(commit) = commit(name) {
        found.push(commit);
        return;
    }
    let parts = parts(name);
    if parts.len() > 1 {
        joined(name, found);
    }
    for part in parts {
        let part = part.to_lowercase();
        if !STOP.contains(part.as_str()) {
            found.push(stem(part));
        }
    }
}

fn stem(word: String) -> String {
    // What the stemmer is made for; a digit in it makes it a name.
    if word.is_ascii() && word.bytes().all(|letter| letter.is_ascii_alphabetic()) {
        STEMMER.stem(&word).into_owned()
    } else {
        word
    }
}

/// The short form of what looks like a commit's id.
fn commit(name: &str) -> Option<String> {
    let hex =
        (SHORT_COMMIT..=40).contains(&name.len()) && name.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mixed = name.bytes().any(|digit| digit.is_ascii_digit())
        && name.bytes().any(|digit| digit.is_ascii_alphabetic());
    (hex && mixed).then(|| name.get(..SHORT_COMMIT).unwrap_or(name).to_lowercase())
}

/// `retry_after`, `retryAfter`, `HTTPServer` → their parts.
fn parts(name: &str) -> Vec<&str> {
    name.split('_').flat_map(humps).filter(|part| !part.is_empty()).collect()
}

fn humps(name: &str) -> Vec<&str> {
    let letters: Vec<(usize, char)> = name.char_indices().collect();
    let mut cuts = vec![0];
    for at in 1..letters.len() {
        let (before, here) = (letters[at - 1].1, letters[at].1);
        let after = letters.get(at + 1).map(|letter| letter.1);
        let rises = before.is_lowercase() && here.is_uppercase();
        let acronym_ends =
            before.is_uppercase() && here.is_uppercase() && after.is_some_and(char::is_lowercase);
        if rises || acronym_ends {
            cuts.push(letters[at].0);
        }
    }
    cuts.push(name.len());
    cuts.windows(2).filter_map(|cut| name.get(cut[0]..cut[1])).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meets(a: &str, b: &str) -> bool {
        let a: HashSet<String> = words(a).into_iter().collect();
        words(b).iter().any(|word| a.contains(word))
    }

    #[test]
    fn prose_is_stemmed_and_loses_its_filler() {
        assert_eq!(words("How do we retry, and who retries?"), ["retri", "retri"]);
        assert_eq!(asked("Größe ÉTÉ 東京"), ["größe", "été", "東京"]);
        assert!(words(" ?! \"\" the and ").is_empty());
    }

    #[test]
    fn a_name_is_known_by_its_parts_and_as_a_whole_in_any_spelling() {
        for name in ["retry_after", "retryAfter", "RetryAfter", "RETRY_AFTER"] {
            assert!(words(name).contains(&"retryafter".to_owned()), "{name}");
            assert!(meets(name, "retry"), "{name}");
        }
        assert_eq!(
            words("parseHTTPHeader"),
            ["parsehttphead", "pars", "http", "header"].map(|word| {
                if word == "parsehttphead" { "parsehttpheader".to_owned() } else { word.to_owned() }
            })
        );
        assert!(meets("std::sync::OnceLock", "once_lock"));
    }

    #[test]
    fn paths_commits_numbers_and_versions_are_words() {
        assert!(
            words("see queue/src/sqlite.rs:12").contains(&"queuesrcsqliters12".to_owned())
                || meets("queue/src/sqlite.rs", "sqlite.rs")
        );
        assert!(meets("queue/src/sqlite.rs", "what is in sqlite.rs?"));
        assert!(words("queue/src/sqlite.rs").contains(&"queuesrcsqliters".to_owned()));
        assert!(meets("e148b1e0c0ffee00", "e148b1e"));
        assert!(!meets("e148b1e0", "e148b1f0"));
        assert!(meets("Fixes #123", "PR 123") && meets("octo/app#123", "issue 123"));
        assert!(!words("it took 123 ms").contains(&"number123".to_owned()));
        assert!(meets("since v1.12.0", "1.12.0") && !words("v1.12.0").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_gives_plain_words(text in ".{0,400}") {
            for word in words(&text) {
                prop_assert!(!word.is_empty() && word.chars().all(char::is_alphanumeric), "{word:?}");
            }
            prop_assert!(asked(&text).len() <= MOST_ASKED);
        }

        #[test]
        fn spelling_does_not_matter(parts in proptest::collection::vec("[a-z]{2,8}", 2..4)) {
            let snake = parts.join("_");
            let camel: String = parts.iter().enumerate().map(|(at, part)| {
                if at == 0 { part.clone() } else { part[..1].to_uppercase() + &part[1..] }
            }).collect();
            prop_assert!(words(&camel).contains(&parts.concat()) && words(&snake).contains(&parts.concat()));
        }
    }
}
