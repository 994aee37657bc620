use super::*;
use crate::diff::{self, Hunk, Kind};
use crate::verdict::{Category, Severity};
use proptest::prelude::*;

const DIFF: &str = "\
diff --git a/src/a.rs b/src/a.rs
--- a/src/a.rs
+++ b/src/a.rs
@@ -10,5 +10,6 @@ fn first() {
 fn first() {
-    let old = compute();
+    let new = compute();
+    let more = new + 1;
     use_it(new);
     done();
 }
@@ -40,4 +41,5 @@ fn second() {
 fn second() {
     use_it(new);
+    let more = new + 1;
     finish();
 }
diff --git a/logo.png b/logo.png
Binary files a/logo.png and b/logo.png differ
diff --git a/run.sh b/run.sh
old mode 100644
new mode 100755
";

fn finding(line: u32, end_line: u32, side: Side, quote: &str) -> Finding {
    Finding {
        path: "src/a.rs".into(),
        line,
        end_line,
        side,
        quote: quote.into(),
        severity: Severity::Major,
        category: Category::Bug,
        rule: "rule".into(),
        title: "t".into(),
        body: "b".into(),
        suggestion: Some("x".into()),
    }
}

fn one(finding: Finding) -> Result<(Side, Option<u32>, u32, bool), Reason> {
    let mut anchored = anchor(&diff::parse(DIFF).unwrap(), vec![finding]);
    match anchored.inline.pop() {
        Some(c) => Ok((c.side, c.start_line, c.line, c.committable)),
        None => Err(anchored.into_body().pop().unwrap().reason.unwrap()),
    }
}

#[test]
fn the_right_line_is_taken_whatever_its_white_space() {
    assert_eq!(
        one(finding(11, 11, Side::Right, "let  new = compute();\r")),
        Ok((Side::Right, None, 11, true))
    );
    assert_eq!(
        one(finding(11, 11, Side::Left, "    let old = compute();")),
        Ok((Side::Left, None, 11, false))
    );
    for marked in
        ["11+    let new = compute();", "+    let new = compute();", "\n11+    let new = compute();\n"]
    {
        assert_eq!(one(finding(11, 11, Side::Right, marked)), Ok((Side::Right, None, 11, true)));
    }
    assert_eq!(
        one(finding(11, 11, Side::Left, "11-    let old = compute();")),
        Ok((Side::Left, None, 11, false))
    );
}

#[test]
fn the_wrong_line_moves_to_its_quote() {
    assert_eq!(one(finding(99, 99, Side::Right, "finish();")), Ok((Side::Right, None, 44, true)));
    // the nearer of two
    assert_eq!(one(finding(14, 14, Side::Right, "let more = new + 1;")), Ok((Side::Right, None, 12, true)));
    assert_eq!(one(finding(41, 41, Side::Right, "let more = new + 1;")), Ok((Side::Right, None, 43, true)));
    // the other side
    assert_eq!(one(finding(11, 11, Side::Right, "let old = compute();")), Ok((Side::Left, None, 11, false)));
}

#[test]
fn what_cannot_be_placed_is_demoted_with_its_reason() {
    assert_eq!(one(finding(11, 11, Side::Right, "no such text")), Err(Reason::QuoteNotFound));
    assert_eq!(one(finding(30, 30, Side::Right, "no such text")), Err(Reason::LineNotInDiff));
    assert_eq!(one(finding(11, 11, Side::Right, "")), Err(Reason::QuoteNotFound));
    assert_eq!(one(finding(11, 11, Side::Right, "}")), Err(Reason::Ambiguous));
    let elsewhere = |path: &str| Finding { path: path.into(), ..finding(1, 1, Side::Right, "x") };
    assert_eq!(one(elsewhere("src/b.rs")), Err(Reason::FileNotInDiff));
    assert_eq!(one(elsewhere("logo.png")), Err(Reason::LineNotInDiff));
}

#[test]
fn a_file_of_the_diff_takes_what_none_of_its_lines_does() {
    let at = |path: &str| Finding { path: path.into(), ..finding(99, 99, Side::Right, "nowhere") };
    let paths = ["b/src/a.rs", "src/a.rs (was src/old.rs)", "logo.png", "run.sh", "other.rs"];
    let anchored = anchor(&diff::parse(DIFF).unwrap(), paths.map(at).to_vec());
    let names = |kept: &[Kept]| kept.iter().map(|kept| kept.finding.path.clone()).collect::<Vec<_>>();
    assert_eq!(names(&anchored.file), ["src/a.rs", "src/a.rs", "logo.png", "run.sh"]);
    assert_eq!(names(&anchored.body), ["other.rs"]);
    assert_eq!(anchored.findings().count(), 5);
    let without = anchored.without_file_comments();
    assert_eq!(
        (without.file.len(), names(&without.body).join(" ")),
        (0, "src/a.rs src/a.rs logo.png run.sh other.rs".into())
    );
}

#[test]
fn a_file_that_became_a_link_has_both_its_sides() {
    let text = "diff --git a/x b/x\ndeleted file mode 100644\n--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-was here\ndiff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+target\n";
    let at = |side, quote: &str| Finding { path: "x".into(), ..finding(1, 1, side, quote) };
    let findings = vec![at(Side::Left, "was here"), at(Side::Right, "target")];
    let placed = anchor(&diff::parse(text).unwrap(), findings).inline;
    assert_eq!(placed.iter().map(|comment| comment.side).collect::<Vec<_>>(), [Side::Left, Side::Right]);
}

#[test]
fn two_equally_near_places_are_no_place() {
    let text = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1,3 @@\n+same text\n+middle\n+same text\n";
    let at = |line, quote: &str| Finding { path: "x".into(), ..finding(line, line, Side::Right, quote) };
    let findings = vec![at(2, "same text"), at(3, "same text"), at(2, "same text\nmiddle")];
    let anchored = anchor(&diff::parse(text).unwrap(), findings);
    assert_eq!(anchored.file[0].reason, Some(Reason::Ambiguous));
    assert_eq!(anchored.inline[0].line, 3);
    // a longer quotation tells which
    assert_eq!(anchored.inline[1].line, 1);
}

#[test]
fn a_range_stays_in_its_hunk_or_shrinks_to_its_first_line() {
    assert_eq!(
        one(finding(11, 13, Side::Right, "let new = compute();")),
        Ok((Side::Right, Some(11), 13, true))
    );
    assert_eq!(one(finding(11, 43, Side::Right, "let new = compute();")), Ok((Side::Right, None, 11, false)));
    assert_eq!(one(finding(11, 5, Side::Right, "let new = compute();")), Ok((Side::Right, None, 11, false)));
    assert_eq!(
        one(finding(11, u32::MAX, Side::Right, "let new = compute();")),
        Ok((Side::Right, None, 11, false))
    );
    // moved: the range goes along, but nobody knows that it is still exact
    assert_eq!(
        one(finding(42, 43, Side::Right, "let new = compute();")),
        Ok((Side::Right, Some(11), 12, false))
    );
}

#[test]
fn a_range_that_is_quoted_is_known_to_be_exact() {
    let quote = "    let new = compute();\n    let more = new + 1;";
    assert_eq!(one(finding(11, 12, Side::Right, quote)), Ok((Side::Right, Some(11), 12, true)));
    assert_eq!(one(finding(31, 32, Side::Right, quote)), Ok((Side::Right, Some(11), 12, true)));
    assert_eq!(
        one(finding(31, 32, Side::Right, "11+    let new = compute();\n+    let more = new + 1;\n")),
        Ok((Side::Right, Some(11), 12, true))
    );
    // the quotation and the numbers disagree about where it ends
    assert_eq!(one(finding(11, 13, Side::Right, quote)), Ok((Side::Right, Some(11), 13, false)));
    assert_eq!(one(finding(11, 11, Side::Right, quote)), Ok((Side::Right, None, 11, false)));
    assert_eq!(
        one(finding(11, 12, Side::Right, "let new = compute();\nlet other = 1;")),
        Ok((Side::Right, Some(11), 12, false))
    );
}

#[test]
fn a_context_line_claimed_left_is_commented_right() {
    assert_eq!(one(finding(42, 42, Side::Left, "finish();")), Ok((Side::Right, None, 44, true)));
    assert_eq!(one(finding(12, 13, Side::Left, "use_it(new);")), Ok((Side::Right, None, 13, false)));
}

/// Whether `code` may be committed with one click in place of lines 11 and 12, or 11 alone.
fn committable(lines: u32, code: &str) -> bool {
    let finding = Finding {
        suggestion: Some(code.into()),
        ..finding(11, 10 + lines, Side::Right, "let new = compute();")
    };
    one(finding).unwrap().3
}

#[test]
fn a_suggestion_that_is_not_exact_gets_no_button() {
    assert!(committable(1, "    let new = compute_all();"));
    assert!(committable(1, "    let new = compute_all();\n    let sum = new;\n"));
    assert!(committable(1, ""), "lines may be deleted");
    assert!(committable(1, "\n"), "a blank line is a change");
    assert!(committable(1, "fn first() -> u8 {"));
    // no change
    assert!(!committable(1, "    let new = compute();"));
    assert!(!committable(2, "    let new = compute();\n    let more = new + 1;\n"));
    // the line below, the line above: they would be there twice
    assert!(!committable(1, "    let new = compute_all();\n    let more = new + 1;"));
    assert!(!committable(2, "fn first() {\n    let new = compute_all();"));
    assert!(committable(2, "    let new = compute_all();\n    let more = new + 1;"));
    // the prompt's own signs
    assert!(!committable(1, "    let new = \"<redacted:github-token>\";"));
    assert!(!committable(1, "    let new = \"a<U+202E>b\";"));
    assert!(committable(1, "    let new: Vec<U+1> = \"<U+XYZ>\";"));
    // what a reader cannot see
    assert!(!committable(1, "let new = compute();\u{202E} // \u{200B}"));
}

/// All of FIELD-NOTES' traps in one diff.
const TRAPS: &str = concat!(
    "diff --git a/one b/one\nindex 1..2 100644\n--- a/one\n+++ b/one\n@@ -1 +1 @@\n-old one\n\\ No newline at end of file\n+new one\n",
    "diff --git a/like b/like\n--- a/like\n+++ b/like\n@@ -1,4 +1,6 @@\n",
    "--- a/y\n-@@ -1 +1 @@\n-diff --git a/y b/y\n \\ No newline at end of file\n",
    "+++ b/y\n+++ /dev/null\n+@@ -9,9 +9,9 @@\n+rename to z\n+=== other\n\\ No newline at end of file\n",
    "diff --git a/white b/white\n--- a/white\n+++ b/white\n@@ -7,2 +7,3 @@\n form\x0cfeed\r\n-separated\u{2028}lines\r\n+next\u{85}line\r\n+12+digits\r\n",
    "diff --git a/from b/to\nsimilarity index 90%\nrename from from\nrename to to\n--- a/from\n+++ b/to\n@@ -3 +3 @@\n-was\n+is now\n",
    "diff --git \"a/\\303\\244 \\\"q\\\"\\t.rs\" \"b/\\303\\244 \\\"q\\\"\\t.rs\"\n--- \"a/\\303\\244 \\\"q\\\"\\t.rs\"\n+++ \"b/\\303\\244 \\\"q\\\"\\t.rs\"\n@@ -5,0 +6 @@\n+quoted\n",
    "diff --git a/mode b/mode\nold mode 100644\nnew mode 100755\n",
    "diff --git a/bin b/bin\nindex 1..2 100644\nBinary files a/bin and b/bin differ\n",
    "diff --git a/sub b/sub\nindex 1..2 160000\n--- a/sub\n+++ b/sub\n@@ -1 +1 @@\n-Subproject commit 1\n+Subproject commit 2\n",
    "diff --git a/empty b/empty\nnew file mode 100644\nindex 0000000..e69de29\n",
    "diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-last words\n-\n",
);

/// Each line with what a finding about it would say.
fn claims(diff: &Diff) -> Vec<(Finding, Side, u32)> {
    let mut claims = Vec::new();
    for file in &diff.files {
        for line in file.hunks.iter().flat_map(|hunk| &hunk.lines) {
            let (side, number) = match line.kind {
                Kind::Removed => (Side::Left, line.old_no.unwrap()),
                Kind::Added | Kind::Context => (Side::Right, line.new_no.unwrap()),
            };
            let quote = text::visible(&line.text);
            let path = text::visible(file.path());
            claims.push((Finding { path, ..finding(number, number, side, &quote) }, side, number));
        }
    }
    claims
}

#[test]
fn every_line_of_a_tricky_diff_takes_a_comment() {
    let diff = diff::parse(TRAPS).unwrap();
    let claims = claims(&diff);
    let anchored = anchor(&diff, claims.iter().map(|claim| claim.0.clone()).collect());
    assert_eq!((anchored.inline.len(), claims.len()), (22, 22));
    for (comment, (claim, side, line)) in anchored.inline.iter().zip(claims) {
        assert_eq!((comment.side, comment.start_line, comment.line), (side, None, line), "{claim:?}");
        assert!(diff.files.iter().any(|file| file.path() == comment.path));
    }
    let without_text =
        ["mode", "bin", "empty"].map(|path| Finding { path: path.into(), ..finding(1, 1, Side::Right, "x") });
    assert_eq!(anchor(&diff, without_text.to_vec()).file.len(), 3);
}

/// What GitHub checks before it takes a review: the lines exist on that side, the range in one hunk.
fn github_takes(diff: &Diff, comment: &InlineComment) -> bool {
    let Some(file) = diff.files.iter().find(|file| file.path() == comment.path) else { return false };
    let has = |hunk: &Hunk, number: u32| {
        hunk.lines.iter().any(|line| match comment.side {
            Side::Right => line.new_no == Some(number),
            Side::Left => line.old_no == Some(number) && line.kind == Kind::Removed,
        })
    };
    let first = comment.start_line.unwrap_or(comment.line);
    (comment.start_line.is_none() || first < comment.line)
        && file.hunks.iter().any(|hunk| has(hunk, first) && has(hunk, comment.line))
}

/// A diff of one file, out of few words, so that the same line stands in many places.
fn diffs() -> impl Strategy<Value = Diff> {
    let word = prop_oneof![
        Just("first line"),
        Just("second line"),
        Just("}"),
        Just(""),
        Just("+++ b/x"),
        Just("12+x")
    ];
    let line = (prop_oneof![Just('+'), Just('-'), Just(' ')], word);
    prop::collection::vec(prop::collection::vec(line, 1..12), 1..4).prop_map(|hunks| {
        let mut text = "diff --git a/src/a.rs b/src/a.rs\n--- a/src/a.rs\n+++ b/src/a.rs\n".to_owned();
        let (mut old, mut new) = (1, 1);
        for lines in hunks {
            let count = |sign| lines.iter().filter(|line| line.0 != sign).count();
            text.push_str(&format!("@@ -{old},{} +{new},{} @@\n", count('+'), count('-')));
            lines.iter().for_each(|(sign, word)| text.push_str(&format!("{sign}{word}\n")));
            (old, new) = (old + count('+') + 5, new + count('-') + 5);
        }
        diff::parse(&text).unwrap()
    })
}

proptest! {
    #[test]
    fn github_would_take_every_inline_comment_and_nothing_is_dropped(
        claims in prop::collection::vec((0u32..60, 0u32..60, any::<bool>(), 0usize..10), 0..20),
    ) {
        let quotes = ["fn first() {", "let old = compute();", "let new = compute();", "let more = new + 1;",
                      "use_it(new);", "done();", "}", "", "nowhere", "let more = new + 1;\nuse_it(new);"];
        let diff = diff::parse(DIFF).unwrap();
        let side = |left| if left { Side::Left } else { Side::Right };
        let findings: Vec<_> = claims.iter().map(|&(line, end, left, quote)| finding(line, end, side(left), quotes[quote])).collect();
        let anchored = anchor(&diff, findings);
        prop_assert_eq!(anchored.findings().count(), claims.len());
        for comment in &anchored.inline {
            prop_assert!(github_takes(&diff, comment), "{:?}", comment);
        }
    }

    /// A right claim is never moved, however often the same text stands elsewhere.
    #[test]
    fn what_is_quoted_at_its_number_stays_there(diff in diffs()) {
        for (claim, side, line) in claims(&diff) {
            let anchored = anchor(&diff, vec![claim]);
            let comment = anchored.inline.first().unwrap();
            prop_assert_eq!((comment.side, comment.line), (side, line));
        }
    }

    /// Wherever a finding lands, the line there reads as it quotes, and a range that may be committed reads so throughout.
    #[test]
    fn a_comment_stands_only_on_what_it_quotes(
        diff in diffs(), from in 0usize..40, length in 1usize..4, line in 0u32..60, more in 0u32..4,
    ) {
        let right: Vec<_> = diff.files[0].hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.new_no.is_some()).collect();
        let quoted: Vec<&str> = right.iter().skip(from).take(length).map(|line| line.text.as_str()).collect();
        let claim = finding(line, line + more, Side::Right, &quoted.join("\n"));
        let quote: Vec<String> = claim.quote.trim_matches('\n').split('\n').map(text::normalise).collect();
        for comment in anchor(&diff, vec![claim]).inline {
            prop_assert!(github_takes(&diff, &comment));
            let first = comment.start_line.unwrap_or(comment.line);
            let at = |number: u32| {
                let lines = diff.files[0].hunks.iter().flat_map(|hunk| &hunk.lines);
                let mut on_side = lines.filter(|line| if comment.side == Side::Right { line.new_no == Some(number) } else { line.old_no == Some(number) });
                on_side.next().map(|line| text::normalise(&line.text))
            };
            // the sign of the prompt's format may have been copied along
            let unmarked = |line: &String| line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches('+').to_owned();
            let reads = |number, line: &String| at(number).is_some_and(|text| &text == line || unmarked(&text) == unmarked(line));
            prop_assert!(reads(first, &quote[0]), "{:?}", comment);
            if comment.committable && quote.len() > 1 {
                prop_assert!((first..=comment.line).zip(&quote).all(|(number, line)| reads(number, line)));
                prop_assert_eq!((comment.line - first) as usize + 1, quote.len());
            }
        }
    }
}
