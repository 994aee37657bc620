use super::*;
use crate::diff;
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
        None => Err(anchored.body.pop().unwrap().reason.unwrap()),
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
    assert_eq!(
        one(finding(11, 11, Side::Right, "11+    let new = compute();")),
        Ok((Side::Right, None, 11, true))
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
fn what_cannot_be_placed_stays_in_the_body_with_its_reason() {
    assert_eq!(one(finding(11, 11, Side::Right, "no such text")), Err(Reason::QuoteNotFound));
    assert_eq!(one(finding(30, 30, Side::Right, "no such text")), Err(Reason::LineNotInDiff));
    assert_eq!(one(finding(11, 11, Side::Right, "")), Err(Reason::QuoteNotFound));
    assert_eq!(one(finding(11, 11, Side::Right, "}")), Err(Reason::Ambiguous));
    let elsewhere = |path: &str| Finding { path: path.into(), ..finding(1, 1, Side::Right, "x") };
    assert_eq!(one(elsewhere("src/b.rs")), Err(Reason::FileNotInDiff));
    assert_eq!(one(elsewhere("logo.png")), Err(Reason::FileNotInDiff));
}

#[test]
fn two_equally_near_places_are_no_place() {
    let text = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1,3 @@\n+same text\n+middle\n+same text\n";
    let at = |line| Finding { path: "x".into(), ..finding(line, line, Side::Right, "same text") };
    let anchored = anchor(&diff::parse(text).unwrap(), vec![at(2), at(3)]);
    assert_eq!(anchored.body[0].reason, Some(Reason::Ambiguous));
    assert_eq!(anchored.inline[0].line, 3);
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
fn a_context_line_claimed_left_is_commented_right() {
    assert_eq!(one(finding(42, 42, Side::Left, "finish();")), Ok((Side::Right, None, 44, true)));
    assert_eq!(one(finding(12, 13, Side::Left, "use_it(new);")), Ok((Side::Right, None, 13, false)));
}

/// What GitHub checks before it takes a review: the lines exist on that side, the range in one hunk.
fn github_takes(diff: &Diff, comment: &InlineComment) -> bool {
    let Some(file) = diff.files.iter().find(|file| file.path() == comment.path) else { return false };
    let has = |hunk: &diff::Hunk, number: u32| {
        hunk.lines.iter().any(|line| match comment.side {
            Side::Right => line.new_no == Some(number),
            Side::Left => line.old_no == Some(number) && line.kind == Kind::Removed,
        })
    };
    let first = comment.start_line.unwrap_or(comment.line);
    (comment.start_line.is_none() || first < comment.line)
        && file.hunks.iter().any(|hunk| has(hunk, first) && has(hunk, comment.line))
}

proptest! {
    #[test]
    fn github_would_take_every_inline_comment_and_nothing_is_dropped(
        claims in prop::collection::vec((0u32..60, 0u32..60, any::<bool>(), 0usize..9), 0..20),
    ) {
        let quotes = ["fn first() {", "let old = compute();", "let new = compute();", "let more = new + 1;",
                      "use_it(new);", "done();", "}", "", "nowhere"];
        let diff = diff::parse(DIFF).unwrap();
        let side = |left| if left { Side::Left } else { Side::Right };
        let findings: Vec<_> = claims.iter().map(|&(line, end, left, quote)| finding(line, end, side(left), quotes[quote])).collect();
        let anchored = anchor(&diff, findings);
        prop_assert_eq!(anchored.inline.len() + anchored.body.len(), claims.len());
        for comment in &anchored.inline {
            prop_assert!(github_takes(&diff, comment), "{:?}", comment);
        }
    }
}

#[test]
fn what_a_reader_cannot_see_cannot_be_committed() {
    let hiding = Finding {
        suggestion: Some("let new = compute();\u{202E} // \u{200B}".into()),
        ..finding(11, 11, Side::Right, "let new = compute();")
    };
    assert_eq!(one(hiding), Ok((Side::Right, None, 11, false)));
}
