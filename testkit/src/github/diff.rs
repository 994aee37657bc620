//! A small reader of unified git diffs, written on its own so that it can check the services' reader.

/// One file of a diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileDiff {
    /// The path after the change (before it, for a removed file).
    pub(crate) path: String,
    /// The path before a rename or copy.
    pub(crate) previous_path: Option<String>,
    /// GitHub's word: added, removed, modified, renamed or copied.
    pub(crate) status: &'static str,
    pub(crate) additions: usize,
    pub(crate) deletions: usize,
    /// The hunks' lines without the final line feed; `None` without hunks.
    pub(crate) patch: Option<String>,
    pub(crate) hunks: Vec<Hunk>,
}

/// The lines a hunk covers; all of them, context included, can be commented on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hunk {
    left: (u64, u64),
    right: (u64, u64),
}

/// The side of a diff that a comment is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Side {
    /// The file before the change.
    Left,
    /// The file after the change.
    Right,
}

impl Hunk {
    fn covers(&self, side: Side, line: u64) -> bool {
        let (start, count) = if side == Side::Left { self.left } else { self.right };
        (start..start + count).contains(&line)
    }
}

impl FileDiff {
    /// The index of the hunk that covers `line` on `side`.
    pub(crate) fn hunk_at(&self, side: Side, line: u64) -> Option<usize> {
        self.hunks.iter().position(|hunk| hunk.covers(side, line))
    }
}

/// Reads a whole `git diff`. Text before the first `diff --git` is skipped.
pub(crate) fn read(diff: &str) -> Vec<FileDiff> {
    let mut lines = diff.split('\n').peekable();
    let mut files = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(paths) = line.strip_prefix("diff --git ") {
            let mut header = vec![];
            while let Some(next) = lines.next_if(|next| !starts_file(next) && !next.starts_with("@@ ")) {
                header.push(next);
            }
            let mut file = from_header(paths, &header);
            while let Some(range) = lines.next_if(|next| next.starts_with("@@ ")) {
                read_hunk(&mut file, range, &mut lines);
            }
            files.push(file);
        }
    }
    files
}

fn starts_file(line: &str) -> bool {
    line.starts_with("diff --git ")
}

fn from_header(paths: &str, header: &[&str]) -> FileDiff {
    let field = |name: &str| header.iter().find_map(|line| line.strip_prefix(name));
    let old = field("--- ").and_then(|path| side_path(path, "a/"));
    let new = field("+++ ").and_then(|path| side_path(path, "b/"));
    let (renamed, copied) = (field("rename to "), field("copy to "));
    let status = match () {
        () if field("new file mode ").is_some() => "added",
        () if field("deleted file mode ").is_some() => "removed",
        () if renamed.is_some() => "renamed",
        () if copied.is_some() => "copied",
        () => "modified",
    };
    let path = renamed.or(copied).map(unquoted).or(new).or(old).unwrap_or_else(|| path_of_both(paths));
    let previous_path = field("rename from ").or_else(|| field("copy from ")).map(unquoted);
    FileDiff { path, previous_path, status, additions: 0, deletions: 0, patch: None, hunks: Vec::new() }
}

/// The path of a `---` or `+++` line; `None` for `/dev/null`. git ends a path with blanks by a tab.
fn side_path(text: &str, prefix: &str) -> Option<String> {
    let text = text.strip_suffix('\r').unwrap_or(text);
    let path = unquoted(text.strip_suffix('\t').unwrap_or(text));
    if path == "/dev/null" { None } else { Some(path.strip_prefix(prefix).unwrap_or(&path).to_owned()) }
}

/// The path in `a/x b/x`, where both are the same (else a rename line says so).
fn path_of_both(paths: &str) -> String {
    if let Some(at) = paths.find("\" \"") {
        return unquoted(&paths[at + 2..]).trim_start_matches("b/").to_owned();
    }
    let half = paths.len() / 2;
    paths.get(half + 1..).map(|b| b.strip_prefix("b/").unwrap_or(b)).unwrap_or(paths).to_owned()
}

