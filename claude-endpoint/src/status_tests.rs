use proptest::prelude::*;

use super::*;

const THRESHOLDS: [Threshold; 5] =
    [Threshold::Blocker, Threshold::Major, Threshold::Minor, Threshold::Nit, Threshold::Never];

/// Every count of open findings with up to two of each severity.
fn all_open() -> Vec<Open> {
    (0..81).map(|i| Open { blocker: i % 3, major: i / 3 % 3, minor: i / 9 % 3, nit: i / 27 }).collect()
}

/// Written out, not computed from the order of severities.
fn counts(open: Open, fail_on: Threshold) -> bool {
    let Open { blocker, major, minor, nit } = open;
    match fail_on {
        Threshold::Blocker => blocker > 0,
        Threshold::Major => blocker + major > 0,
        Threshold::Minor => blocker + major + minor > 0,
        Threshold::Nit => blocker + major + minor + nit > 0,
        Threshold::Never => false,
    }
}

fn reviewed(open: Open, gaps: usize, lacking: &[&str]) -> Came {
    Came::Reviewed { open, gaps, lacking: lacking.iter().map(|&text| text.to_owned()).collect() }
}

fn description(came: &Came) -> String {
    Status::of(came, Threshold::default()).description
}

#[test]
fn only_a_whole_review_without_a_finding_that_counts_is_a_success() {
    for open in all_open() {
        for (gaps, lacking) in
            [(0, &[][..]), (1, &[]), (7, &[]), (0, &["it was not posted"]), (0, &[""]), (2, &["a", "b"])]
        {
            for fail_on in THRESHOLDS {
                let status = Status::of(&reviewed(open, gaps, lacking), fail_on);
                let is_whole = gaps == 0 && lacking.is_empty();
                let expected = match (counts(open, fail_on), is_whole) {
                    (true, _) => Conclusion::Failure,
                    (false, true) => Conclusion::Success,
                    (false, false) => Conclusion::Error,
                };
                assert_eq!(status.conclusion, expected, "{open:?} {gaps} {lacking:?} {fail_on:?}");
                let says_so = status.description.to_lowercase().contains("partial");
                assert_eq!(says_so, !is_whole, "{}", status.description);
            }
        }
    }
}

#[test]
fn what_was_not_reviewed_is_an_error_that_says_which() {
    let why = || "the pull request is a draft".to_owned();
    for (came, word) in [
        (Came::Skipped(why()), "Skipped: the pull request is a draft"),
        (Came::Failed(why()), "Failed: the pull request is a draft"),
        (Came::Stopped(why()), "Stopped: the pull request is a draft"),
        (Came::Superseded("18be027a1a547219".to_owned()), "Superseded: not reviewed, 18be027 is newer"),
    ] {
        for fail_on in THRESHOLDS {
            let status = Status::of(&came, fail_on);
            assert_eq!((status.conclusion, status.description.as_str()), (Conclusion::Error, word));
        }
    }
}

#[test]
fn the_description_tells_what_was_found_and_what_is_missing() {
    let open = Open { major: 1, nit: 2, ..Open::default() };
    for (came, text) in [
        (reviewed(Open::default(), 0, &[]), "Reviewed: no findings"),
        (reviewed(Open { nit: 1, ..Open::default() }, 0, &[]), "Reviewed: 1 finding (1 nit)"),
        (reviewed(open, 0, &[]), "Reviewed: 3 findings (1 major, 2 nit)"),
        (
            reviewed(open, 1, &[]),
            "Reviewed: 3 findings (1 major, 2 nit); partial: 1 file not reviewed, or not whole",
        ),
        (
            reviewed(Open::default(), 2, &["set GITHUB_TOKEN"]),
            "Partial: 2 files not reviewed, or not whole, set GITHUB_TOKEN; no findings so far",
        ),
    ] {
        assert_eq!(description(&came), text);
    }
    assert_eq!(Status::pending().conclusion, Conclusion::Pending);
}

#[test]
fn severities_are_counted() {
    let open: Open = [Severity::Nit, Severity::Blocker, Severity::Nit, Severity::Minor].into_iter().sum();
    assert_eq!(open, Open { blocker: 1, major: 0, minor: 1, nit: 2 });
}

#[test]
fn half_a_code_span_arms_nothing() {
    let text = format!("`{} @octocat` ![x](http://evil)", "a".repeat(115));
    let shown = description(&Came::Failed(text));
    assert_eq!(shown.chars().count(), LONGEST_DESCRIPTION);
    assert!(!shown.contains("@octocat") && shown.contains("@\u{200B}octocat"), "{shown}");
}

/// A mention, raw HTML, an entity, a picture.
fn is_live(pair: (char, char)) -> bool {
    match pair {
        ('@', next) => next.is_alphanumeric(),
        ('<', next) => next.is_ascii_alphabetic() || "/!?".contains(next),
        ('&', next) => next.is_ascii_alphabetic() || next == '#',
        pair => pair == ('!', '['),
    }
}

fn reason() -> impl Strategy<Value = String> {
    "\\PC{0,300}|([`@!<>&#;/|\\[\\]()\\\\*_ \n\\-a1:.=\"]|img|\r\n|<!--|\u{202e}){0,200}"
}

fn any_came() -> impl Strategy<Value = Came> {
    let open = (0_usize..3, 0_usize..3, 0_usize..3, 0_usize..3)
        .prop_map(|(blocker, major, minor, nit)| Open { blocker, major, minor, nit });
    let made = (open, 0_usize..3, prop::collection::vec(reason(), 0..3))
        .prop_map(|(open, gaps, lacking)| Came::Reviewed { open, gaps, lacking });
    prop_oneof![
        made,
        reason().prop_map(Came::Skipped),
        reason().prop_map(Came::Failed),
        reason().prop_map(Came::Superseded),
        reason().prop_map(Came::Stopped),
    ]
}

proptest! {
    #[test]
    fn a_success_is_whole_and_clean_and_every_line_fit_to_be_shown(
        came in any_came(),
        fail_on in prop::sample::select(THRESHOLDS.to_vec()),
    ) {
        let status = Status::of(&came, fail_on);
        if status.conclusion == Conclusion::Success {
            let Came::Reviewed { open, gaps, lacking } = &came else { panic!("{came:?} is no review") };
            prop_assert!(*gaps == 0 && lacking.is_empty() && !counts(*open, fail_on));
        }
        let shown = &status.description;
        prop_assert!((1..=LONGEST_DESCRIPTION).contains(&shown.chars().count()), "{shown:?}");
        prop_assert!(!shown.chars().any(|c| c.is_control() || c == '`'), "{shown:?}");
        prop_assert!(!shown.chars().zip(shown.chars().skip(1)).any(is_live), "{shown:?}");
    }
}
