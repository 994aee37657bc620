//! What a commit's status says about its review. Pure.
//!
//! It is a success only where all of the change was reviewed and nothing was found that counts. What was skipped,
//! partial or failed is never one, and the description says which.

use std::iter::Sum;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::text::{postable_line, shorten};
use crate::verdict::Severity;

/// GitHub takes no longer description, in characters.
pub const LONGEST_DESCRIPTION: usize = 140;
const PENDING: &str = "The review is being made";

/// From which severity on an open finding makes the status a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// Blockers only.
    Blocker,
    /// Major ones and worse.
    #[default]
    Major,
    /// Minor ones and worse.
    Minor,
    /// Any.
    Nit,
    /// None does.
    Never,
}

impl Threshold {
    /// Whether a finding of this severity makes a failure.
    pub fn is_met_by(self, severity: Severity) -> bool {
        let least = match self {
            Self::Blocker => Severity::Blocker,
            Self::Major => Severity::Major,
            Self::Minor => Severity::Minor,
            Self::Nit => Severity::Nit,
            Self::Never => return false,
        };
        severity <= least
    }
}

/// How many findings of each severity are open: new ones, and earlier ones that still hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Open {
    /// See [`Severity`].
    pub blocker: usize,
    /// See [`Severity`].
    pub major: usize,
    /// See [`Severity`].
    pub minor: usize,
    /// See [`Severity`].
    pub nit: usize,
}

impl Open {
    fn each(self) -> [(Severity, usize); 4] {
        [
            (Severity::Blocker, self.blocker),
            (Severity::Major, self.major),
            (Severity::Minor, self.minor),
            (Severity::Nit, self.nit),
        ]
    }

    fn total(self) -> usize {
        self.each().iter().map(|(_, count)| count).sum()
    }

    /// Those that make a failure.
    fn counting(self, fail_on: Threshold) -> usize {
        self.each().iter().filter(|(severity, _)| fail_on.is_met_by(*severity)).map(|(_, count)| count).sum()
    }

    /// Such as `3 findings (1 major, 2 nit)`.
    fn words(self) -> String {
        let parts: Vec<String> = self
            .each()
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(severity, count)| format!("{count} {severity}"))
            .collect();
        match self.total() {
            0 => "no findings".to_owned(),
            1 => format!("1 finding ({})", parts.join(", ")),
            total => format!("{total} findings ({})", parts.join(", ")),
        }
    }
}

impl Sum<Severity> for Open {
    fn sum<I: Iterator<Item = Severity>>(severities: I) -> Self {
        severities.fold(Self::default(), |mut open, severity| {
            *match severity {
                Severity::Blocker => &mut open.blocker,
                Severity::Major => &mut open.major,
                Severity::Minor => &mut open.minor,
                Severity::Nit => &mut open.nit,
            } += 1;
            open
        })
    }
}

/// What a review came to. The texts may be anybody's; they are made fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It was made.
    Reviewed {
        /// What is open after it.
        open: Open,
        /// Files of the change that were not reviewed, or not whole.
        gaps: usize,
        /// What else of it is not done, such as that it could not be posted. One that lacks something is partial.
        lacking: Vec<String>,
    },
    /// It was not wanted, and why.
    Skipped(String),
    /// It could not be made, and why.
    Failed(String),
    /// There is a newer head, this one.
    Superseded(String),
    /// No more reviews are made here, such as after too many rounds, and why.
    Stopped(String),
}

/// What the status says at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// The review is being made.
    Pending,
    /// All was reviewed, and nothing found that counts.
    Success,
    /// A finding that counts is open.
    Failure,
    /// There is no whole review.
    Error,
}

impl Conclusion {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }
}

/// A status as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// At a glance.
    pub conclusion: Conclusion,
    /// One line of at most [`LONGEST_DESCRIPTION`] characters.
    pub description: String,
    /// Where to read more.
    pub url: Option<String>,
}

impl Status {
    /// While the review is being made.
    pub fn pending() -> Self {
        Self::new(Conclusion::Pending, PENDING)
    }

    /// After it.
    pub fn of(came: &Came, fail_on: Threshold) -> Self {
        match came {
            Came::Reviewed { open, gaps, lacking } => reviewed(*open, *gaps, lacking, fail_on),
            Came::Skipped(reason) => Self::new(Conclusion::Error, &format!("Skipped: {reason}")),
            Came::Failed(reason) => Self::new(Conclusion::Error, &format!("Failed: {reason}")),
            Came::Superseded(head) => {
                let head = head.get(..7).unwrap_or(head);
                Self::new(Conclusion::Error, &format!("Superseded: not reviewed, {head} is newer"))
            }
            Came::Stopped(reason) => Self::new(Conclusion::Error, &format!("Stopped: {reason}")),
        }
    }

    /// With a link to read more.
    #[must_use]
    pub fn linked(mut self, url: Option<String>) -> Self {
        self.url = url;
        self
    }

    fn new(conclusion: Conclusion, text: &str) -> Self {
        Self { conclusion, description: line(text), url: None }
    }
}

fn reviewed(open: Open, gaps: usize, lacking: &[String], fail_on: Threshold) -> Status {
    let mut missing: Vec<String> = match gaps {
        0 => Vec::new(),
        1 => vec!["1 file not reviewed, or not whole".to_owned()],
        _ => vec![format!("{gaps} files not reviewed, or not whole")],
    };
    missing.extend(lacking.iter().cloned());
    // what is missing counts, also where nobody has said what it is
    let (found, is_whole, missing) = (open.words(), missing.is_empty(), missing.join(", "));
    match (open.counting(fail_on) > 0, is_whole) {
        (true, true) => Status::new(Conclusion::Failure, &format!("Reviewed: {found}")),
        (true, false) => Status::new(Conclusion::Failure, &format!("Reviewed: {found}; partial: {missing}")),
        (false, false) => Status::new(Conclusion::Error, &format!("Partial: {missing}; {found} so far")),
        (false, true) => Status::new(Conclusion::Success, &format!("Reviewed: {found}")),
    }
}

/// One line, fit to be shown. Without backticks, since half a code span is none, and what was code would be live.
fn line(text: &str) -> String {
    shorten(&postable_line(&text.replace('`', "'")), LONGEST_DESCRIPTION)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
