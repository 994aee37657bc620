use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;

fn only(text: &str) -> File {
    let mut diff = parse(text).unwrap();
    assert_eq!(diff.files.len(), 1, "{diff:?}");
    diff.files.remove(0)
}

fn shown(hunk: &Hunk) -> Vec<String> {
    let sign = |kind| match kind {
        Kind::Context => ' ',
        Kind::Added => '+',
        Kind::Removed => '-',
    };
    let number = |n: Option<u32>| n.map_or("·".to_owned(), |n| n.to_string());
    hunk.lines
        .iter()
        .map(|l| {
            format!("{} {}{}{}", number(l.old_no), number(l.new_no), sign(l.kind), l.text.escape_debug())
        })
        .collect()
}

#[test]
fn a_header_without_counts_means_one_line() {
    let file =
        only("diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@ fn main() {\n-a\n+b\n");
    assert_eq!(file.hunks[0].section, "fn main() {");
    assert_eq!(shown(&file.hunks[0]), ["1 ·-a", "· 1+b"]);
}

#[test]
fn lines_that_look_like_headers_are_lines() {
    let file = only(concat!(
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,4 +1,6 @@\n",
        "--- a/y\n-@@ -1 +1 @@\n-diff --git a/y b/y\n \\ No newline at end of file\n",
        "+++ b/y\n+++ /dev/null\n+@@ -9,9 +9,9 @@\n+rename to z\n+\\ No newline at end of file\n",
        "\\ No newline at end of file\n",
    ));
    assert_eq!(
        shown(&file.hunks[0]),
        [
            "1 ·--- a/y",
            "2 ·-@@ -1 +1 @@",
            "3 ·-diff --git a/y b/y",
            "4 1 \\\\ No newline at end of file",
            "· 2+++ b/y",
            "· 3+++ /dev/null",
            "· 4+@@ -9,9 +9,9 @@",
            "· 5+rename to z",
            "· 6+\\\\ No newline at end of file",
        ]
    );
}

#[test]
fn only_a_line_feed_ends_a_line() {
    let file = only(
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\x0cb\u{2028}c\r\n-d\r\n+d\n\\ No newline at end of file\n",
    );
    assert_eq!(shown(&file.hunks[0]), ["1 1 a\\u{c}b\\u{2028}c\\r", "2 ·-d\\r", "· 2+d"]);
}

#[test]
fn paths_are_told_whatever_their_characters() {
    let paths = |text: &str| {
        let file = only(text);
        (file.old_path.unwrap_or("-".into()), file.new_path.unwrap_or("-".into()))
    };
    let same = |path: &str| (path.to_owned(), path.to_owned());
    assert_eq!(
        paths("diff --git a/a b/c.txt b/a b/c.txt\nold mode 100644\nnew mode 100755\n"),
        same("a b/c.txt")
    );
    assert_eq!(
        paths(
            "diff --git \"a/\\303\\244\\t\\\"q\\\\.x\" \"b/\\303\\244\\t\\\"q\\\\.x\"\nold mode 100644\nnew mode 100755\n"
        ),
        same("ä\t\"q\\.x")
    );
    assert_eq!(paths("diff --git a/x y b/x y\n--- a/x y\t\n+++ b/x y\t\n@@ -1 +1 @@\n-a\n+b\n"), same("x y"));
    assert_eq!(
        paths("diff --git a/x b/y z\nsimilarity index 100%\nrename from x\nrename to y z\n"),
        ("x".into(), "y z".into())
    );
    assert_eq!(
        paths(
            "diff --git a/x \"b/\\303\\244\"\nsimilarity index 100%\ncopy from x\ncopy to \"\\303\\244\"\n"
        ),
        ("x".into(), "ä".into())
    );
    assert_eq!(
        paths("diff --git a/e b/e\nnew file mode 100644\nindex 0000000..e69de29\n"),
        ("-".into(), "e".into())
    );
    assert_eq!(
        paths("diff --git a/e b/e\ndeleted file mode 100644\n--- a/e\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"),
        ("e".into(), "-".into())
    );
}

