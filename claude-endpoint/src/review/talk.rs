//! Talking back: `/ai …` comments, and replies to the review's own comments.
//!
//! Only people with write access are answered, so two bots cannot keep each other talking, and nobody else spends money.

use jiff::Timestamp;
use queue::Finish;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::event::{Comment, SenderKind};
use shared::outcome::State as Outcome;

use super::ending::{self, Stop};
use super::{Journey, Progress, Review, progress};
use crate::commands::{self, Command};
use crate::github::{GithubError, Reaction, Target, ThreadComment};
use crate::marker::Bond;
use crate::provenance;
use crate::text::postable_line;

mod answer;
mod pausing;

/// GitHub's name for a comment on the lines of a pull request.
const BESIDE_CODE: &str = "pull_request_review_comment";

/// An answer of ours, as in [`Bond::subject`].
fn subject(comment: &Comment) -> String {
    format!("comment/{}", comment.comment_id)
}

/// What is wanted, and where the answer goes.
#[derive(Debug)]
enum Call {
    /// A command in the conversation, or in a thread beside the code.
    Command(Command),
    /// A reply to one of our own comments.
    Reply(Vec<ThreadComment>),
}

/// Where the answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The conversation of an issue or pull request.
    Conversation,
    /// The thread of this comment.
    Thread(u64),
}

/// What was worked out already, and paid for.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Answered {
    /// Markdown, fit to be posted.
    text: String,
    /// Why it is no answer, if it is none.
    #[serde(default)]
    failure: Option<String>,
    /// What the outcome says beside it.
    #[serde(default)]
    detail: Map<String, Value>,
}

impl From<String> for Answered {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

impl Answered {
    fn failed(reason: &str) -> Self {
        let text = format!("That did not work: {}", postable_line(reason));
        Self { text, failure: Some(reason.to_owned()), ..Self::default() }
    }
}

/// GitHub's payload, as far as the envelope does not say it.
#[derive(Debug, Default, Deserialize)]
struct Payload {
    #[serde(default)]
    comment: Wire,
}

#[derive(Debug, Default, Deserialize)]
struct Wire {
    in_reply_to_id: Option<u64>,
    created_at: Option<Timestamp>,
    path: Option<String>,
    line: Option<u32>,
    diff_hunk: Option<String>,
}

/// A comment, and what GitHub's payload tells of it.
#[derive(Debug)]
struct Said<'a> {
    comment: &'a Comment,
    wire: Wire,
    place: Place,
}

impl Review {
    pub(super) async fn comment(&self, journey: &mut Journey<'_>, comment: &Comment) -> Result<Finish, Stop> {
        let said = Said::new(journey, comment);
        if let Some(reason) = self.not_for_us(journey, &said) {
            return Ok(ending::skipped(reason));
        }
        let Some(call) = self.call(journey, &said).await? else {
            return Ok(ending::skipped("the comment is neither a command nor a reply to one of ours"));
        };
        if !self.github.permission(journey.repository, &comment.author).await?.may_write() {
            return Ok(ending::skipped(format!(
                "{} has no write access, so is not answered",
                comment.author
            )));
        }
        let (repository, target) = (journey.repository, said.target());
        // an eye too few or too many is no reason not to answer, or to answer again
        let eyes = self.github.react(repository, target, Reaction::Eyes).await.ok();
        let ended = self.converse(journey, &said, &call).await;
        if let Some(eyes) = eyes {
            let _ = self.github.unreact(repository, target, eyes).await;
        }
        ended
    }

    async fn converse(
        &self,
        journey: &mut Journey<'_>,
        said: &Said<'_>,
        call: &Call,
    ) -> Result<Finish, Stop> {
        let subject = subject(said.comment);
        let bond = Bond { repository: journey.repository, subject: &subject, head: "" };
        if let Some(url) = self.answered_before(journey, said, bond).await? {
            return Ok(Finish {
                url: Some(url),
                ..Finish::new(Outcome::Completed.as_str(), "answered before")
            });
        }
        let Answered { text, failure, mut detail } = self.answer(journey, said, call).await?;
        let url = self.reply(journey, said, bond, &text).await?;
        detail.insert("asked".to_owned(), call.name().into());
        let (state, summary) = match failure {
            None => (Outcome::Completed, "answered".to_owned()),
            Some(reason) => (Outcome::Failed, format!("answered that it did not work: {reason}")),
        };
        Ok(Finish { url: Some(url), detail, ..Finish::new(state.as_str(), summary) })
    }

