//! What an extra target wants beside what the rules send it. Pure.

use shared::event::Envelope;
use thiserror::Error;

/// The relay's own test event. It goes to every extra target, whatever that wants: so one finds out whether it works.
pub const TEST_EVENT: &str = "relay_test";
/// The longest list in a target's table.
const LONGEST_LIST: usize = 100;

/// What is wrong with a target's `events` or `repositories`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    /// Not an event.
    #[error(
        "`{0}` in `events` is neither an event (`push`), nor one of its actions (`pull_request.opened`), nor `*`"
    )]
    Event(String),
    /// Not a repository.
    #[error(
        "`{0}` in `repositories` is neither a repository (`owner/name`) nor all of an owner's (`owner/*`)"
    )]
    Repository(String),
    /// Too many.
    #[error("`{0}` has more than {LONGEST_LIST} entries")]
    TooMany(&'static str),
}

/// What one target wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    target: String,
    events: Vec<Pattern>,
    repositories: Option<Vec<(String, Option<String>)>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    All,
    Event(String),
    Action(String, String),
}

impl Subscription {
    /// What `target` wants: `events` are names of events, `event.action`, or `*`; `repositories` are `owner/name` or
    /// `owner/*`, and nothing of any other repository is sent to it, whoever asks for it.
    ///
    /// # Errors
    /// A pattern of another form, or too many.
    pub fn new(
        target: &str,
        events: &[String],
        repositories: Option<&[String]>,
    ) -> Result<Self, PatternError> {
        for (name, length) in [("events", events.len()), ("repositories", repositories.map_or(0, <[_]>::len))]
        {
            if length > LONGEST_LIST {
                return Err(PatternError::TooMany(name));
            }
        }
        let repositories = repositories.map(|list| list.iter().map(|text| repository(text)).collect());
        Ok(Self {
            target: target.to_owned(),
            events: events.iter().map(|text| event(text)).collect::<Result<_, _>>()?,
            repositories: repositories.transpose()?,
        })
    }

    /// Whose it is.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether anything is wanted.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether this event is wanted.
    pub fn wants<P>(&self, envelope: &Envelope<P>) -> bool {
        let wanted = |pattern: &Pattern| match pattern {
            Pattern::All => true,
            Pattern::Event(event) => *event == envelope.event,
            Pattern::Action(event, action) => {
                *event == envelope.event && envelope.action.as_ref() == Some(action)
            }
        };
        self.allows(envelope) && (envelope.event == TEST_EVENT || self.events.iter().any(wanted))
    }

    /// Whether events of its repository may be sent to the target at all. GitHub's names know no case.
    pub fn allows<P>(&self, envelope: &Envelope<P>) -> bool {
        let Some(allowed) = &self.repositories else { return true };
        let of = envelope.repository.as_ref().and_then(|repository| repository.full_name.split_once('/'));
        match of {
            Some((owner, name)) => allowed.iter().any(|(its_owner, its_name)| {
                its_owner.eq_ignore_ascii_case(owner)
                    && its_name.as_ref().is_none_or(|its_name| its_name.eq_ignore_ascii_case(name))
            }),
            None => envelope.event == TEST_EVENT,
        }
    }
}

fn event(text: &str) -> Result<Pattern, PatternError> {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    match text.split_once('.') {
        _ if text == "*" => Ok(Pattern::All),
        None if is_word(text) => Ok(Pattern::Event(text.to_owned())),
        Some((event, action)) if is_word(event) && is_word(action) => {
            Ok(Pattern::Action(event.to_owned(), action.to_owned()))
        }
        _ => Err(PatternError::Event(text.to_owned())),
    }
}

fn repository(text: &str) -> Result<(String, Option<String>), PatternError> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    match text.split_once('/') {
        Some((owner, "*")) if is_name(owner) => Ok((owner.to_owned(), None)),
        Some((owner, name)) if is_name(owner) && is_name(name) => {
            Ok((owner.to_owned(), Some(name.to_owned())))
        }
        _ => Err(PatternError::Repository(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(event: &str, action: Option<&str>, repository: Option<&str>) -> Envelope {
        let repository = repository
            .map(|name| serde_json::json!({"full_name": name, "private": true, "default_branch": "main"}));
        serde_json::from_value(serde_json::json!({"version": 1, "id": "d", "event": event, "action": action,
            "subject": {"kind": "other"}, "received_at": "2026-11-22T10:00:00Z", "payload": {}, "repository": repository}))
        .unwrap()
    }

    fn subscription(events: &[&str], repositories: Option<&[&str]>) -> Result<Subscription, PatternError> {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Subscription::new("bot", &owned(events), repositories.map(owned).as_deref())
    }

    #[test]
    fn an_event_is_wanted_by_its_name_its_action_or_with_all_others() {
        let some = subscription(&["push", "pull_request.opened"], None).unwrap();
        assert!(some.wants(&envelope("push", None, Some("o/r"))));
        assert!(some.wants(&envelope("pull_request", Some("opened"), Some("o/r"))));
        assert!(!some.wants(&envelope("pull_request", Some("closed"), Some("o/r"))));
        assert!(!some.wants(&envelope("pull_request", None, Some("o/r"))));
        assert!(subscription(&["*"], None).unwrap().wants(&envelope("star", Some("created"), None)));
        assert!(!subscription(&[], None).unwrap().wants(&envelope("push", None, Some("o/r"))));
    }

    #[test]
    fn nothing_of_another_repository_is_wanted() {
        let some = subscription(&["*"], Some(&["owner/name", "acme/*"])).unwrap();
        for (repository, wanted) in [
            (Some("owner/name"), true),
            (Some("Owner/Name"), true),
            (Some("owner/other"), false),
            (Some("acme/anything"), true),
            (Some("acme-two/anything"), false),
            (None, false),
        ] {
            assert_eq!(some.wants(&envelope("push", None, repository)), wanted, "{repository:?}");
        }
    }

    #[test]
    fn the_relays_own_test_event_goes_to_every_extra_target() {
        let narrow = subscription(&["push"], Some(&["o/r"])).unwrap();
        assert!(narrow.wants(&envelope(TEST_EVENT, None, None)));
    }

    #[test]
    fn a_mistake_in_a_pattern_is_named() {
        for event in ["", "pull_request.", "pull_request.*", "Push", "a.b.c", "pull request"] {
            assert_eq!(subscription(&[event], None), Err(PatternError::Event(event.to_owned())));
        }
        for repository in ["", "name", "owner/", "*/name", "*", "o/r/x", "o/r*"] {
            let mistake = subscription(&["*"], Some(&[repository]));
            assert_eq!(mistake, Err(PatternError::Repository(repository.to_owned())));
        }
        assert_eq!(subscription(&["push"; 101], None), Err(PatternError::TooMany("events")));
    }
}