#[test]
fn what_has_no_text_says_why() {
    let unreadable = |text: &str| only(text).unreadable;
    assert_eq!(
        unreadable("diff --git a/x b/x\nindex 1..2 100644\nBinary files a/x and b/x differ\n"),
        Some(Unreadable::Binary)
    );
    assert_eq!(
        unreadable(
            "diff --git a/x b/x\nGIT binary patch\nliteral 2\nJc$}@@-1\n\nliteral 1\nIcmZPo000310RR91\n\n"
        ),
        Some(Unreadable::Binary)
    );
    let submodule = "diff --git a/s b/s\nindex 1..2 160000\n--- a/s\n+++ b/s\n@@ -1 +1 @@\n-Subproject commit 1\n+Subproject commit 2\n";
    assert_eq!(unreadable(submodule), Some(Unreadable::Submodule));
}

#[test]
fn a_broken_diff_is_an_error_with_its_line() {
    let error = |text: &str| parse(text).unwrap_err().to_string();
    let head = "diff --git a/x b/x\n--- a/x\n+++ b/x\n";
    assert_eq!(error("<html>\n"), "line 1 of the diff: expected `diff --git`, or `@@` after a complete hunk");
    assert_eq!(
        error(&format!("{head}@@ -1,2 +1 @@\n-a\n")),
        "line 6 of the diff: the diff ends inside a hunk"
    );
    assert_eq!(
        error(&format!("{head}@@ -1 +1 @@\n-a\n-b\n")),
        "line 6 of the diff: the hunk has more lines than its header says"
    );
    assert_eq!(
        error(&format!("{head}@@ -1 +1 @@\n-a\n+b\n+c\n")),
        "line 7 of the diff: expected `diff --git`, or `@@` after a complete hunk"
    );
    assert_eq!(
        error(&format!("{head}@@ -4294967295,9 +1 @@\n")),
        "line 4 of the diff: not a hunk header `@@ -a,b +c,d @@`"
    );
    assert_eq!(
        error("diff --git whatever\n"),
        "line 1 of the diff: the file's path cannot be told from its headers"
    );
    assert_eq!(
        error("diff --cc x\n"),
        "line 1 of the diff: a combined diff of a merge has no single old side"
    );
    assert!(parse("").unwrap().files.is_empty());
}

#[test]
fn hunks_alone_are_what_the_files_api_sends() {
    let hunks =
        parse_hunks("@@ -1 +1,2 @@\n a\n+b\n@@ -9 +10 @@\n-c\n+d\n\\ No newline at end of file").unwrap();
    assert_eq!(shown(&hunks[1]), ["9 ·-c", "· 10+d"]);
    assert!(parse_hunks("").unwrap().is_empty());
    assert!(parse_hunks("@@ -1 +1 @@\n-a\n+b\nrest").is_err());
}

/// The oracle: line N of either side of the diff is line N of that file.
fn check_side(
    file: &File,
    side: &str,
    content: &str,
    number: impl Fn(&Line) -> Option<u32>,
) -> Result<(), TestCaseError> {
    let lines: Vec<&str> = content.split('\n').collect();
    for line in file.hunks.iter().flat_map(|hunk| &hunk.lines) {
        if let Some(number) = number(line) {
            let real = lines.get(number as usize - 1).copied();
            prop_assert_eq!(real, Some(line.text.as_str()), "{} line {} of {}", side, number, file.path());
        }
    }
    Ok(())
}

fn lines_of(content: &str) -> Vec<&str> {
    content.split_inclusive('\n').collect()
}

/// A plain unified diff with `context` lines, made independently of the parser: the longest common
/// subsequence, then hunks around its gaps.
fn make_diff(path: &str, old: &str, new: &str, context: usize) -> String {
    let (a, b) = (lines_of(old), lines_of(new));
    let mut longest = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = if a[i] == b[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut script) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            script.push((' ', a[i], i, j));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || longest[i + 1][j] >= longest[i][j + 1]) {
            script.push(('-', a[i], i, j));
            i += 1;
        } else {
            script.push(('+', b[j], i, j));
            j += 1;
        }
    }
    let near = |at: usize| {
        script[at.saturating_sub(context)..(at + context + 1).min(script.len())]
            .iter()
            .any(|step| step.0 != ' ')
    };
    let mut out = format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n");
    let mut at = 0;
    while at < script.len() {
        if !near(at) {
            at += 1;
            continue;
        }
        let end = (at..script.len()).find(|&k| !near(k)).unwrap_or(script.len());
        let hunk = &script[at..end];
        let count = |sign| hunk.iter().filter(|step| step.0 != sign).count();
        let range = |start: usize, count: usize| match count {
            0 => format!("{start},0"),
            1 => format!("{}", start + 1),
            _ => format!("{},{count}", start + 1),
        };
        out.push_str(&format!("@@ -{} +{} @@\n", range(hunk[0].2, count('+')), range(hunk[0].3, count('-'))));
        for (sign, text, _, _) in hunk {
            out.push_str(&format!("{sign}{text}"));
            if !text.ends_with('\n') {
                out.push_str("\n\\ No newline at end of file\n");
            }
        }
        at = end;
    }
    out
}

