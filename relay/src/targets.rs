//! Envelope → the lanes that want it. Pure. The rules are data: [`DEFAULT_RULES`] and the configuration file's, and what
//! extra targets want beside them.

use serde::Deserialize;
use shared::event::{Envelope, Subject};
use thiserror::Error;

mod subscription;

pub use subscription::{PatternError, Subscription, TEST_EVENT};

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
    /// Nothing is ever sent to it.
    #[error("the target `{0}` gets nothing: give it `events`, or name it in the `targets` of a [[routes]]")]
    Unwanted(String),
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

/// Who gets what.
#[derive(Debug, Clone)]
pub struct Rules {
    /// In the order in which they are asked.
    rules: Vec<Rule>,
    /// One for each extra target.
    subscriptions: Vec<Subscription>,
}

impl Rules {
    /// The configuration file's rules (TOML with `[[routes]]`; may be empty) before the default ones, and what the extra
    /// targets want.
    ///
    /// # Errors
    /// A rule cannot be read, or names a target that does not exist, or nothing is ever sent to one that does.
    pub fn new(configured: &str, subscriptions: Vec<Subscription>) -> Result<Self, RuleError> {
        let extra = subscriptions.iter().map(Subscription::target);
        let targets: Vec<&str> = [CLAUDE, OLLAMA].into_iter().chain(extra).collect();
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
        let named = |target: &str| rules.iter().any(|rule: &Rule| rule.targets.iter().any(|t| t == target));
        if let Some(unwanted) = subscriptions.iter().find(|one| one.is_empty() && !named(one.target())) {
            return Err(RuleError::Unwanted(unwanted.target().to_owned()));
        }
        Ok(Self { rules, subscriptions })
    }

    /// Where this event goes: to the targets of the first rule that matches, and to the extra targets that want it.
    pub fn decide<P>(&self, envelope: &Envelope<P>) -> Decision {
        let rule = self.rules.iter().find(|rule| rule.matches(envelope));
        let allowed =
            |target: &&String| self.subscriptions.iter().all(|s| s.target() != *target || s.allows(envelope));
        let mut targets: Vec<String> =
            rule.into_iter().flat_map(|rule| &rule.targets).filter(allowed).cloned().collect();
        for subscription in self.subscriptions.iter().filter(|subscription| subscription.wants(envelope)) {
            if !targets.iter().any(|target| target == subscription.target()) {
                targets.push(subscription.target().to_owned());
            }
        }
        if targets.is_empty() {
            Decision::Ignored(reason(rule, envelope))
        } else {
            Decision::Targets(targets)
        }
    }
}

/// Why nobody gets this event.
fn reason<P>(rule: Option<&Rule>, envelope: &Envelope<P>) -> String {
    let Some(rule) = rule else { return "no rule wants this event".to_owned() };
    let unsaid =
        if rule.targets.is_empty() { "a rule says so" } else { "its targets want other repositories" };
    let action = envelope.action.as_deref().map(|action| format!(".{action}")).unwrap_or_default();
    format!("{}{action}: {}", envelope.event, rule.reason.as_deref().unwrap_or(unsaid))
}

impl Rule {
    fn matches<P>(&self, envelope: &Envelope<P>) -> bool {
        let event = self.event == "*" || self.event == envelope.event;
        let action = self
            .actions
            .as_ref()
            .is_none_or(|actions| envelope.action.as_ref().is_some_and(|action| actions.contains(action)));
        event && action && self.branch.is_none_or(|Branch::Default| is_default_branch(envelope))
    }
}

fn is_default_branch<P>(envelope: &Envelope<P>) -> bool {
    let (Subject::Push(push), Some(repository)) = (&envelope.subject, &envelope.repository) else {
        return false;
    };
    push.git_ref.strip_prefix("refs/heads/").is_some_and(|branch| branch == repository.default_branch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_PUSH: &str = "[[routes]]\nevent = \"push\"\ntargets = []\nreason = \"too many\"";

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
        let rules = Rules::new("", Vec::new()).unwrap();
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
        let rules = Rules::new(NO_PUSH, Vec::new()).unwrap();
        let decision = rules.decide(&envelope("push", None, Some("refs/heads/main")));
        assert_eq!(decision, Decision::Ignored("push: too many".into()));
    }

    #[test]
    fn a_mistake_in_a_rule_is_named() {
        let unknown = Rules::new("[[routes]]\nevent = \"push\"\ntargets = [\"claud\"]", Vec::new())
            .unwrap_err()
            .to_string();
        assert_eq!(unknown, "[[routes]] number 1 names the target `claud`; there are: claude, ollama");
        assert!(
            Rules::new("[[routes]]\nevnt = \"push\"\ntargets = []", Vec::new())
                .unwrap_err()
                .to_string()
                .contains("evnt")
        );
    }

    fn wants(target: &str, events: &[&str], repositories: Option<&[&str]>) -> Subscription {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Subscription::new(target, &owned(events), repositories.map(owned).as_deref()).unwrap()
    }

    #[test]
    fn an_extra_target_gets_what_it_wants_beside_what_the_rules_say() {
        let rules = Rules::new(NO_PUSH, vec![wants("bot", &["push", "issues.opened"], None)]).unwrap();
        let to = |names: &[&str]| Decision::Targets(names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(rules.decide(&envelope("issues", Some("opened"), None)), to(&[OLLAMA, "bot"]));
        assert_eq!(rules.decide(&envelope("issues", Some("closed"), None)), to(&[OLLAMA]));
        let ignored_by_the_rules = envelope("push", None, Some("refs/heads/main"));
        assert_eq!(rules.decide(&ignored_by_the_rules), to(&["bot"]));
        assert_eq!(rules.decide(&envelope(TEST_EVENT, None, None)), to(&[CLAUDE, OLLAMA, "bot"]));
    }

    #[test]
    fn a_rule_may_name_an_extra_target_which_still_gets_its_own_repositories_only() {
        let text = "[[routes]]\nevent = \"push\"\ntargets = [\"bot\"]";
        let push = envelope("push", None, Some("refs/heads/main"));
        let all = Rules::new(text, vec![wants("bot", &["*"], None)]).unwrap();
        assert_eq!(all.decide(&push), Decision::Targets(vec!["bot".into()]), "once");
        let others = Rules::new(text, vec![wants("bot", &["*"], Some(&["o/other"]))]).unwrap();
        let reason = "push: its targets want other repositories";
        assert_eq!(others.decide(&push), Decision::Ignored(reason.into()));
    }

    #[test]
    fn a_target_that_would_get_nothing_is_a_mistake() {
        let nothing = Rules::new("", vec![wants("bot", &[], None)]).unwrap_err();
        assert_eq!(nothing, RuleError::Unwanted("bot".into()));
        let named = "[[routes]]\nevent = \"push\"\ntargets = [\"bot\"]";
        assert!(Rules::new(named, vec![wants("bot", &[], None)]).is_ok());
    }
}
