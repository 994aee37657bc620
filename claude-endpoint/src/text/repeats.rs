//! What was recalled is not remembered again: a memory that quotes itself grows with each review.

/// Fewer letters and digits say nothing that could be known.
const TELLING: usize = 12;

/// Ends a sentence, or the part of one that says something by itself.
const ENDS: [char; 6] = ['\n', '.', '!', '?', ';', ':'];

fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_telling(letters: &str) -> bool {
    letters.chars().count() >= TELLING
}

/// The text without the sentences that stand in `known`, in whatever punctuation, and those that quote a sentence of it.
pub fn without_repeats(text: &str, known: &[String]) -> String {
    let whole: Vec<String> = known.iter().map(|known| letters(known)).collect();
    let sentences = known.iter().flat_map(|known| known.split(ENDS)).map(letters);
    let sentences: Vec<String> = sentences.filter(|sentence| is_telling(sentence)).collect();
    let is_known = |sentence: &str| {
        let said = letters(sentence);
        is_telling(&said)
            && (whole.iter().any(|known| known.contains(&said))
                || sentences.iter().any(|known| said.contains(known.as_str())))
    };
    let news: String = text.split_inclusive(ENDS).filter(|sentence| !is_known(sentence)).collect();
    news.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_left() {
        let known = ["convention (2026-11-01): Money is in cents. Errors are typed".to_owned()];
        let news = |text: &str| without_repeats(text, &known);
        assert_eq!(
            news("Adds a search. As known, *money* is in CENTS! It pages."),
            "Adds a search. It pages."
        );
        assert_eq!(news("Money is in cents"), "");
        assert_eq!(news("Is in cents"), "Is in cents", "too little to be a repetition");
        assert_eq!(news("Remember: errors are\ntyped, always"), "Remember: errors are\ntyped, always");
        assert_eq!(news("Remember that errors are typed, always"), "");
        assert_eq!(without_repeats("Money is in cents", &[]), "Money is in cents");
    }
}
