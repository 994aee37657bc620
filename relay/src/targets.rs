//! Envelope → the lanes that want it. Pure. The rules are data: [`DEFAULT_RULES`] and the configuration file's.

use serde::Deserialize;
use shared::event::{Envelope, Subject};
use thiserror::Error;

/// The lane of the claude-endpoint.
pub const CLAUDE: &str = "claude";
/// The lane of the ollama-endpoint.
pub const OLLAMA: &str = "ollama";
/// The rules that hold unless the configuration says otherwise.
pub const DEFAULT_RULES: &str = include_str!("rules.toml");

/// What is wrong with a rule.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RuleError {
    /// Not of the form that `rules.toml` explains.
    #[error("[[routes]] cannot be read: {0}")]
    Form(String),
    /// No such target.
    #[error("[[routes]] number {0} names the target `{1}`; there are: {2}")]
    UnknownTarget(usize, String, String),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    event: String,
    actions: Option<Vec<String>>,
    branch: Option<Branch>,
    targets: Vec<String>,
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Branch {
    Default,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    routes: Vec<Rule>,
}

/// Where an event goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// To these targets.
    Targets(Vec<String>),
    /// Nowhere, and why.
    Ignored(String),
}

/// The rules, in the order in which they are asked.
#[derive(Debug, Clone)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// The configuration file's rules (TOML with `[[routes]]`; may be empty) before the default ones. `targets` are
    /// the names that exist.
    ///
    /// # Errors
    /// A rule cannot be read, or names a target that does not exist.
    pub fn new(configured: &str, targets: &[&str]) -> Result<Self, RuleError> {
        let mut rules = Vec::new();
        for text in [configured, DEFAULT_RULES] {
            let file: File =
                toml::from_str(text).map_err(|error| RuleError::Form(error.message().to_owned()))?;
            for (index, rule) in file.routes.into_iter().enumerate() {
                if let Some(unknown) = rule.targets.iter().find(|target| !targets.contains(&target.as_str()))
                {
                    return Err(RuleError::UnknownTarget(index + 1, unknown.clone(), targets.join(", ")));
                }
                rules.push(rule);
            }
        }
        Ok(Self(rules))
    }

    /// Where this event goes.
    pub fn decide(&self, envelope: &Envelope) -> Decision {
        let Some(rule) = self.0.iter().find(|rule| rule.matches(envelope)) else {
            return Decision::Ignored("no rule wants this event".to_owned());
        };
        if rule.targets.is_empty() {
            let action = envelope.action.as_deref().map(|action| format!(".{action}")).unwrap_or_default();
            let reason = rule.reason.as_deref().unwrap_or("a rule says so");
            return Decision::Ignored(format!("{}{action}: {reason}", envelope.event));
        }
        Decision::Targets(rule.targets.clone())
    }
}

impl Rule {
    fn matches(&self, envelope: &Envelope) -> bool {
        let event = self.event == "*" || self.event == envelope.event;
        let action = self
            .actions
            .as_ref()
            .is_none_or(|actions| envelope.action.as_ref().is_some_and(|action| actions.contains(action)));
        event && action && self.branch.is_none_or(|Branch::Default| is_default_branch(envelope))
    }
}

fn is_default_branch(envelope: &Envelope) -> bool {
    let (Subject::Push(push), Some(repository)) = (&envelope.subject, &envelope.repository) else {
        return false;
    };
    push.git_ref.strip_prefix("refs/heads/").is_some_and(|branch| branch == repository.default_branch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: [&str; 2] = [CLAUDE, OLLAMA];

    fn envelope(event: &str, action: Option<&str>, git_ref: Option<&str>) -> Envelope {
        let subject = match git_ref {
            Some(git_ref) => {
                serde_json::json!({"kind": "push", "ref": git_ref, "before": "a", "after": "b", "commits": 1, "forced": false})
            }
            None => serde_json::json!({"kind": "other"}),
        };
        serde_json::from_value(
            serde_json::json!({"version": 1, "id": "d", "event": event, "action": action, "subject": subject,
            "received_at": "2026-11-22T10:00:00Z", "payload": {},
            "repository": {"full_name": "o/r", "private": false, "default_branch": "main"}}),
        )
        .unwrap()
    }

    /// Every event of the contract, as a person would read it.
    #[test]
    fn where_events_go() {
        let rules = Rules::new("", &TARGETS).unwrap();
        let table: Vec<String> = [
            ("pull_request", Some("opened"), None),
            ("pull_request", Some("reopened"), None),
            ("pull_request", Some("synchronize"), None),
            ("pull_request", Some("ready_for_review"), None),
            ("pull_request", Some("closed"), None),
            ("pull_request", Some("labeled"), None),
            ("push", None, Some("refs/heads/main")),
            ("push", None, Some("refs/heads/topic")),
            ("push", None, Some("refs/tags/main")),
            ("issue_comment", Some("created"), None),
            ("pull_request_review", Some("submitted"), None),
            ("pull_request_review_comment", Some("created"), None),
            ("issues", Some("opened"), None),
            ("release", Some("published"), None),
            ("workflow_run", Some("completed"), None),
            ("workflow_run", Some("requested"), None),
            ("check_run", Some("created"), None),
            ("an_event_of_next_year", None, None),
        ]
        .into_iter()
        .map(|(event, action, git_ref)| {
            let way = match rules.decide(&envelope(event, action, git_ref)) {
                Decision::Targets(targets) => targets.join(" + "),
                Decision::Ignored(reason) => format!("nowhere ({reason})"),
            };
            format!("{event} {} → {way}", action.or(git_ref).unwrap_or("-"))
        })
        .collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn a_configured_rule_comes_first() {
        let rules = Rules::new("[[routes]]\nevent = \"push\"\ntargets = []\nreason = \"too many\"", &TARGETS)
            .unwrap();
        let decision = rules.decide(&envelope("push", None, Some("refs/heads/main")));
        assert_eq!(decision, Decision::Ignored("push: too many".into()));
    }

    #[test]
    fn a_mistake_in_a_rule_is_named() {
        let unknown = Rules::new("[[routes]]\nevent = \"push\"\ntargets = [\"claud\"]", &TARGETS)
            .unwrap_err()
            .to_string();
        assert_eq!(unknown, "[[routes]] number 1 names the target `claud`; there are: claude, ollama");
        assert!(
            Rules::new("[[routes]]\nevnt = \"push\"\ntargets = []", &TARGETS)
                .unwrap_err()
                .to_string()
                .contains("evnt")
        );
    }
}
