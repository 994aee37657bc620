use proptest::prelude::*;

use super::*;
use crate::diff;

fn one(diff: &str) -> File {
    diff::parse(diff).unwrap().files.remove(0)
}

/// The whole file as the model reads it.
fn shown(file: &File) -> String {
    let patch = Patch::new(file);
    file.hunks.iter().fold(patch.header(), |out, hunk| out + &patch.place(&Place::whole(hunk)))
}

fn raw(file: &File) -> usize {
    raw_chars(file, file.hunks.iter().map(Place::whole))
}

/// A file of `lines` new lines.
fn new_file(lines: usize, text: &str) -> File {
    let added = format!("+{text}\n").repeat(lines);
    one(&format!(
        "diff --git a/x b/x\nnew file mode 100644\nindex 0000000..1111111\n--- /dev/null\n+++ b/x\n@@ -0,0 +1,{lines} @@\n{added}"
    ))
}

const MIXED: &str = "\
diff --git a/src/a.rs b/src/b.rs
similarity index 90%
rename from src/a.rs
rename to src/b.rs
index 1234567..89abcde 100644
--- a/src/a.rs
+++ b/src/b.rs
@@ -8,8 +8,8 @@ impl A {
 
 fn first() {
-    old();
-12+older
+    new();\u{202e}
+12+newer
     last();\r
     same();
 }
 
@@ -98,3 +98,4 @@ fn second() {
 a
 b
+c
 d
";

#[test]
fn lines_bear_their_numbers_where_that_is_cheap() {
    insta::assert_snapshot!(shown(&one(MIXED)), @r"
    === src/b.rs (was src/a.rs)
    @@ impl A {
    8 
    9 fn first() {
    10-    old();
    11-12+older
    10+    new();<U+202E>
    11+12+newer
    12     last();
    13     same();
    14 }
    15 
    @@ fn second() {
    98 a
    99 b
    100+c
    101 d
    ");
}

#[test]
fn where_numbers_are_dear_a_line_follows_the_one_above() {
    let text = shown(&new_file(2_000, "x = y"));
    let top: Vec<&str> = text.lines().take(13).collect();
    let all =
        "=== x (new)|@@|1+x = y|+x = y|+x = y|+x = y|+x = y|+x = y|+x = y|+x = y|+x = y|10+x = y|+x = y";
    assert_eq!(top.join("|"), all);
}

#[test]
fn a_part_of_a_place_starts_with_a_number_and_ends_within_its_room() {
    let file = new_file(2_000, "x = y");
    let (patch, hunk) = (Patch::new(&file), &file.hunks[0]);
    let part = patch.place(&Place { hunk, range: 12..2_000 });
    assert!(
        part.starts_with("@@\n13+x = y\n+x = y\n+x = y\n+x = y\n+x = y\n+x = y\n+x = y\n20+x = y\n"),
        "{}",
        &part[..90]
    );
    for room in 0..200 {
        let end = patch.end_within(hunk, 12, room);
        assert!(end == 12 || patch.place(&Place { hunk, range: 12..end }).len() <= room);
        assert!(patch.place(&Place { hunk, range: 12..end + 1 }).len() > room);
    }
    assert_eq!(patch.end_within(hunk, 12, part.len()), 2_000);
}

#[test]
fn a_place_that_was_reviewed_before_is_short_and_shows_what_stands_there_now() {
    let file = one(MIXED);
    let patch = Patch::new(&file);
    let place = patch.reviewed(&file.hunks[0]);
    assert_eq!(
        place,
        "@@reviewed-before@@ impl A {\n...\n9 fn first() {\n...\n10+    new();<U+202E>\n11+12+newer\n12     last();\n...\n"
    );
    let long = new_file(2_000, "x = y");
    let lines = Patch::new(&long).reviewed(&long.hunks[0]).lines().count();
    assert_eq!(lines, MOST_REVIEWED + 2);
}

#[test]
fn the_raw_patch_is_counted_as_git_prints_it() {
    let with_section = MIXED.replace('\r', "");
    for text in [
        with_section.as_str(),
        "diff --git a/x b/x\nnew file mode 100644\nindex 0000000..1111111\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n",
        "diff --git a/xy b/xy\ndeleted file mode 100644\nindex 0000000..1111111\n--- a/xy\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n",
        "diff --git a/x b/x\nindex 0000000..1111111 100644\n--- a/x\n+++ b/x\n@@ -99,11 +99 @@ s\n-a\n-a\n-a\n-a\n-a\n-a\n-a\n-a\n-a\n-a\n b\n",
    ] {
        let file = one(text);
        assert_eq!(raw(&file), text.chars().count(), "{text}");
    }
}

/// Changes of all kinds of files: how many lines before a place, and its lines by sign and length.
fn changes() -> impl Strategy<Value = File> {
    let line = (prop_oneof![Just('+'), Just('-'), Just(' ')], 0usize..60);
    let place = (0u32..3_000, prop::collection::vec(line, 1..40));
    prop::collection::vec(place, 1..5).prop_map(|places| {
        let (mut old, mut new) = (1, 1);
        let mut text = "diff --git a/src/file.rs b/src/file.rs\nindex 1234567..89abcde 100644\n--- a/src/file.rs\n+++ b/src/file.rs\n".to_owned();
        for (skipped, lines) in places {
            (old, new) = (old + skipped, new + skipped);
            let count = |sign| lines.iter().filter(|line| line.0 != sign).count();
            let (olds, news) = (count('+'), count('-'));
            text.push_str(&format!("@@ -{old},{olds} +{new},{news} @@ fn place() {{\n"));
            lines.iter().for_each(|(sign, length)| text.push_str(&format!("{sign}{}\n", "x".repeat(*length))));
            (old, new) = (old + olds as u32, new + news as u32);
        }
        one(&text)
    })
}

proptest! {
    /// Read back by the rules of `prompt.md`, by a reader that knows nothing else.
    #[test]
    fn every_line_can_be_numbered_by_who_reads_it(file in changes(), from in 0usize..40) {
        let read = |text: &str| -> Vec<_> {
            testkit::shown::lines(text).map(|line| (line.number.unwrap(), line.sign, line.text.to_owned())).collect()
        };
        let told = |lines: &[Line]| -> Vec<_> {
            lines.iter().map(|line| (u64::from(number(line)), sign(line.kind), line.text.clone())).collect()
        };
        let all: Vec<Line> = file.hunks.iter().flat_map(|hunk| hunk.lines.clone()).collect();
        prop_assert_eq!(read(&shown(&file)), told(&all));
        let (patch, hunk) = (Patch::new(&file), &file.hunks[0]);
        let from = from.min(hunk.lines.len());
        let part = format!("{}{}", patch.header(), patch.place(&Place { hunk, range: from..hunk.lines.len() }));
        prop_assert_eq!(read(&part), told(&hunk.lines[from..]));
    }

    /// Numbers that cannot be left out stand at each change of side; a file of nothing but those is not a file of this world.
    #[test]
    fn numbers_cost_no_more_than_allowed(file in changes()) {
        let shown = chars(&shown(&file));
        let raw = raw(&file);
        let sides = file.hunks.iter().map(|hunk| digits(hunk, u32::MAX)).sum::<usize>();
        prop_assert!(shown * 100 <= raw * (100 + MOST_OVERHEAD) || shown <= raw + sides, "{shown} of {raw}");
    }
}

#[test]
fn a_diff_of_many_short_lines_stays_within_the_limit() {
    for (lines, text) in [(10, "}"), (1_000, "}"), (20_000, ""), (5_000, "    mov eax, ebx"), (300, "a,b")] {
        let file = new_file(lines, text);
        let (shown, raw) = (chars(&shown(&file)), raw(&file));
        assert!(shown * 100 <= raw * (100 + MOST_OVERHEAD), "{lines} of {text:?}: {shown} of {raw}");
    }
}
