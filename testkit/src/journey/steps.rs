//! What the relay's admin API says about a delivery, as steps to print. Pure.

use std::fmt::Write as _;

use anyhow::bail;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    at: Timestamp,
    what: String,
    detail: String,
}

/// A delivery as `GET /api/deliveries/{id}` shows it.
#[derive(Debug, Deserialize)]
pub(super) struct View {
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    target: String,
    state: String,
    attempts: u32,
    error: Option<String>,
    outcome: Option<Outcome>,
    #[serde(default)]
    history: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    summary: String,
    url: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    at: Timestamp,
    what: String,
    detail: Option<String>,
}

impl Step {
    pub(super) fn new(at: Timestamp, what: &str, detail: &str) -> Self {
        Self { at, what: what.to_owned(), detail: detail.to_owned() }
    }

    /// The step as a line, with the time since `start`.
    pub(super) fn line(&self, start: Timestamp) -> String {
        line(&milliseconds(self.at.duration_since(start)), &self.what, &self.detail)
    }
}

/// A line of the journey.
pub(super) fn line(time: &str, what: &str, detail: &str) -> String {
    format!("{time:>10}  {what:<16} {detail}").trim_end().to_owned()
}

/// A duration for people, as exact as it matters.
pub(super) fn milliseconds(took: SignedDuration) -> String {
    let ms = took.as_secs_f64() * 1000.0;
    if ms < 100.0 {
        format!("{ms:.1} ms")
    } else if ms < 10_000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1000.0)
    }
}

const HANDED_OVER: &str = "handed_over";

impl View {
    /// What happened so far, in no particular order.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.targets.iter().flat_map(|target| target.history.iter().map(|entry| target.step(entry))).collect()
    }

    /// Whether no target has anything left to do.
    pub(super) fn has_ended(&self) -> bool {
        self.targets.iter().all(Target::has_ended)
    }

    /// When the first target took it.
    pub(super) fn first_hand_over(&self) -> Option<Timestamp> {
        let entries = self.targets.iter().flat_map(|target| &target.history);
        entries.filter(|entry| entry.what == HANDED_OVER).map(|entry| entry.at).min()
    }

    /// Where the targets stand that are not done, and what to do about it.
    pub(super) fn advice(&self) -> String {
        let open: Vec<String> =
            self.targets.iter().filter(|target| !target.has_ended()).map(Target::standing).collect();
        open.join("; ")
    }

    /// # Errors
    /// A target ended otherwise than completed; the text says how.
    pub(super) fn judge(&self) -> anyhow::Result<()> {
        let others: Vec<String> =
            self.targets.iter().filter(|target| target.state != "completed").map(Target::standing).collect();
        if !others.is_empty() {
            bail!("the journey ended, but not as it should: {}", others.join("; "));
        }
        Ok(())
    }
}

impl Target {
    fn has_ended(&self) -> bool {
        !["pending", "leased", HANDED_OVER].contains(&self.state.as_str())
    }

    fn step(&self, entry: &Entry) -> Step {
        let detail = entry.detail.as_deref().unwrap_or_default();
        if entry.what == HANDED_OVER {
            return Step::new(entry.at, "handed over", &format!("to {}", self.target));
        }
        let url = self
            .outcome
            .as_ref()
            .and_then(|outcome| outcome.url.as_deref())
            .map(|url| format!(", see {url}"));
        let what = if entry.what == self.state && self.has_ended() { "outcome" } else { "on the way" };
        let words = entry.what.replace('_', " ");
        let mut text = format!("{} {words}", self.target);
        if !detail.is_empty() {
            let _ = write!(text, ": {detail}");
        }
        if what == "outcome" {
            text.push_str(&url.unwrap_or_default());
        }
        Step::new(entry.at, what, &text)
    }

    fn standing(&self) -> String {
        let said = self.error.as_deref().or(self.outcome.as_ref().map(|outcome| outcome.summary.as_str()));
        let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
        match self.state.as_str() {
            HANDED_OVER => format!(
                "{0} has it and is not done; `{0}-endpoint healthcheck` and its log say why",
                self.target
            ),
            "pending" | "leased" => format!(
                "{} did not take it in {} attempts{said}; `relay healthcheck` says what is away",
                self.target, self.attempts
            ),
            state => format!("{} is {state}{said}", self.target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: &str) -> View {
        let json = serde_json::json!({"id": "a", "targets": [
            {"target": "claude", "state": state, "attempts": 1, "error": null,
             "outcome": {"state": state, "summary": "review posted", "url": "https://github.test/r/1", "detail": {}},
             "history": [
                {"at": "2026-11-22T10:00:00.012Z", "what": "handed_over", "detail": "taken by the target"},
                {"at": "2026-11-22T10:00:12.5Z", "what": state, "detail": "review posted"}]},
            {"target": "ollama", "state": "pending", "attempts": 3, "error": "connection refused", "history": []}]});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn steps_read_like_this() {
        let start = "2026-11-22T10:00:00Z".parse().unwrap();
        let lines: Vec<String> = view("completed").steps().iter().map(|step| step.line(start)).collect();
        let expected = [
            "   12.0 ms  handed over      to claude",
            "    12.5 s  outcome          claude completed: review posted, see https://github.test/r/1",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_journey_that_waits_says_for_whom() {
        let view = view("completed");
        assert!(!view.has_ended());
        assert_eq!(
            view.advice(),
            "ollama did not take it in 3 attempts (connection refused); `relay healthcheck` says what is away"
        );
        assert_eq!(view.first_hand_over(), "2026-11-22T10:00:00.012Z".parse().ok());
    }

    #[test]
    fn only_a_completed_journey_is_a_good_one() {
        let mut view = view("dead");
        view.targets.truncate(1);
        assert!(view.has_ended());
        assert_eq!(
            view.judge().unwrap_err().to_string(),
            "the journey ended, but not as it should: claude is dead (review posted)"
        );
        view.targets[0].state = "completed".into();
        assert!(view.judge().is_ok());
    }
}
