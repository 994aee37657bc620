//! Which words of a text are paths of files. Pure.

/// The longest path that is taken.
pub(crate) const LONGEST_PATH: usize = 400;

/// Files that have no ending, or one that says nothing without the name.
const NAMES: [&str; 6] = ["Makefile", "Dockerfile", "Justfile", "Procfile", "LICENSE", "CODEOWNERS"];

/// Endings with which a name is a file's even without a folder. Not those of products and domains ("Node.js", "crates.io").
const ENDINGS: [&str; 40] = [
    "rs", "toml", "lock", "md", "txt", "json", "jsonl", "yml", "yaml", "py", "pyi", "ts", "tsx", "jsx",
    "mjs", "css", "scss", "html", "go", "mod", "sum", "java", "kt", "swift", "rb", "php", "cs", "c", "h",
    "cc", "cpp", "hpp", "sql", "sh", "bash", "zsh", "proto", "xml", "ini", "plist",
];

/// The distinct paths that `text` names, in its order, at most `most`.
pub(crate) fn paths(text: &str, most: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for path in words(text).filter_map(path) {
        if found.len() == most {
            break;
        }
        if !found.iter().any(|known| known == path) {
            found.push(path.to_owned());
        }
    }
    found
}

/// What stands between white space, quotes and brackets.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| letter.is_whitespace() || "\"'`<>()[]{}|,;*=“”‘’".contains(letter))
        .filter(|word| !word.is_empty())
}

/// The path that a word is, without a line number and the full stop of a sentence.
pub(crate) fn path(word: &str) -> Option<&str> {
    let word = word.split_once('#').map_or(word, |(path, _)| path);
    let mut word = word.trim_end_matches(['.', ':', '!', '?', '…']);
    // `a.rs:12`, `a.rs:12:3` and `a.rs:12-20`
    while let Some((path, line)) = word.rsplit_once(':') {
        let number = line.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if line.is_empty() || !number {
            break;
        }
        word = path;
    }
    let word = word.strip_prefix("./").unwrap_or(word);
    let relative = !word.starts_with(['/', '~', '-', '@', '.']) || word.starts_with(".github/");
    let (folder, name) = word.rsplit_once('/').map_or((None, word), |(folder, name)| (Some(folder), name));
    let plain = word.len() <= LONGEST_PATH && !word.contains("://") && !word.contains([':', '\\', '\0', '@']);
    let clean = folder.is_none_or(|folder| folder.split('/').all(|part| !part.is_empty() && part != ".."));
    (relative && plain && clean && is_file(name, folder)).then_some(word)
}

fn is_file(name: &str, folder: Option<&str>) -> bool {
    if NAMES.contains(&name) {
        return true;
    }
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let letters =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+".contains(&byte));
    if stem.is_empty() || ending.is_empty() || ending.len() > 10 || !letters(ending) {
        return false;
    }
    match folder {
        None => ENDINGS.contains(&ending) && stem.chars().any(char::is_alphabetic),
        // `github.com/owner` is an address, and so is `example.com/a.b`
        Some(folder) => {
            let first = folder.split('/').next().unwrap_or_default();
            let host = first.contains('.') && !first.starts_with('.');
            !host && ending.starts_with(|letter: char| letter.is_ascii_alphabetic())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_told_from_other_words() {
        let text = "In `src/queue.rs:12` and (Cargo.toml), see ./docs/a.md. Not src/queue.rs again, but .github/workflows/ci.yml, \
                    deploy/Dockerfile, web/app.vue#L3 and \"a/b.test.tsx:3:9\"";
        assert_eq!(
            paths(text, 20),
            [
                "src/queue.rs",
                "Cargo.toml",
                "docs/a.md",
                ".github/workflows/ci.yml",
                "deploy/Dockerfile",
                "web/app.vue",
                "a/b.test.tsx"
            ]
        );
        assert_eq!(paths(text, 2).len(), 2);
        for word in [
            "and/or",
            "owner/name",
            "Node.js",
            "e.g.",
            "v1.2",
            "1.2.3",
            "https://example.test/a.rs",
            "github.com/o/r.git",
            "/etc/passwd.txt",
            "../up.rs",
            "a/../b.rs",
            "a//b.rs",
            "git@host:a.rs",
            "~/x.rs",
            "/",
            ".",
            "",
            ".rs",
            "std::fs",
            "3.14",
            "a/1.2",
            "example.com/a.html",
        ] {
            assert_eq!(path(word), None, "{word}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_bounded_list_of_its_own_words(text in "([a-z]{1,3}|/|\\.|:|#|rs|md|[0-9é `\n]){0,60}", most in 0usize..4) {
            let found = paths(&text, most);
            prop_assert!(found.len() <= most);
            prop_assert!(found.iter().all(|path| text.contains(path.as_str())));
        }
    }
}
