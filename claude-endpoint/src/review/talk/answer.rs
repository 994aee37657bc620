//! What a command or a reply is answered.

use std::fmt::Write;

use queue::Finish;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::event::{Comment, PullRequest};
use shared::memory::{Trust, Update};

use super::super::ending::{Remembered, Stop};
use super::super::made::Topic;
use super::super::pull::Head;
use super::super::{Journey, Review, context, progress};
use super::Call;
use crate::commands::{self, Command};
use crate::desk::{Errand, NotAsked, Purpose};
use crate::github::ThreadComment;
use crate::memory::MemoryError;
use crate::prompt;
use crate::reviewer::{Question, ReviewError};
use crate::text::{code_span, prose_for_model, quoted_block, shorten};

/// Stable, so that it can be cached.
const INSTRUCTIONS: &str = include_str!("answer.md");
const MOST_OUTPUT_TOKENS: u32 = 4_000;
const LONGEST_ANSWER: usize = 8_000;
const LONGEST_QUESTION: usize = 4_000;
/// Comments of a thread that the model reads, the newest.
const MOST_SAID: usize = 20;
/// What the memory is asked for a question, and shows for `/ai recall`.
const MOST_MEMORIES: usize = 8;
const LONGEST_MEMORY: usize = 600;

/// What the model answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    answer: String,
}

fn schema() -> Value {
    json!({"type": "object", "additionalProperties": false, "required": ["answer"],
           "properties": {"answer": {"type": "string"}}})
}

fn parse(text: &str) -> Result<String, String> {
    let Answer { answer } = serde_json::from_str(text.trim()).map_err(|error| error.to_string())?;
    let answer = answer.trim();
    if answer.is_empty() {
        Err("the answer is empty".to_owned())
    } else {
        Ok(shorten(answer, LONGEST_ANSWER))
    }
}

impl Review {
    /// The answer's text, Markdown.
    pub(super) async fn work_out(
        &self,
        journey: &mut Journey<'_>,
        comment: &Comment,
        call: &Call,
    ) -> Result<String, Stop> {
        match call {
            Call::Command(Command::Review) => self.review_now(journey, comment).await,
            Call::Command(Command::Ask(question)) => self.ask_about(journey, comment, question, &[]).await,
            Call::Command(Command::Remember(text)) => self.remember_this(journey, comment, text).await,
            Call::Command(Command::Recall(query)) => self.recall_this(journey, query).await,
            Call::Command(Command::Forget(id)) => self.forget(journey, id).await,
            Call::Command(Command::Pause) => self.pause(journey, comment, true).await,
            Call::Command(Command::Resume) => self.pause(journey, comment, false).await,
            Call::Command(Command::Help) => Ok(commands::help().to_owned()),
            Call::Command(Command::Unknown(word)) => {
                Ok(format!("I know no {}.\n\n{}", code_span(word), commands::help()))
            }
            Call::Reply(thread) => self.ask_about(journey, comment, &comment.body, thread).await,
        }
    }

    /// A review of the present head, all of it, whatever was reviewed or paused before.
    async fn review_now(&self, journey: &mut Journey<'_>, comment: &Comment) -> Result<String, Stop> {
        if !comment.is_pull_request {
            return Ok("There is nothing to review: this is no pull request.".to_owned());
        }
        let pull = self.github.pull(journey.repository, comment.number).await?;
        let pr = PullRequest {
            number: comment.number,
            head_sha: pull.head_sha,
            base_sha: pull.base_sha,
            title: pull.title,
            author: pull.author,
            draft: pull.draft,
            updated_at: pull.updated_at,
        };
        let made_before = progress(journey.lease).made;
        let head = Head { pr: &pr, is_asked_for: true };
        let Finish { summary, url, .. } = match self.review_head(journey, head, made_before).await {
            Ok(finish) | Err(Stop::Finish(finish) | Stop::Already(finish, _)) => finish,
            Err(stop) => return Err(stop),
        };
        let at = pr.head_sha.get(..7).unwrap_or(&pr.head_sha).to_owned();
        Ok(match url {
            Some(url) => format!("{at}: {summary}. [The review]({url})"),
            None => format!("{at}: {summary}."),
        })
    }

    async fn ask_about(
        &self,
        journey: &mut Journey<'_>,
        comment: &Comment,
        question: &str,
        thread: &[ThreadComment],
    ) -> Result<String, Stop> {
        let mut user = match comment.is_pull_request {
            true => self.about_pull(journey, comment.number, question).await?,
            false => self.about_issue(journey, comment.number, question).await?,
        };
        user.push_str(&said(thread));
        let question = shorten(&prose_for_model(question), LONGEST_QUESTION);
        let _ = write!(user, "\n## Question\n| by {}\n{}", comment.author, quoted_block(&question));
        let subject = super::subject(comment);
        let delivery = journey.event.id.clone();
        let repository = journey.repository;
        let errand = Errand { delivery: &delivery, repository, subject: &subject, purpose: Purpose::Answer };
        let chosen = match self.desk.choose(&errand, (INSTRUCTIONS.len() + user.len()) / 4).await {
            Ok(chosen) => chosen,
            Err(NotAsked::NoReviewer(reason)) => return Err(Stop::NoReviewer(reason)),
            Err(NotAsked::OverBudget(reason)) => return Ok(format!("I can't ask the model: {reason}.")),
        };
        let schema = schema();
        let question = Question {
            system: INSTRUCTIONS,
            user: &user,
            schema: &schema,
            check: &|text| parse(text).map(drop),
            most_output_tokens: MOST_OUTPUT_TOKENS,
        };
        let asking = self.desk.ask(&errand, chosen.reviewer.as_ref(), &question);
        let reply = journey.steps.run("ask", "question answered", asking).await;
        let answer = reply.and_then(|reply| parse(&reply.text).map_err(ReviewError::Unusable));
        match answer {
            Ok(answer) => Ok(match chosen.label {
                Some(label) => format!("{answer}\n\n<sub>{label}</sub>"),
                None => answer,
            }),
            // it was paid for, and the next would be no better
            Err(ReviewError::Unusable(reason) | ReviewError::NoReview(reason)) => {
                Ok(format!("The model gave no answer: {reason}."))
            }
            Err(error) => Err(Stop::Ask(error)),
        }
    }