/// Lines chosen to look like everything they are not.
fn tricky_content() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("a"),
        Just("b"),
        Just(""),
        Just("\r"),
        Just("x\r"),
        Just("\x0c"),
        Just("++ b/x"),
        Just("-- a/x"),
        Just("@@ -1 +1 @@"),
        Just("+++ b/x"),
        Just("--- a/x"),
        Just("diff --git a/x b/x"),
        Just("\\ No newline at end of file"),
        Just(" "),
        Just("\tä\u{2028}\u{85}"),
        Just("rename to x"),
        Just("Binary files a/x and b/x differ"),
    ];
    (prop::collection::vec(line, 0..14), any::<bool>()).prop_map(|(lines, ends)| {
        let mut text = lines.join("\n");
        if ends && !text.is_empty() {
            text.push('\n');
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn every_line_of_a_made_diff_is_that_line_of_the_file(old in tricky_content(), new in tricky_content(), context in 0usize..4) {
        let text = make_diff("x", &old, &new, context);
        let diff = parse(&text).unwrap();
        let file = &diff.files[0];
        check_side(file, "LEFT", &old, |line| line.old_no)?;
        check_side(file, "RIGHT", &new, |line| line.new_no)?;
        prop_assert_eq!(file.hunks.is_empty(), lines_of(&old) == lines_of(&new));
    }

    #[test]
    fn any_text_is_a_diff_or_an_error(text in "(diff --git |a/x |b/x|\"|\\\\[0-7n]|@@ -[0-9]{0,3},?[0-9] \\+1 @@|[-+ \\\\]|\n|--- |.){0,40}") {
        let _ = parse(&text);
        let _ = parse_hunks(&text);
    }
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(["-c", "core.autocrlf=false", "-c", "core.safecrlf=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

type Tree = BTreeMap<String, String>;

/// Writes a tree over whatever stands there and returns its id.
fn write_tree(repository: &Path, tree: &Tree) -> String {
    for entry in
        fs::read_dir(repository).unwrap().map(Result::unwrap).filter(|entry| entry.file_name() != ".git")
    {
        let path = entry.path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    for (path, content) in tree {
        let path = repository.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    git(repository, &["add", "--all", "--force"]);
    git(repository, &["write-tree"]).trim().to_owned()
}

fn tricky_tree() -> impl Strategy<Value = Tree> {
    let path = prop_oneof![
        Just("plain.txt"),
        Just("with space.txt"),
        Just("a b/b c"),
        Just("ä/ö.rs"),
        Just("tab\there"),
        Just("q\"uote"),
        Just("back\\slash"),
        Just("line\nfeed"),
        Just("b/a/b"),
        Just("-dash"),
    ];
    prop::collection::btree_map(path.prop_map(str::to_owned), tricky_content(), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_line_of_a_real_git_diff_is_that_line_of_the_file(old in tricky_tree(), new in tricky_tree()) {
        let directory = tempfile::tempdir().unwrap();
        git(directory.path(), &["init", "--quiet"]);
        let (before, after) = (write_tree(directory.path(), &old), write_tree(directory.path(), &new));
        let text = git(directory.path(), &["diff", "--find-renames", "--find-copies-harder", &before, &after]);
        let diff = parse(&text).unwrap();
        for file in &diff.files {
            if let Some(path) = &file.old_path {
                check_side(file, "LEFT", &old[path], |line| line.old_no)?;
            }
            if let Some(path) = &file.new_path {
                check_side(file, "RIGHT", &new[path], |line| line.new_no)?;
            }
        }
        let changed = new.iter().filter(|(path, content)| old.get(*path) != Some(content));
        for (path, _) in changed {
            prop_assert!(diff.files.iter().any(|file| file.new_path.as_ref() == Some(path)), "{} is missing", path);
        }
    }
}
