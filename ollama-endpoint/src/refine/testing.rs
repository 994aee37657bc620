//! What the tests of this module's parts need.

use crate::distil::Draft;

/// A memory that says `text`.
pub(crate) fn draft(text: &str) -> Draft {
    Draft {
        repository: "o/r".into(),
        kind: "note".into(),
        text: text.into(),
        created_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        source: Default::default(),
        indexed: true,
    }
}
