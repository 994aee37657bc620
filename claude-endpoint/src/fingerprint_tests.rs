use proptest::prelude::*;

use super::*;
use crate::diff::{self, Diff};

/// The diff of two texts, by the real git.
fn git_diff(path: &str, old: &str, new: &str) -> Diff {
    let folder = tempfile::tempdir().unwrap();
    for (side, text) in [("a", old), ("b", new)] {
        let file = folder.path().join(side).join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let mut git = std::process::Command::new("git");
    git.current_dir(folder.path()).args(["diff", "--no-index", "--no-prefix", "--no-color", "a", "b"]);
    let output = String::from_utf8(git.output().unwrap().stdout).unwrap();
    diff::parse(&output).unwrap()
}

fn place_at(file: &File, line: u32) -> Place {
    places(file.path(), file, Side::Right).find(|(number, _)| *number == line).unwrap().1
}

fn line_of(file: &File, text: &str) -> u32 {
    let mut lines = file.hunks.iter().flat_map(|hunk| &hunk.lines);
    lines.find(|line| line.text == text && line.new_no.is_some()).unwrap().new_no.unwrap()
}

#[test]
fn is_written_and_read_again() {
    let place = Place::new("src/a.rs", "let total = sum(&items);", None);
    let print = Fingerprint::new(place, "Off by one!", Category::Bug);
    let text = print.to_string();
    assert!(text.starts_with('=') && text.ends_with(":off-by-one:bug"), "{text}");
    assert_eq!(text.parse(), Ok(print.clone()));
    assert_eq!(serde_json::from_value::<Fingerprint>(serde_json::json!(text)).unwrap(), print);
    for broken in ["", "=12", "=xyz:a:bug", "12:a:bug", "=12:a:opinion"] {
        assert!(broken.parse::<Fingerprint>().is_err(), "{broken}");
    }
}

#[test]
fn a_reworded_rule_is_the_same_and_another_kind_is_not() {
    let place = Place::new("src/a.rs", "let total = sum(&items);", None);
    let other = Place::new("src/b.rs", "let total = sum(&items);", None);
    let print = |place, name: &str, category| Fingerprint::new(place, name, category);
    let known = print(place, "off-by-one", Category::Bug);
    assert!(known.is_same(&print(place, "loop-bound", Category::Bug)));
    assert!(known.is_same(&print(place, "off_by_one", Category::Design)));
    assert!(!known.is_same(&print(place, "untested", Category::Test)));
    assert!(!known.is_same(&print(other, "off-by-one", Category::Bug)));
    assert!(!print(place, "", Category::Test).is_same(&print(place, "", Category::Bug)));
}

#[test]
fn a_line_that_says_little_is_known_by_the_one_above() {
    let new = "fn first() {\n    work_hard();\n}\n\nfn second() {\n    work_hard();\n}\n";
    let diff = git_diff("x.rs", "\n", new);
    let file = &diff.files[0];
    assert_eq!(place_at(file, 2), place_at(file, 6), "the same telling line");
    assert_eq!(Place::new("x", "}", Some("work_hard();")), Place::new("x", " } ", Some("  work_hard();")));
    assert_ne!(Place::new("x", "}", Some("fn first() {")), Place::new("x", "}", Some("fn second() {")));
    assert_ne!(place_at(file, 3), Place::new(file.path(), "}", None));
}

/// Lines of a file, of which some are distinct and telling.
fn text() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof![
        3 => (0_u32..1000).prop_map(|n| format!("    statement_{n}();")),
        1 => Just("}".to_owned()),
        1 => Just(String::new()),
    ];
    prop::collection::vec(line, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// New lines above, other indentation, another base: the finding's place stays the same.
    #[test]
    fn survives_moved_lines_rebases_and_force_pushes(
        base in text(), more in text(), added in text(), above in text(), indent in 0_usize..6,
    ) {
        let quoted = "        let answer = question(&everything)?;";
        let with = |base: &[String], lines: &[String], indent: usize| {
            let all: Vec<String> = lines.iter().cloned()
                .chain([format!("{}{}", " ".repeat(indent), quoted.trim_start())])
                .collect();
            [base, &all].concat().join("\n") + "\n"
        };
        let join = |lines: &[String]| lines.join("\n") + "\n";
        let first = git_diff("src/x.rs", &join(&base), &with(&base, &added, 8));
        // the branch was rebased onto a base with more lines before the change, and force-pushed
        let rebased = [more.as_slice(), &base].concat();
        let lines = [above.as_slice(), &added].concat();
        let second = git_diff("src/x.rs", &join(&rebased), &with(&rebased, &lines, indent));
        let found = |diff: &Diff| {
            let file = &diff.files[0];
            let text = file.hunks.iter().flat_map(|hunk| &hunk.lines)
                .find(|line| line.text.trim() == quoted.trim()).unwrap().text.clone();
            place_at(file, line_of(file, &text))
        };
        prop_assert_eq!(found(&first), found(&second));
        prop_assert!(found(&first).is_telling());
    }

    #[test]
    fn different_lines_have_different_places(a in "[a-z]{5,20}", b in "[a-z]{5,20}") {
        prop_assume!(a != b);
        prop_assert_ne!(Place::new("x", &a, None), Place::new("x", &b, None));
    }

    #[test]
    fn any_text_is_a_fingerprint_or_none(text in "[=~]?[0-9a-f]{0,18}[:a-z]{0,30}|\\PC{0,40}") {
        if let Ok(print) = text.parse::<Fingerprint>() {
            prop_assert_eq!(print.to_string().parse(), Ok(print));
        }
    }
}

#[test]
fn a_changed_place_is_known_by_what_it_changes() {
    let old: String = (0..40).map(|n| format!("line {n}\n")).collect();
    let new = old.replace("line 20\n", "line twenty\n");
    let id = |diff: &Diff| HunkId::new(&diff.files[0], &diff.files[0].hunks[0]);
    let first = git_diff("x.rs", &old, &new);
    let moved = git_diff("x.rs", &format!("top\n{old}"), &format!("top\n{new}"));
    let context = git_diff("x.rs", &old.replace("line 19", "other"), &new.replace("line 19", "other"));
    let changed = git_diff("x.rs", &old, &new.replace("twenty", "twenty-one"));
    assert_eq!(id(&first), id(&moved));
    assert_eq!(id(&first), id(&context));
    assert_ne!(id(&first), id(&changed));
}
