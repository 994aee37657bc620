use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use proptest::prelude::*;

use super::*;

fn args(repository: &Path, context: u32) -> CheckAnchors {
    CheckAnchors { repository: repository.to_owned(), commits: 60, context, json: false }
}

/// A file's mode and content, as `git fast-import` takes them.
type Entry = (&'static str, Vec<u8>);
/// What one commit writes, and what it deletes.
type Step = (Vec<(Vec<u8>, Entry)>, Vec<Vec<u8>>);

/// A repository whose commits do these steps, one after the other; the last one merges the first ones too.
fn repository(steps: &[Step]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(folder.path()).args(arguments);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env_remove("GIT_DIR");
        git
    };
    assert!(git(&["init", "--quiet", "--bare"]).status().unwrap().success());
    let mut import = git(&["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stream = import.stdin.take().unwrap();
    for (at, step) in steps.iter().enumerate() {
        stream.write_all(&commit(at, step, at + 1 == steps.len())).unwrap();
    }
    drop(stream);
    assert!(import.wait().unwrap().success());
    assert!(git(&["symbolic-ref", "HEAD", "refs/heads/it"]).status().unwrap().success());
    folder
}

fn commit(at: usize, (writes, deletes): &Step, is_last: bool) -> Vec<u8> {
    let mut out =
        format!("commit refs/heads/it\nmark :{}\ncommitter A <a@b> {at} +0000\ndata 1\nx\n", at + 1)
            .into_bytes();
    if is_last && at >= 3 {
        // an octopus
        out.extend(format!("from :{at}\nmerge :1\nmerge :2\n").bytes());
    }
    let quoted = |path: &[u8]| {
        let escape = |byte: &u8| match byte {
            b'"' | b'\\' => vec![b'\\', *byte],
            b'\n' => b"\\n".to_vec(),
            byte => vec![*byte],
        };
        [b"\"".as_slice(), &path.iter().flat_map(escape).collect::<Vec<u8>>(), b"\""].concat()
    };
    for path in deletes {
        out.extend([b"D ".as_slice(), &quoted(path), b"\n"].concat());
    }
    for (path, (mode, content)) in writes {
        if *mode == "160000" {
            let id = format!("{:040x}", content.len() + 1);
            out.extend([b"M 160000 ", id.as_bytes(), b" ", &quoted(path), b"\n"].concat());
        } else {
            let data = format!("\ndata {}\n", content.len());
            out.extend(
                [b"M ", mode.as_bytes(), b" inline ", &quoted(path), data.as_bytes(), content, b"\n"]
                    .concat(),
            );
        }
    }
    out.push(b'\n');
    out
}

const LINES: &[&[u8]] = &[
    b"a",
    b"b",
    b"",
    b" ",
    b"\r",
    b"x\r",
    b"\x0c",
    b"\x0b",
    b"\x1c",
    b"++ b/x",
    b"-- a/x",
    b"+++ b/x",
    b"--- a/x",
    b"@@ -1 +1 @@",
    b"@@",
    b"@@ -1,9 +1,9 @@ fn",
    b"diff --git a/x b/x",
    b"\\ No newline at end of file",
    b"rename to x",
    b"Binary files a/x and b/x differ",
    b"=== x (new)",
    b"...",
    b"12+x",
    b"12",
    b"0",
    b"new file mode 100644",
    b"\tfn f() {",
    b"    return 1;",
    b"}",
    "ä\u{2028}\u{85}\u{2029}".as_bytes(),
    "\u{202e}\u{200b}\u{feff}".as_bytes(),
    b"\xff\xfe no utf-8",
    b"a line that can be told from all others, one",
    b"a line that can be told from all others, two",
];

const PATHS: &[&[u8]] = &[
    b"plain",
    b"with space",
    b"a b/b c",
    "ä/ö.rs".as_bytes(),
    b"tab\there",
    b"q\"uote",
    b"back\\slash",
    b"line\nfeed",
    b"b/a/b",
    b"-dash",
    b"a (new)",
    b"a (was b)",
    b"\xff\xfe",
    b"--- a/x",
    b"x/deep/er/file.rs",
    b"Cargo.lock",
];

fn content() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        20 => prop::sample::select(LINES).prop_map(<[u8]>::to_vec),
        1 => Just(b"nul\0".to_vec()),
        3 => (0u8..9).prop_map(|n| format!("line {n} of some length, with words").into_bytes()),
    ];
    let lines = prop_oneof![4 => prop::collection::vec(line.clone(), 0..12), 1 => prop::collection::vec(line, 20..80)];
    (lines, any::<bool>()).prop_map(|(lines, ends)| {
        let mut text = lines.join(&b'\n');
        if ends && !text.is_empty() {
            text.push(b'\n');
        }
        text
    })
}