    /// The change and what is known about it, as a review would see it.
    async fn about_pull(
        &self,
        journey: &mut Journey<'_>,
        number: u64,
        question: &str,
    ) -> Result<String, Stop> {
        let repository = journey.repository;
        let pull = self.github.pull(repository, number).await?;
        let commits = (pull.base_sha.as_str(), pull.head_sha.as_str());
        let reading = self.github.pull_diff(repository, number, commits);
        let diff = journey.steps.run("diff", "diff read", reading).await?;
        let context = self.context(repository, number, commits, &diff).await?;
        let state = self.earlier(repository, number, &context);
        let topic = Topic::of_pull(repository, number, &context.pull);
        let mut inputs = context::inputs(&topic, diff, context, state, self);
        inputs.background.memories = self.memories(journey, &format!("{question} {}", topic.title)).await;
        Ok(inputs.one_prompt().unwrap_or_default())
    }

    async fn about_issue(
        &self,
        journey: &mut Journey<'_>,
        number: u64,
        question: &str,
    ) -> Result<String, Stop> {
        let issue = self.github.issue(journey.repository, number).await?;
        let memories = self.memories(journey, &format!("{question} {}", issue.title)).await;
        Ok(prompt::of_issue(journey.repository, &issue.into(), &memories))
    }

    async fn memories(&self, journey: &Journey<'_>, query: &str) -> Vec<String> {
        let hits = self.memory.recall(journey.repository, query, MOST_MEMORIES).await.unwrap_or_default();
        hits.into_iter().map(|hit| super::super::ask::told(&hit)).collect()
    }

    async fn remember_this(
        &self,
        journey: &mut Journey<'_>,
        comment: &Comment,
        text: &str,
    ) -> Result<String, Stop> {
        if text.trim().is_empty() {
            return Ok("What should be remembered? `/ai remember …`".to_owned());
        }
        let update = Update {
            id: Some(format!("comment-{}", comment.comment_id)),
            repository: journey.repository.to_owned(),
            context: prose_for_model(text),
            kind: Some("decision".to_owned()),
            agent: Some(format!("github/{}", comment.author)),
            event_type: Some(journey.event.event.clone()),
            timestamp: Some(journey.event.received_at),
            // whoever may command us may write to the repository
            trust: Some(Trust::Member),
            branch: None,
            url: None,
        };
        Ok(match self.remember(journey, &update).await? {
            Remembered::Told => "Remembered.".to_owned(),
            Remembered::Queued => "The memory is away; it will be told.".to_owned(),
            Remembered::Refused(reason) => format!("The memory does not take it: {reason}."),
        })
    }

    async fn recall_this(&self, journey: &Journey<'_>, query: &str) -> Result<String, Stop> {
        let hits = match self.memory.recall(journey.repository, query, MOST_MEMORIES).await {
            Ok(hits) if hits.is_empty() => return Ok("The memory knows nothing about that.".to_owned()),
            Ok(hits) => hits,
            Err(error) => return Ok(format!("The memory does not answer: {error}.")),
        };
        let mut out = String::new();
        for hit in hits {
            let text = shorten(&hit.text.split_whitespace().collect::<Vec<_>>().join(" "), LONGEST_MEMORY);
            let _ = writeln!(
                out,
                "- {} ({}): {text} `{}`",
                hit.kind,
                hit.created_at.strftime("%Y-%m-%d"),
                hit.id
            );
        }
        Ok(out)
    }

    /// Only what belongs to this repository: an id is no permission.
    async fn forget(&self, journey: &Journey<'_>, id: &str) -> Result<String, Stop> {
        let forgetting = self.memory.forget(journey.repository, id.trim());
        Ok(match forgetting.await {
            Ok(true) => "Forgotten.".to_owned(),
            Ok(false) | Err(MemoryError::Refused(404, _)) => {
                "This repository's memory has no such id; `/ai recall …` shows them.".to_owned()
            }
            Err(error) => format!("The memory does not forget it: {error}."),
        })
    }
}

/// The thread so far, the oldest first.
fn said(thread: &[ThreadComment]) -> String {
    if thread.is_empty() {
        return String::new();
    }
    let skipped = thread.len().saturating_sub(MOST_SAID);
    let mut out = "\n## Thread\n".to_owned();
    for comment in thread.iter().skip(skipped) {
        let author = if comment.is_ours { "the reviewer (you)" } else { comment.author.as_str() };
        let _ = write!(
            out,
            "| {author}:\n{}",
            quoted_block(&shorten(&prose_for_model(&comment.body), LONGEST_QUESTION))
        );
    }
    out
}
