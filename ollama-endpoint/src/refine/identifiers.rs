//! The words of a text that name something exactly: paths, symbols, numbers. A model may word things anew, but not these.
//! Pure.

use std::collections::BTreeSet;

use crate::distil::mentions::words;

/// The distinct words of `text` that name something exactly: with a digit, an underscore, `::`, a slash between odd parts
/// or a capital inside, an option (`--x`), a login (`@x`), an address, and everything in backticks.
pub(super) fn identifiers(text: &str) -> BTreeSet<&str> {
    let paired = text.matches('`').count().is_multiple_of(2);
    let quoted = text.split('`').skip(1).step_by(2).filter(|_| paired);
    let quoted = quoted.map(str::trim).filter(|quoted| !quoted.is_empty());
    words(text).map(bare).filter(|word| is_identifier(word)).chain(quoted).collect()
}

/// Whether `identifier` stands in `text` as it is, and not as a part of a longer name or number.
pub(super) fn occurs(identifier: &str, text: &str) -> bool {
    let joins = |letter: char| letter.is_alphanumeric() || letter == '_';
    let (first, last) = (identifier.chars().next(), identifier.chars().next_back());
    // The beginning of a commit's id means that commit.
    let commit = identifier.len() >= 7 && identifier.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.match_indices(identifier).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + identifier.len()..]);
        let goes_on = |letter: Option<char>| letter.is_some_and(joins);
        let starts = !first.is_some_and(joins) || !goes_on(before.chars().next_back());
        let ends = commit || !last.is_some_and(joins) || !goes_on(after.chars().next());
        // 1.2 is not in 1.2.3, nor 5 in 1.5
        let number = identifier.bytes().any(|byte| byte.is_ascii_digit());
        let digit = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_digit());
        let part_before = before.ends_with('.') && digit(before.chars().rev().nth(1)) && digit(first);
        let part_after = after.starts_with('.') && digit(after.chars().nth(1)) && digit(last);
        // and neither is 7 in #7
        let part_before = part_before || before.ends_with('#') && digit(first);
        starts && ends && !(number && (part_before || part_after))
    })
}

/// Without the punctuation of a sentence.
fn bare(word: &str) -> &str {
    let word = word.trim_end_matches(['.', ':', '!', '?', '…']);
    word.strip_suffix("'s").unwrap_or(word)
}

fn is_identifier(word: &str) -> bool {
    let capital_inside =
        word.chars().zip(word.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase());
    let dotted = word.split('.').filter(|part| part.chars().count() > 1).count() > 1;
    word.chars().any(char::is_numeric)
        || word.contains(['_', '@', '\\', '#', '$'])
        || ["::", "://", "->"].iter().any(|sign| word.contains(sign))
        || word.starts_with("--") && word.len() > 2
        || word.starts_with('/') && word.len() > 1
        || word.matches('/').count() > 1
        || capital_inside
        || dotted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_names_something_exactly_is_told_from_prose() {
        let text = "The cap of retryLimit (see src/queue.rs:12, `queue`) is 5, and/or std::fs with MAX_TRIES; @ann said v1.2.3 in #7. \
                    Well-known e.g. i.e. words, GitHub's --force at /etc.";
        let found: Vec<&str> = identifiers(text).into_iter().collect();
        assert_eq!(
            found,
            [
                "#7",
                "--force",
                "/etc",
                "5",
                "@ann",
                "GitHub",
                "MAX_TRIES",
                "queue",
                "retryLimit",
                "src/queue.rs:12",
                "std::fs",
                "v1.2.3"
            ]
        );
    }

    #[test]
    fn a_part_of_a_name_is_not_the_name() {
        let text = "src/queue.rs:12 at commit 1a2b3c4d5e6f, v1.2.3 and #17; max_tries=5, 1.5 s";
        for there in [
            "src/queue.rs",
            "queue.rs",
            "src/queue.rs:12",
            "1a2b3c4",
            "v1.2.3",
            "#17",
            "max_tries",
            "5",
            "1.5",
            "12",
        ] {
            assert!(occurs(there, text), "{there}");
        }
        for absent in ["#1", "v1.2", "2.3", "tries", "max", "src/que", "1a2b3", "7", "lib.rs", "17", ""] {
            assert!(!occurs(absent, text) || absent.is_empty(), "{absent}");
        }
    }

    proptest! {
        #[test]
        fn every_identifier_of_a_text_occurs_in_it(text in "([a-zA-Z]{1,4}|[0-9é_./:#`@ \n-]){0,40}") {
            for identifier in identifiers(&text) {
                prop_assert!(occurs(identifier, &text), "{identifier:?} in {text:?}");
            }
        }
    }
}
