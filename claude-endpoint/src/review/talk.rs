//! Talking back: `/ai …` comments, and replies to the review's own comments.
//!
//! Only people with write access are answered, so two bots cannot keep each other talking, and nobody else spends money.

use queue::Finish;
use serde::{Deserialize, Serialize};
use shared::event::{Comment, SenderKind};
use shared::outcome::State as Outcome;

use super::ending::{self, Stop};
use super::{Journey, Progress, Review, progress};
use crate::commands::{self, Command};
use crate::github::{GithubError, Reaction, Target, ThreadComment};
use crate::marker::Bond;
use crate::text::postable;

mod answer;
mod pausing;

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
    text: String,
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
}

impl Review {
    pub(super) async fn comment(&self, journey: &mut Journey<'_>, comment: &Comment) -> Result<Finish, Stop> {
        if let Some(reason) = self.not_for_us(journey, comment) {
            return Ok(ending::skipped(reason));
        }
        let place = place(journey, comment);
        let Some(call) = self.call(journey, comment, place).await? else {
            return Ok(ending::skipped("the comment is neither a command nor a reply to one of ours"));
        };
        if !self.github.permission(journey.repository, &comment.author).await?.may_write() {
            return Ok(ending::skipped(format!(
                "{} has no write access, so is not answered",
                comment.author
            )));
        }
        let subject = subject(comment);
        let bond = Bond { repository: journey.repository, subject: &subject, head: "" };
        if let Some(url) = self.answered_before(journey, comment, place, bond).await? {
            return Ok(Finish {
                url: Some(url),
                ..Finish::new(Outcome::Completed.as_str(), "answered before")
            });
        }
        let target = target(comment, place);
        let reaction = self.github.react(journey.repository, target, Reaction::Eyes).await.ok();
        let text = self.answer(journey, comment, &call).await?;
        let url = self.reply(journey, comment, place, bond, &text).await?;
        if let Some(reaction) = reaction {
            // an eye too many is no reason to answer again
            let _ = self.github.unreact(journey.repository, target, reaction).await;
        }
        Ok(Finish { url: Some(url), ..Finish::new(Outcome::Completed.as_str(), "answered") })
    }

    /// Why nobody has to look at this comment.
    fn not_for_us(&self, journey: &Journey<'_>, comment: &Comment) -> Option<String> {
        let is_new = journey.event.action.as_deref() == Some("created");
        let is_known =
            matches!(journey.event.event.as_str(), "issue_comment" | "pull_request_review_comment");
        let is_bot = journey.event.sender.as_ref().is_some_and(|sender| sender.kind == SenderKind::Bot);
        if !is_new || !is_known {
            let action = journey.event.action.as_deref().unwrap_or("no action");
            Some(format!("`{}.{action}` asks for nothing", journey.event.event))
        } else if is_bot || self.marker.is_like_ours(&comment.body) {
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

    async fn call(
        &self,
        journey: &Journey<'_>,
        comment: &Comment,
        place: Place,
    ) -> Result<Option<Call>, GithubError> {
        if let Some(command) = commands::parse(&comment.body) {
            return Ok(Some(Call::Command(command)));
        }
        let Place::Thread(root) = place else { return Ok(None) };
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
        comment: &Comment,
        place: Place,
        bond: Bond<'_>,
    ) -> Result<Option<String>, GithubError> {
        let is_it = |body: &str| self.marker.is_in(body, bond);
        match place {
            Place::Conversation => {
                let since = Some(journey.event.received_at);
                let ours = self.github.own_issue_comments(journey.repository, comment.number, since).await?;
                Ok(ours.into_iter().find(|ours| is_it(&ours.body)).map(|ours| ours.url))
            }
            Place::Thread(_) => {
                let found = self.github.find_comment(journey.repository, comment.number, is_it).await?;
                Ok(found.map(|found| found.url))
            }
        }
    }

    /// The answer, kept before it is posted: it may have been paid for.
    async fn answer(
        &self,
        journey: &mut Journey<'_>,
        comment: &Comment,
        call: &Call,
    ) -> Result<String, Stop> {
        let Progress { made, .. } = progress::<Answered>(journey.lease);
        if let Some(answered) = made {
            return Ok(answered.text);
        }
        let text = self.work_out(journey, comment, call).await?;
        let answered = Answered { text };
        journey.checkpoint(&Progress { paid: journey.paid, made: Some(&answered) }).await?;
        Ok(answered.text)
    }

    async fn reply(
        &self,
        journey: &mut Journey<'_>,
        comment: &Comment,
        place: Place,
        bond: Bond<'_>,
        text: &str,
    ) -> Result<String, Stop> {
        let _alone = self.posting.lock().await;
        let body = format!("{}\n\n{}", postable(text), self.marker.make(bond, &journey.event.id, ""));
        let (repository, number) = (journey.repository, comment.number);
        let posting = async {
            match place {
                Place::Conversation => self.github.issue_comment(repository, number, &body).await,
                Place::Thread(root) => self.github.reply(repository, number, root, &body).await,
            }
        };
        Ok(journey.steps.run("post", "answered", posting).await?.url)
    }
}

fn place(journey: &Journey<'_>, comment: &Comment) -> Place {
    if journey.event.event != "pull_request_review_comment" {
        return Place::Conversation;
    }
    let payload: Payload = serde_json::from_str(journey.event.payload.get()).unwrap_or_default();
    Place::Thread(payload.comment.in_reply_to_id.unwrap_or(comment.comment_id))
}

fn target(comment: &Comment, place: Place) -> Target {
    match place {
        Place::Conversation => Target::IssueComment(comment.comment_id),
        Place::Thread(_) => Target::ReviewComment(comment.comment_id),
    }
}
