//! Who made a pull request: a person, Jules, or another program; and whether a program gets another round. Pure.
//!
//! What tells Jules is text that anybody can write. It is good for a label and for a limit, which only take something away.
//! **Nobody is allowed anything by it**: permissions are asked of GitHub, for the account that signed the event.

use std::fmt;

use serde::{Deserialize, Serialize};
use shared::event::{Envelope, Subject};
use shared::memory::Trust;

use crate::earlier::Told;
use crate::text::{code_span, postable_line, shorten};

/// Jules opens pull requests under this account, or under that of the person who started it.
const JULES: [&str; 2] = ["google-labs-jules[bot]", "google-labs-jules"];
/// The footer of its descriptions: `PR created automatically by Jules for task [ID](URL) started by @login`.
const FOOTER: &str = "PR created automatically by Jules for task";
/// Where its tasks are.
const TASKS: &str = "https://jules.google.com/task/";
const LONGEST_TASK: usize = 64;
const LONGEST_NAME: usize = 60;

/// Programs that open pull requests, by the beginning of their account's name. Some have no `[bot]` in it.
const PROGRAMS: [(&str, &str); 18] = [
    ("dependabot", "Dependabot"),
    ("renovate", "Renovate"),
    ("copilot", "GitHub Copilot"),
    ("github-copilot", "GitHub Copilot"),
    ("devin-ai-integration", "Devin"),
    ("chatgpt-codex-connector", "Codex"),
    ("codex", "Codex"),
    ("cursor", "Cursor"),
    ("cursoragent", "Cursor"),
    ("claude", "Claude"),
    ("gemini-code-assist", "Gemini Code Assist"),
    ("coderabbitai", "CodeRabbit"),
    ("sweep-ai", "Sweep"),
    ("openhands-agent", "OpenHands"),
    ("factory-droid", "Factory"),
    ("amazon-q-developer", "Amazon Q"),
    ("github-actions", "GitHub Actions"),
    ("pre-commit-ci", "pre-commit.ci"),
];
/// Accounts of [`PROGRAMS`] that are programs without `[bot]`; a person may be called `claude`.
const UNMARKED: [&str; 5] =
    ["cursoragent", "devin-ai-integration", "openhands-agent", "copilot-swe-agent", "renovate-bot"];

/// Who made a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// A person, as far as can be told.
    Person,
    /// Google's Jules.
    Jules {
        /// Its task, where the description names one: letters, digits and dashes.
        task: Option<String>,
    },
    /// Another program, by a name for people to read.
    Bot(String),
}

/// Who made a pull request, by its author's login, whether GitHub calls the account a bot, and its description.
pub fn of_pull(author: &str, is_bot: bool, body: &str) -> Provenance {
    let footer = footer(body);
    if JULES.iter().any(|login| author.eq_ignore_ascii_case(login)) || footer.is_some() {
        return Provenance::Jules { task: footer.flatten() };
    }
    let name = author.strip_suffix("[bot]").unwrap_or(author);
    let is_marked = is_bot || name.len() < author.len();
    if !is_marked && !UNMARKED.iter().any(|login| author.eq_ignore_ascii_case(login)) {
        return Provenance::Person;
    }
    let known = PROGRAMS.iter().find(|(login, _)| is_called(name, login));
    Provenance::Bot(known.map_or_else(|| shorten(name, LONGEST_NAME), |(_, name)| (*name).to_owned()))
}