/// Undoes git's C-style quoting.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut bytes = Vec::new();
    let mut rest = inner.bytes().peekable();
    while let Some(byte) = rest.next() {
        let escaped = if byte == b'\\' { rest.next() } else { None };
        match escaped {
            None => bytes.push(byte),
            Some(digit @ b'0'..=b'3') => {
                let mut value = digit - b'0';
                for _ in 0..2 {
                    let next = rest.next_if(|next| (b'0'..=b'7').contains(next));
                    value = next.map_or(value, |next| value * 8 + (next - b'0'));
                }
                bytes.push(value);
            }
            Some(b'n') => bytes.push(b'\n'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'r') => bytes.push(b'\r'),
            Some(other) => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Takes as many lines as the hunk's header announces, whatever they look like.
fn read_hunk<'a>(
    file: &mut FileDiff,
    range: &str,
    lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
) {
    let Some(hunk) = hunk_range(range) else { return };
    let mut taken = vec![range];
    let (mut left, mut right) = (hunk.left.1, hunk.right.1);
    while left > 0 || right > 0 {
        let Some(line) = lines.next() else { break };
        match line.as_bytes().first() {
            Some(b'+') => {
                right = right.saturating_sub(1);
                file.additions += 1;
            }
            Some(b'-') => {
                left = left.saturating_sub(1);
                file.deletions += 1;
            }
            Some(b'\\') => {}
            _ => (left, right) = (left.saturating_sub(1), right.saturating_sub(1)),
        }
        taken.push(line);
    }
    taken.extend(lines.next_if(|next| next.starts_with('\\')));
    let text = taken.join("\n");
    let patch = file.patch.get_or_insert_default();
    if !patch.is_empty() {
        patch.push('\n');
    }
    patch.push_str(&text);
    file.hunks.push(hunk);
}

/// The ranges of `@@ -a,b +c,d @@`; a missing count means 1.
fn hunk_range(header: &str) -> Option<Hunk> {
    let mut parts = header.strip_prefix("@@ ")?.split(' ');
    let left = range(parts.next()?.strip_prefix('-')?)?;
    let right = range(parts.next()?.strip_prefix('+')?)?;
    Some(Hunk { left, right })
}

fn range(text: &str) -> Option<(u64, u64)> {
    let (start, count) = text.split_once(',').unwrap_or((text, "1"));
    Some((start.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRICKY: &str = "diff --git a/a.txt b/a.txt\nindex 1..2 100644\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1,3 @@ fn x\n--- old\n++++ new\n+@@ -1 +1 @@\n+diff --git a/x b/x\n\\ No newline at end of file\n@@ -10,2 +12,2 @@\n a\n-b\n+c\ndiff --git \"a/\\303\\244 b\" \"b/\\303\\244 b\"\nnew file mode 100644\nindex 0..1\n--- /dev/null\n+++ \"b/\\303\\244 b\"\t\n@@ -0,0 +1 @@\n+x\ndiff --git a/old.rs b/new.rs\nsimilarity index 100%\nrename from old.rs\nrename to new.rs\ndiff --git a/bin b/bin\nBinary files a/bin and b/bin differ\n";

    #[test]
    fn lines_that_look_like_headers_stay_inside_their_hunk() {
        let files = read(TRICKY);
        let paths: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.status)).collect();
        assert_eq!(
            paths,
            [("a.txt", "modified"), ("ä b", "added"), ("new.rs", "renamed"), ("bin", "modified")]
        );
        assert_eq!((files[0].additions, files[0].deletions), (4, 2));
        assert_eq!(files[0].hunks.len(), 2);
        assert_eq!(files[2].previous_path.as_deref(), Some("old.rs"));
        assert_eq!(files[3].patch, None);
    }

    #[test]
    fn context_lines_are_inside_and_the_next_line_is_not() {
        let file = &read(TRICKY)[0];
        assert_eq!(file.hunk_at(Side::Right, 3), Some(0));
        assert_eq!(file.hunk_at(Side::Right, 4), None);
        assert_eq!(file.hunk_at(Side::Left, 11), Some(1));
        assert_eq!(file.hunk_at(Side::Left, 12), None);
        assert_eq!(file.hunk_at(Side::Right, 12), Some(1));
    }

    #[test]
    fn the_patch_is_the_hunks_text() {
        let patch = read(TRICKY)[0].patch.clone().unwrap();
        assert!(patch.starts_with("@@ -1 +1,3 @@ fn x\n--- old\n"), "{patch}");
        assert!(patch.ends_with("\n-b\n+c"), "{patch}");
    }
}
