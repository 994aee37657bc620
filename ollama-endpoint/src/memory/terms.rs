//! A question in a person's words → the words to look for. Pure.

use std::collections::HashSet;

/// The most words of one question that are looked for.
const MOST: usize = 64;

/// Words that are in every text, and so say nothing about which one is meant.
const STOP_WORDS: &str = "a about after all also an and any are as at be been but by can could did do does for from \
    had has have how i if in into is it its me my not of on or our out shall should so some such than that the their \
    them then there these they this those to up us was we were what when where which who whom whose why will with \
    would you your";

/// The distinct words of `question` in lower case. Stop words are left out unless there is nothing else.
pub(super) fn terms(question: &str) -> Vec<String> {
    let lower = question.to_lowercase();
    let mut seen = HashSet::new();
    let words: Vec<&str> = lower
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty() && seen.insert(*word))
        .take(MOST)
        .collect();
    let stop: HashSet<&str> = STOP_WORDS.split(' ').collect();
    let telling: Vec<&str> = words.iter().filter(|word| !stop.contains(**word)).copied().collect();
    let chosen = if telling.is_empty() { words } else { telling };
    chosen.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_without_the_filler() {
        assert_eq!(terms("How do we retry in src/queue.rs?"), ["retry", "src", "queue", "rs"]);
        assert_eq!(terms("the THE and"), ["the", "and"], "a question of stop words only is still a question");
        assert_eq!(terms("Größe ÉTÉ 東京 v1.2"), ["größe", "été", "東京", "v1", "2"]);
        assert!(terms(" ?! \"\" ").is_empty());
    }

    proptest! {
        #[test]
        fn any_question_gives_a_bounded_number_of_plain_words(question in ".{0,400}") {
            let terms = terms(&question);
            prop_assert!(terms.len() <= MOST);
            prop_assert!(terms.iter().all(|term| !term.is_empty() && term.chars().all(char::is_alphanumeric)));
        }
    }
}
