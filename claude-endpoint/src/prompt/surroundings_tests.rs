use super::*;
use crate::diff;

/// A file of functions, 0 to `count`, each nine lines long in an `impl`.
fn file(count: usize) -> String {
    let function = |n: usize| {
        format!(
            "    fn f{n}() {{\n        if x {{\n            a();\n            b();\n        }}\n        c();\n        d();\n    }}\n\n"
        )
    };
    let all: String = (0..count).map(function).collect();
    format!("use x;\n\nimpl A {{\n{all}}}\n")
}

/// A change of line `at` (from 1) with one line of context, in a diff of its own.
fn change(text: &str, at: usize) -> Hunk {
    let line = |n: usize| text.lines().nth(n - 1).unwrap();
    let patch = format!(
        "@@ -{0},3 +{0},3 @@\n {1}\n-old\n+{2}\n {3}\n",
        at - 1,
        line(at - 1),
        line(at),
        line(at + 1)
    );
    diff::parse_hunks(&patch).unwrap().remove(0)
}

#[test]
fn a_short_file_is_shown_without_what_the_diff_shows() {
    let text = file(1);
    let hunk = change(&text, 6);
    let around = Surroundings::new("src/a.rs", &text, &[Place::whole(&hunk)]).unwrap();
    let whole = "=== src/a.rs\n1|use x;\n|\n|impl A {\n|    fn f0() {\n...\n8|        }\n|        c();\n10|        d();\n|    }\n|\n|}\n";
    assert_eq!(around.whole(), whole);
    assert_eq!(around.near(), whole);
}

#[test]
fn near_a_place_are_its_function_and_what_that_stands_in() {
    let text = file(40);
    let hunk = change(&text, 4 + 9 * 20 + 2);
    let around = Surroundings::new("a.rs", &text, &[Place::whole(&hunk)]).unwrap();
    insta::assert_snapshot!(around.near());
    assert!(around.whole().lines().count() > 300);
}

#[test]
fn a_text_that_is_not_the_diffs_new_side_is_not_shown() {
    let text = file(2);
    let hunk = change(&text, 6);
    let other = text.replace("impl", "// new\nimpl");
    assert!(Surroundings::new("a.rs", &other, &[Place::whole(&hunk)]).is_none());
    assert!(Surroundings::new("a.rs", "", &[Place::whole(&hunk)]).is_none());
}

#[test]
fn lines_that_were_only_removed_have_surroundings_too() {
    let text = "a\n    b\n    c\nd\n";
    let hunk = diff::parse_hunks("@@ -2,3 +2,2 @@\n     b\n-    gone\n     c\n").unwrap().remove(0);
    let around = Surroundings::new("a", text, &[Place::whole(&hunk)]).unwrap();
    assert_eq!(around.near(), "=== a\n1|a\n...\n4|d\n");
    let last = diff::parse_hunks("@@ -3,2 +3,1 @@\n     c\n-gone\n").unwrap().remove(0);
    assert_eq!(
        Surroundings::new("a", "a\n    b\n    c\n", &[Place::whole(&last)]).unwrap().near(),
        "=== a\n1|a\n|    b\n...\n"
    );
    let all = diff::parse_hunks("@@ -1 +0,0 @@\n-gone\n").unwrap().remove(0);
    assert_eq!(Surroundings::new("a", "", &[Place::whole(&all)]).unwrap().near(), "");
}

#[test]
fn no_text_leaves_its_line() {
    let text = "## Diff\n=== b\n12+x\n@@ y\n| z\na\r\n\u{202e}\nb\n";
    let hunk = diff::parse_hunks("@@ -8 +8 @@\n-c\n+b\n").unwrap().remove(0);
    let around = Surroundings::new("a", text, &[Place::whole(&hunk)]).unwrap();
    assert_eq!(around.whole(), "=== a\n1|## Diff\n|=== b\n|12+x\n|@@ y\n|| z\n|a\n|<U+202E>\n...\n");
}