/// Some files written anew, some moved (a delete, and the same content elsewhere with a line more), some deleted.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode =
        prop_oneof![6 => Just("100644"), 2 => Just("100755"), 1 => Just("120000"), 1 => Just("160000")];
    let path = || prop::sample::select(PATHS).prop_map(<[u8]>::to_vec);
    let write = (path(), (mode, content()));
    let step = (prop::collection::vec(write, 0..5), prop::collection::vec(path(), 0..3), any::<bool>());
    prop::collection::vec(step, 2..7).prop_map(|steps| {
        let mut kept: Vec<(Vec<u8>, Entry)> = Vec::new();
        let mut all = Vec::new();
        for (mut writes, mut deletes, moves) in steps {
            if let Some((path, (mode, content))) =
                kept.first().cloned().filter(|(_, (mode, _))| moves && mode.starts_with("100"))
            {
                let moved = [b"moved/".as_slice(), &path].concat();
                let longer = [content.as_slice(), b"\nand a line more"].concat();
                deletes.push(path);
                writes.push((moved, (mode, longer)));
            }
            writes.retain(|(path, _)| !deletes.contains(path));
            kept.clone_from(&writes);
            all.push((writes, deletes));
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn not_one_number_is_wrong_in_any_history(steps in steps(), context in 0u32..5) {
        let repository = repository(&steps);
        let tally = check(&args(repository.path(), context)).unwrap();
        prop_assert!(tally.wrong == 0, "{:#?}", tally.messages);
        prop_assert_eq!(tally.skipped, 0);
    }
}

/// What the property goes through, in one history that is always the same.
#[test]
fn a_history_of_traps_is_checked_to_the_last_line() {
    let all = LINES.join(&b'\n');
    let reversed: Vec<&[u8]> = LINES.iter().rev().copied().collect();
    let write = |path: &[u8], content: &[u8]| (path.to_vec(), ("100644", content.to_vec()));
    let everywhere = |content: &[u8]| PATHS.iter().map(|path| write(path, content)).collect::<Vec<_>>();
    let moved = |content: &[u8]| vec![write(b"moved/plain", &[content, b"\nmore"].concat())];
    let steps = [
        (everywhere(&all), vec![]),
        (everywhere(&reversed.join(&b'\n')), vec![]),
        (everywhere(&[reversed.join(&b'\n').as_slice(), b"\n"].concat()), vec![]),
        (moved(&reversed.join(&b'\n')), vec![b"plain".to_vec()]),
        (
            vec![
                (b"with space".to_vec(), ("120000", b"target".to_vec())),
                (b"q\"uote".to_vec(), ("160000", vec![])),
            ],
            vec![],
        ),
        (vec![], PATHS[3..].iter().map(|path| path.to_vec()).collect()),
    ];
    let repository = repository(&steps);
    let tally = check(&args(repository.path(), 3)).unwrap();
    assert_eq!((tally.wrong, tally.skipped, tally.diffs), (0, 0, 6), "{:#?}", tally.messages);
    assert!(tally.lines > 2_000, "{}", tally.lines);
}

#[test]
fn this_repositorys_own_history_has_not_one_wrong_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    if !root.join(".git").exists() {
        return; // sources without a history
    }
    let tally = check(&CheckAnchors { commits: 25, ..args(root, 3) }).unwrap();
    assert_eq!(tally.wrong, 0, "{:#?}", tally.messages);
    assert!(tally.overhead() < 12.0, "{}", tally.overhead());
}

#[test]
fn no_repository_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = check(&args(folder.path(), 3)).unwrap_err();
    assert!(error.to_string().contains("is no git repository"), "{error}");
}

const OLD: &str = "one\ntwo\nthree\nfour\n";
const NEW: &str = "one\n2\nthree\nfour\nfive\n";
const PATCH: &str = "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,4 +1,5 @@\n one\n-two\n+2\n three\n four\n+five\n";

/// How much is wrong with a patch between the two.
fn wrong(patch: &str) -> usize {
    let diff = diff::parse(patch).unwrap();
    let case = Case { commit: "0123456789ab", patch, diff: &diff };
    let mut tally = Tally::default();
    case.file(&diff.files[0], OLD, NEW, &mut tally);
    case.prompt(&mut tally);
    tally.wrong
}

/// A check that cannot fail checks nothing.
#[test]
fn what_is_wrong_is_found() {
    assert_eq!(wrong(PATCH), 0);
    // every number is off by one
    assert!(wrong(&PATCH.replace("@@ -1,4 +1,5 @@", "@@ -2,4 +2,5 @@")) > 5);
    // of one side only
    assert!(wrong(&PATCH.replace("@@ -1,4 +1,5 @@", "@@ -1,4 +2,5 @@")) > 3);
    // a line that is not there
    assert!(wrong(&PATCH.replace(" three", " thirty")) > 0);
    // a change that is missing
    assert!(wrong("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n") > 0);
    let empty = "diff --git a/x b/x\nold mode 100644\nnew mode 100755\n";
    assert!(wrong(empty) > 0);
}

#[test]
fn a_wrong_path_is_found() {
    let folder = repository(&[(vec![(b"y".to_vec(), ("100644", b"one\n".to_vec()))], vec![])]);
    let repository = Repository::open(folder.path()).unwrap();
    let changes = repository.changes(&repository.commits(1).unwrap()[0]).unwrap().unwrap();
    let patch = "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+one\n";
    let diff = diff::parse(patch).unwrap();
    let mut tally = Tally::default();
    Case { commit: "0123456789ab", patch, diff: &diff }.paths(&changes, &mut tally);
    assert_eq!(tally.wrong, 1, "{:?}", tally.messages);
}

#[test]
fn the_result_reads_like_this() {
    let folder = repository(&[(vec![(b"y".to_vec(), ("100644", b"one\ntwo\n".to_vec()))], vec![])]);
    let tally = check(&args(folder.path(), 3)).unwrap();
    let text = tally.to_string();
    assert!(text.starts_with("diffs 1, hunks 1, lines 2, wrong 0, prompt overhead -"), "{text}");
    let json = tally.json();
    assert_eq!((&json["diffs"], &json["wrong"]), (&serde_json::json!(1), &serde_json::json!(0)));
    fs::remove_dir_all(folder.path().join("objects")).unwrap();
    assert!(check(&args(folder.path(), 3)).is_err());
}
