//! The lines of a prompt's diff as a reader without any knowledge of the diff itself understands them, by the rules of
//! `claude-endpoint/src/prompt.md` alone. The stand-in for a model reads like this, and `check-anchors` holds what it
//! reads against the files.

/// `@@` as the Claude CLI is given it.
const WIDE: &str = "\u{FF20}\u{FF20}";

/// One line of code in a prompt's diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<'a> {
    /// As in the file's heading, without `(new)`, `(deleted)` or `(was …)`.
    pub path: &'a str,
    /// `+`, `-` or a space.
    pub sign: char,
    /// Its number in the new file, or in the old one for `-`; `None` if nothing tells.
    pub number: Option<u64>,
    /// What follows the sign.
    pub text: &'a str,
    /// Not in a place that was reviewed before.
    pub in_focus: bool,
}

/// Reads `=== path`, `@@ place` and the lines below: `12+text`, `12 text`, `12-text`, or without the number where the
/// line follows the one above.
pub fn lines(prompt: &str) -> impl Iterator<Item = Shown<'_>> {
    let mut path = "";
    // what follows the `@@`, and the line above
    let mut place: Option<(&str, Option<Shown<'_>>)> = None;
    prompt.split('\n').filter_map(move |line| {
        if let Some(heading) = line.strip_prefix("=== ") {
            (path, place) = (bare_path(heading), None);
        } else if let Some(heading) = line.strip_prefix("@@").or_else(|| line.strip_prefix(WIDE)) {
            place = Some((heading, None));
        } else if line == "..." {
            place = place.map(|(heading, _)| (heading, None));
        } else {
            let (heading, above) = place?;
            let in_focus = heading.is_empty() || heading.starts_with(' ');
            let read = line_of_code(above, line).map(|line| Shown { path, in_focus, ..line });
            place = read.map(|line| (heading, Some(line)));
            return read;
        }
        None
    })
}

fn line_of_code<'a>(above: Option<Shown<'a>>, line: &'a str) -> Option<Shown<'a>> {
    let unnumbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let sign = unnumbered.chars().next().filter(|sign| matches!(sign, '+' | '-' | ' '))?;
    let digits = &line[..line.len() - unnumbered.len()];
    let following = || above.filter(|above| (above.sign == '-') == (sign == '-'))?.number?.checked_add(1);
    let number = if digits.is_empty() { following() } else { digits.parse().ok() };
    Some(Shown { path: "", sign, number, text: &unnumbered[1..], in_focus: true })
}

/// The path without `(new)`, `(deleted)` or `(was …)`.
fn bare_path(heading: &str) -> &str {
    let marked = [" (new)", " (deleted)", " (was "].iter().find_map(|mark| heading.find(mark));
    marked.map_or(heading, |at| &heading[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(prompt: &str) -> Vec<(&str, char, Option<u64>, &str)> {
        lines(prompt).map(|line| (line.path, line.sign, line.number, line.text)).collect()
    }

    #[test]
    fn a_line_has_its_number_or_follows_the_one_above() {
        let prompt =
            "| 1+no\n=== a.rs (was b.rs)\n@@ fn a\n9 x\n y\n10-12+old\n-older\n11+new\n+12+newer\n z\n";
        let all = [
            ("a.rs", ' ', Some(9), "x"),
            ("a.rs", ' ', Some(10), "y"),
            ("a.rs", '-', Some(10), "12+old"),
            ("a.rs", '-', Some(11), "older"),
            ("a.rs", '+', Some(11), "new"),
            ("a.rs", '+', Some(12), "12+newer"),
            ("a.rs", ' ', Some(13), "z"),
        ];
        assert_eq!(read(prompt), all);
    }

    #[test]
    fn nothing_follows_another_side_or_a_gap() {
        let numbers = |prompt| read(prompt).iter().map(|line| line.2).collect::<Vec<_>>();
        assert_eq!(numbers("=== a\n@@\n1 x\n-y\n"), [Some(1), None]);
        assert_eq!(numbers("=== a\n@@\n1 x\n...\n y\n@@\n z"), [Some(1), None, None]);
    }

    #[test]
    fn a_place_that_was_reviewed_before_is_not_in_focus() {
        let focus: Vec<bool> =
            lines("=== a\n@@reviewed-before@@ x\n1 x\n@@\n5+y\n@@ @@reviewed-before@@\n9+z\n")
                .map(|line| line.in_focus)
                .collect();
        assert_eq!(focus, [false, true, true]);
        let wide = "=== a\n＠＠ fn\n1+x\n＠＠reviewed-before＠＠\n5+y\n";
        assert_eq!(lines(wide).map(|line| line.in_focus).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn what_is_no_line_of_a_place_is_none() {
        assert!(read("12+x\n=== a\n13+y\n@@\n\n14+z\n=== b\n| 1+x\n1|x\n").is_empty());
    }
}
