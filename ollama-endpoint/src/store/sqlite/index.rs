//! The full text: which words a memory is found by. Kept in the same transaction as the memory.

use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use crate::distil::Draft;
use crate::words::words;

/// Enters a memory; `template` is what its text was before a model refined it, and is found as well.
pub(super) fn insert(
    transaction: &Connection,
    position: i64,
    draft: &Draft,
    template: Option<&str>,
) -> rusqlite::Result<()> {
    let text = draft.text.as_str();
    let said = words(text).into_iter().chain(template.map(words).unwrap_or_default());
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO memories_fts (rowid, text, about, place) VALUES (?, ?, ?, ?)",
        )?
        .execute(params![
            position,
            together(said),
            together(words(&about(draft))),
            place(&draft.repository)
        ])?;
    Ok(())
}

/// The word that stands for a repository.
pub(super) fn place(repository: &str) -> String {
    let digest = Sha256::digest(repository.to_lowercase().as_bytes());
    digest.iter().take(8).fold("p".to_owned(), |word, byte| word + &format!("{byte:02x}"))
}

/// What a memory is about, beside what it says.
fn about(draft: &Draft) -> String {
    let source = &draft.source;
    let mut about = draft.kind.clone();
    for text in [&source.agent, &source.author, &source.branch, &source.event].into_iter().flatten() {
        about.push(' ');
        about.push_str(text);
    }
    if let Some(number) = source.pull_request {
        about.push_str(&format!(" #{number}"));
    }
    for text in source.commits.iter().chain(&source.paths) {
        about.push(' ');
        about.push_str(text);
    }
    about.push_str(&draft.created_at.strftime(" %Y-%m-%d").to_string());
    about
}

fn together(words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().collect::<Vec<_>>().join(" ")
}