    /// Why nobody has to look at this comment.
    fn not_for_us(&self, journey: &Journey<'_>, said: &Said<'_>) -> Option<String> {
        let event = journey.event;
        let is_new = event.action.as_deref() == Some("created");
        let is_known = matches!(event.event.as_str(), "issue_comment" | BESIDE_CODE);
        let is_bot = event.sender.as_ref().is_some_and(|sender| sender.kind == SenderKind::Bot);
        // an account that GitHub does not call a bot can be one all the same
        let is_program = || provenance::of_pull(&said.comment.author, is_bot, "").is_program();
        if !is_new || !is_known {
            let action = event.action.as_deref().unwrap_or("no action");
            Some(format!("`{}.{action}` asks for nothing", event.event))
        } else if is_program() || self.marker.is_like_ours(&said.comment.body) {
            Some("bots are not answered, and neither are we ourselves".to_owned())
        } else if !self.github.can_post() {
            Some(
                "there is nobody as whom to answer: set GITHUB_TOKEN, or GITHUB_APP_ID with its key"
                    .to_owned(),
            )
        } else {
            None
        }
    }

    async fn call(&self, journey: &Journey<'_>, said: &Said<'_>) -> Result<Option<Call>, GithubError> {
        let Said { comment, place, .. } = said;
        if let Some(command) = commands::parse(&comment.body) {
            return Ok(Some(Call::Command(command)));
        }
        let &Place::Thread(root) = place else { return Ok(None) };
        if root == comment.comment_id {
            return Ok(None);
        }
        let thread = self.github.thread_of(journey.repository, comment.number, root).await?;
        let subject = super::made::subject_of_pull(comment.number);
        let is_ours = thread.first().is_some_and(|first| {
            first.is_ours && self.marker.find(&first.body, journey.repository, &subject).is_some()
        });
        Ok(is_ours.then_some(Call::Reply(thread)))
    }

    /// Our answer to this comment, if it is there although we do not know.
    async fn answered_before(
        &self,
        journey: &Journey<'_>,
        said: &Said<'_>,
        bond: Bond<'_>,
    ) -> Result<Option<String>, GithubError> {
        let (repository, number) = (journey.repository, said.comment.number);
        let is_it = |body: &str| self.marker.is_in(body, bond);
        match said.place {
            Place::Conversation => {
                // by GitHub's own clock: no answer is older than its question
                let ours = self.github.own_issue_comments(repository, number, said.wire.created_at).await?;
                Ok(ours.into_iter().find(|ours| is_it(&ours.body)).map(|ours| ours.url))
            }
            Place::Thread(_) => {
                let found = self.github.find_comment(repository, number, is_it).await?;
                Ok(found.map(|found| found.url))
            }
        }
    }

    /// The answer, kept before it is posted: it may have been paid for. Where there will never be one, it says why.
    async fn answer(
        &self,
        journey: &mut Journey<'_>,
        said: &Said<'_>,
        call: &Call,
    ) -> Result<Answered, Stop> {
        let Progress { made, .. } = progress::<Answered>(journey.lease);
        if let Some(answered) = made {
            return Ok(answered);
        }
        let answered = match self.work_out(journey, said, call).await {
            Ok(answered) => answered,
            Err(stop) => match ending::final_reason(&stop, journey.lease.job().attempt) {
                Some(reason) => Answered::failed(&reason),
                None => return Err(stop),
            },
        };
        journey.checkpoint(&Progress { paid: journey.paid, made: Some(&answered) }).await?;
        Ok(answered)
    }

    async fn reply(
        &self,
        journey: &mut Journey<'_>,
        said: &Said<'_>,
        bond: Bond<'_>,
        text: &str,
    ) -> Result<String, Stop> {
        let _alone = self.posting.lock().await;
        let body = format!("{text}\n\n{}", self.marker.make(bond, &journey.event.id, ""));
        let (repository, number) = (journey.repository, said.comment.number);
        let posting = async {
            match said.place {
                Place::Conversation => self.github.issue_comment(repository, number, &body).await,
                Place::Thread(root) => self.github.reply(repository, number, root, &body).await,
            }
        };
        Ok(journey.steps.run("post", "answered", posting).await?.url)
    }
}

impl<'a> Said<'a> {
    fn new(journey: &Journey<'_>, comment: &'a Comment) -> Self {
        let payload = serde_json::from_str::<Payload>(journey.event.payload.get());
        let Payload { comment: wire } = payload.unwrap_or_default();
        let place = match journey.event.event.as_str() {
            BESIDE_CODE => Place::Thread(wire.in_reply_to_id.unwrap_or(comment.comment_id)),
            _ => Place::Conversation,
        };
        Self { comment, wire, place }
    }

    fn target(&self) -> Target {
        match self.place {
            Place::Conversation => Target::IssueComment(self.comment.comment_id),
            Place::Thread(_) => Target::ReviewComment(self.comment.comment_id),
        }
    }
}

impl Call {
    /// As in the outcome.
    fn name(&self) -> &'static str {
        match self {
            Self::Command(command) => command.verb(),
            Self::Reply(_) => "reply",
        }
    }
}