/// Whether an account is called so, alone or with a suffix: `copilot-swe-agent`.
fn is_called(name: &str, login: &str) -> bool {
    let rest = name
        .get(..login.len())
        .filter(|start| start.eq_ignore_ascii_case(login))
        .map(|_| &name[login.len()..]);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Whether the description has the footer of Jules', and the task that it names. Other programs write below it, and people
/// quote such lines: only one that begins with it counts.
fn footer(body: &str) -> Option<Option<String>> {
    let mut lines = body.lines().rev();
    let rest = lines.find_map(|line| line.trim().trim_start_matches(['*', '_']).strip_prefix(FOOTER))?;
    let task =
        rest.split_once(TASKS).map(|(_, behind)| behind).or_else(|| rest.split_once('[').map(|(_, id)| id));
    let task = task.unwrap_or(rest.trim_start());
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let id: String = task.chars().take_while(|c| is_part(*c)).take(LONGEST_TASK).collect();
    Some(Some(id).filter(|id| id.chars().any(|c| c.is_ascii_digit())))
}

impl Provenance {
    /// Whether a program made it: its rounds are counted.
    pub fn is_program(&self) -> bool {
        !matches!(self, Self::Person)
    }

    /// Where Jules' task can be seen.
    pub fn task_url(&self) -> Option<String> {
        match self {
            Self::Jules { task: Some(task) } => Some(format!("{TASKS}{task}")),
            _ => None,
        }
    }
}

/// For people: `Jules`, `Dependabot`. A bot's own name is anybody's text: on GitHub it goes through
/// [`crate::text::postable_line`].
impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Person => "a person",
            Self::Jules { .. } => "Jules",
            Self::Bot(name) => name,
        })
    }
}

#[derive(Deserialize)]
struct Payload {
    pull_request: Pull,
}

#[derive(Deserialize)]
struct Pull {
    author_association: Option<String>,
    #[serde(default)]
    head: Branch,
    #[serde(default)]
    base: Branch,
}

#[derive(Default, Deserialize)]
struct Branch {
    repo: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

/// How far those are trusted who wrote the change of an event, by GitHub's payload. What cannot be told is a stranger's.
pub fn trust(event: &Envelope) -> Trust {
    match event.subject {
        // only those can push who may write
        Subject::Push(_) => Trust::Member,
        Subject::PullRequest(_) => {
            let payload: Option<Payload> = serde_json::from_str(event.payload.get()).ok();
            payload.map_or(Trust::Fork, |payload| trust_of(&payload.pull_request))
        }
        Subject::Comment(_) | Subject::Other => Trust::Fork,
    }
}

fn trust_of(pull: &Pull) -> Trust {
    let name = |branch: &'_ Branch| branch.repo.as_ref().map(|repo| repo.full_name.to_lowercase());
    // a fork that was deleted has no name any more
    let is_inside = name(&pull.head).is_some_and(|head| Some(head) == name(&pull.base));
    Trust::of(pull.author_association.as_deref(), !is_inside, is_inside)
}

/// Why a program's pull request gets no further review by itself. Worded for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// It had its rounds.
    #[error(
        "it had {} of review, the most that a program's pull request gets by itself; a person decides how to go on, `/ai review` makes another",
        rounds(*.0)
    )]
    CapReached(u32),
    /// Nothing was fixed since the last one.
    #[error(
        "nothing that the last review found was fixed since; a person decides how to go on, `/ai review` makes another"
    )]
    NoProgress,
}

fn rounds(count: u32) -> String {
    if count == 1 { "1 round".to_owned() } else { format!("{count} rounds") }
}

/// Whether a review is made after `rounds_done` of them. People get as many as they push; programs answer programs without
/// end, so they get `cap` rounds, and none after one that fixed nothing (`progress`: whether anything was fixed since the
/// last one; without a round before it does not matter).
///
/// # Errors
/// [`Stop`], to be told to people once.
pub fn may_review(provenance: &Provenance, rounds_done: u32, cap: u32, progress: bool) -> Result<(), Stop> {
    if !provenance.is_program() {
        Ok(())
    } else if rounds_done >= cap {
        Err(Stop::CapReached(rounds_done))
    } else if rounds_done > 0 && !progress {
        Err(Stop::NoProgress)
    } else {
        Ok(())
    }
}

/// Findings in one hand-off; the review has them all.
const MOST_HANDED_OVER: usize = 30;
const LONGEST_PATH: usize = 200;

