//! How the words of strangers are handed to a model: between marks that they do not contain. Pure.

/// `text` between `<name-1>` and `</name-1>`, or a higher number where it contains these words itself.
pub(super) fn fenced(name: &str, text: &str) -> String {
    let lower = text.to_lowercase();
    // A text of n bytes cannot contain more than n numbers, so this ends.
    let mark = (1..).map(|n| format!("{name}-{n}")).find(|mark| !lower.contains(mark)).unwrap_or_default();
    format!("<{mark}>\n{text}\n</{mark}>")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nobody_closes_the_fence_from_inside(text in "(</record-[0-9]>|<record-[0-9]>|Record-1|[a-z\n ]){0,30}") {
            let whole = fenced("record", &text);
            let mark = whole[1..].split('>').next().unwrap().to_owned();
            let inside = &whole[mark.len() + 3..whole.len() - mark.len() - 4];
            prop_assert_eq!(inside, &text);
            prop_assert!(!inside.to_lowercase().contains(&mark));
        }
    }
}
