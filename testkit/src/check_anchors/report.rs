//! What was checked, and what it came to.

use std::fmt;

use serde_json::{Value, json};

/// So many of what is wrong are told one by one.
const MOST_MESSAGES: usize = 20;

/// Counts, of one commit or of many.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) diffs: usize,
    pub(super) hunks: usize,
    pub(super) lines: usize,
    pub(super) wrong: usize,
    /// Diffs that are too long, and files that the repository lacks.
    pub(super) skipped: usize,
    pub(super) messages: Vec<String>,
    sizes: Vec<Size>,
}

/// One diff in the prompt, beside what git printed for the same files; in characters.
#[derive(Debug, Clone)]
pub(super) struct Size {
    pub(super) commit: String,
    pub(super) raw: usize,
    pub(super) shown: usize,
}

impl Size {
    fn percent(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no history has 2^52 characters")]
        let (raw, shown) = (self.raw.max(1) as f64, self.shown as f64);
        (shown / raw - 1.0) * 100.0
    }
}

impl Tally {
    pub(super) fn skipped() -> Self {
        Self { skipped: 1, ..Self::default() }
    }

    pub(super) fn add(&mut self, other: Self) {
        let Self { diffs, hunks, lines, wrong, skipped, messages, sizes } = other;
        self.diffs += diffs;
        self.hunks += hunks;
        self.lines += lines;
        self.wrong += wrong;
        self.skipped += skipped;
        self.messages.extend(messages);
        self.messages.truncate(MOST_MESSAGES);
        self.sizes.extend(sizes);
    }

    pub(super) fn wrong(&mut self, commit: &str, what: impl fmt::Display) {
        self.wrong += 1;
        if self.messages.len() < MOST_MESSAGES {
            self.messages.push(format!("{}: {what}", commit.get(..10).unwrap_or(commit)));
        }
    }

    pub(super) fn size(&mut self, size: Size) {
        self.sizes.push(size);
    }

    /// Of all diffs together.
    pub(super) fn overhead(&self) -> f64 {
        let sum = |of: fn(&Size) -> usize| self.sizes.iter().map(of).sum();
        Size { commit: String::new(), raw: sum(|size| size.raw), shown: sum(|size| size.shown) }.percent()
    }

    /// The middle and the worst of the diffs one by one.
    fn spread(&self) -> Option<(f64, &Size)> {
        let mut sizes: Vec<&Size> = self.sizes.iter().collect();
        sizes.sort_by(|one, other| one.percent().total_cmp(&other.percent()));
        Some((sizes.get(sizes.len() / 2)?.percent(), sizes.last()?))
    }

    pub(super) fn json(&self) -> Value {
        let round = |percent: f64| (percent * 100.0).round() / 100.0;
        let spread = self.spread().map(|(median, worst)| {
            json!({"all": round(self.overhead()), "median": round(median), "worst": round(worst.percent()), "worst_commit": worst.commit})
        });
        json!({
            "diffs": self.diffs, "hunks": self.hunks, "lines": self.lines, "wrong": self.wrong, "skipped": self.skipped,
            "prompt_overhead_percent": spread, "messages": self.messages,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { diffs, hunks, lines, wrong, skipped, .. } = self;
        let overhead = self.overhead();
        write!(
            f,
            "diffs {diffs}, hunks {hunks}, lines {lines}, wrong {wrong}, prompt overhead {overhead:.2} %"
        )?;
        if let Some((median, worst)) = self.spread() {
            let commit = worst.commit.get(..10).unwrap_or(&worst.commit);
            write!(f, "\nby diff: median {median:.2} %, worst {:.2} % ({commit})", worst.percent())?;
        }
        match skipped {
            0 => Ok(()),
            _ => write!(f, "\nskipped: {skipped} that are too long, or not in the repository"),
        }
    }
}