/// A comment that hands the open findings to Jules, which acts on `@jules` by the person who started its task; `None` if
/// there are none. The mention is ours; all that a model wrote is disarmed. `review` is the address of the review, by GitHub.
pub fn hand_off<'a>(open: impl IntoIterator<Item = &'a Told>, review: Option<&str>) -> Option<String> {
    let lines: Vec<String> = open.into_iter().map(line).collect();
    if lines.is_empty() {
        return None;
    }
    let where_from = review.map_or_else(|| "the review".to_owned(), |url| format!("[the review]({url})"));
    let mut text =
        format!("@jules please fix what {where_from} of this pull request found, and nothing else:\n\n");
    text.push_str(&lines.iter().take(MOST_HANDED_OVER).map(String::as_str).collect::<String>());
    if let Some(more) = lines.len().checked_sub(MOST_HANDED_OVER).filter(|more| *more > 0) {
        text.push_str(&format!("- and {more} more, which stand in the review\n"));
    }
    text.push_str("\nWhere a finding is wrong, leave the code as it is and say so in the description.");
    Some(text)
}

fn line(told: &Told) -> String {
    let path = shorten(&told.path, LONGEST_PATH);
    let place = if told.line == 0 { path } else { format!("{path}:{}", told.line) };
    format!("- **{}** {}: {}\n", told.severity, code_span(&place), postable_line(&told.title))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::earlier::Standing;
    use crate::fingerprint::{Fingerprint, Place};
    use crate::verdict::{Category, Severity, Side};
    use proptest::prelude::*;

    const BODY: &str = "Explain the repo.\n\n---\n*PR created automatically by Jules for task [14039077492578475302](https://jules.google.com/task/14039077492578475302) started by @chanka*\n";

    fn jules(task: Option<&str>) -> Provenance {
        Provenance::Jules { task: task.map(str::to_owned) }
    }

    #[test]
    fn jules_is_known_by_its_account_or_its_footer() {
        let task = Some("14039077492578475302");
        assert_eq!(of_pull("chanka", false, BODY), jules(task));
        assert_eq!(of_pull("google-labs-jules[bot]", true, BODY), jules(task));
        assert_eq!(of_pull("Google-Labs-Jules", false, "Fix"), jules(None));
        assert_eq!(
            of_pull("ann", false, &format!("x\n_{FOOTER} 6837743215401320221_")),
            jules(Some("6837743215401320221"))
        );
        assert_eq!(of_pull("ann", false, &format!("{FOOTER} <b>")), jules(None));
        let url = of_pull("chanka", false, BODY).task_url();
        assert_eq!(url.as_deref(), Some("https://jules.google.com/task/14039077492578475302"));
        assert_eq!(of_pull("chanka", false, &format!("{BODY}\n## Summary by a bot\nx")), jules(task));
        for body in [BODY.replace("*PR", "> *PR"), BODY.replace("*PR", "Like: PR"), String::new()] {
            assert_eq!(of_pull("ann", false, &body), Provenance::Person, "{body}");
        }
    }

    #[test]
    fn programs_have_names_that_people_know() {
        for (author, is_bot, name) in [
            ("dependabot[bot]", true, "Dependabot"),
            ("dependabot-preview[bot]", true, "Dependabot"),
            ("renovate[bot]", false, "Renovate"),
            ("Copilot", true, "GitHub Copilot"),
            ("copilot-swe-agent[bot]", true, "GitHub Copilot"),
            ("devin-ai-integration[bot]", true, "Devin"),
            ("chatgpt-codex-connector[bot]", true, "Codex"),
            ("cursor[bot]", true, "Cursor"),
            ("cursoragent", false, "Cursor"),
            ("claude[bot]", true, "Claude"),
            ("acme-ci[bot]", true, "acme-ci"),
            ("acme-ci", true, "acme-ci"),
        ] {
            assert_eq!(of_pull(author, is_bot, ""), Provenance::Bot(name.into()), "{author}");
        }
        for person in ["ann", "claude", "cursor", "codex", "robot", "renovate", ""] {
            assert_eq!(of_pull(person, false, "Fix"), Provenance::Person, "{person}");
        }
        assert_eq!(Provenance::Bot("Devin".into()).to_string(), "Devin");
    }

    #[test]
    fn programs_get_a_few_rounds_and_people_all() {
        let bot = Provenance::Bot("Devin".into());
        for program in [&bot, &jules(None)] {
            assert_eq!(may_review(program, 0, 3, false), Ok(()));
            assert_eq!(may_review(program, 2, 3, true), Ok(()));
            assert_eq!(may_review(program, 1, 3, false), Err(Stop::NoProgress));
            assert_eq!(may_review(program, 3, 3, true), Err(Stop::CapReached(3)));
            assert_eq!(may_review(program, 0, 0, true), Err(Stop::CapReached(0)));
        }
        assert_eq!(may_review(&Provenance::Person, 50, 3, false), Ok(()));
        assert!(
            Stop::CapReached(3).to_string().contains("3 rounds")
                && Stop::NoProgress.to_string().contains("/ai review")
        );
    }

    fn told(title: &str) -> Told {
        Told {
            fingerprint: Fingerprint::new(Place::new("src/a.rs", title, None), "rule", Category::Bug),
            severity: Severity::Major,
            path: "src/a.rs".into(),
            line: 12,
            side: Side::Right,
            title: title.into(),
            standing: Standing::Open,
            is_anchored: true,
            has_comment: true,
            url: None,
        }
    }

    #[test]
    fn jules_is_told_what_is_open_and_mentioned_once() {
        assert_eq!(hand_off([], None), None);
        let open = [told("Off by one"), Told { line: 0, ..told("@octocat ![x](http://evil) /merge") }];
        let text = hand_off(&open, Some("https://github.com/o/r/pull/7#pullrequestreview-1")).unwrap();
        insta::assert_snapshot!(text);
        assert_eq!(text.matches('@').count(), 2);
        let many = vec![told("x"); 40];
        assert!(hand_off(&many, None).unwrap().contains("- and 10 more"));
    }

    #[test]
    fn only_a_branch_of_the_repository_is_trusted() {
        let trust = |head: &str, association: &str| {
            let event = serde_json::json!({
                "version": 1, "id": "d1", "event": "pull_request", "received_at": "2026-11-22T10:00:00Z",
                "subject": {"kind": "pull_request", "number": 7, "head_sha": "h", "base_sha": "b", "title": "t", "author": "a", "draft": false},
                "payload": {"pull_request": {"author_association": association, "base": {"repo": {"full_name": "o/r"}},
                    "head": {"repo": serde_json::from_str::<serde_json::Value>(head).unwrap()}}},
            });
            super::trust(&serde_json::from_value(event).unwrap())
        };
        assert_eq!(trust(r#"{"full_name": "O/r"}"#, "CONTRIBUTOR"), Trust::Member);
        assert_eq!(trust(r#"{"full_name": "o/r"}"#, "OWNER"), Trust::Maintainer);
        assert_eq!(trust(r#"{"full_name": "mallory/r"}"#, "OWNER"), Trust::Fork);
        assert_eq!(trust("null", "MEMBER"), Trust::Fork);
        assert_eq!(trust("7", "MEMBER"), Trust::Fork, "what cannot be read");
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(author in "\\PC{0,20}|[a-z-]{1,9}\\[bot\\]", is_bot: bool, body in "\\PC{0,40}") {
            let found = of_pull(&author, is_bot, &format!("{body}\n{FOOTER} {body}"));
            prop_assert_ne!(found, Provenance::Person);
            let _ = of_pull(&author, is_bot, &body).to_string();
        }
    }
}
