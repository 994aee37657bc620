//! What a command or a reply is answered.

use std::fmt::Write;

use queue::Finish;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::event::{Comment, PullRequest};
use shared::memory::{Hit, Trust, Update};
use shared::outcome::State as Outcome;

use super::super::ending::{Remembered, Stop};
use super::super::made::{Made, Topic};
use super::super::pull::Head;
use super::super::{Journey, Review, ask, context, progress};
use super::{Answered, Call, Place, Said};
use crate::commands::{self, Command};
use crate::desk::{Errand, NotAsked, Purpose};
use crate::github::ThreadComment;
use crate::prompt;
use crate::reviewer::{Question, ReviewError};
use crate::text::{
    code_for_model, code_span, line_for_model, postable, postable_line, prose_for_model, quoted_block,
    shorten,
};

/// Stable, so that it can be cached.
const INSTRUCTIONS: &str = include_str!("answer.md");
const MOST_OUTPUT_TOKENS: u32 = 4_000;
const LONGEST_ANSWER: usize = 8_000;
const LONGEST_QUESTION: usize = 4_000;
/// Comments of a thread that the model reads, the newest.
const MOST_SAID: usize = 20;
/// Heads that one command follows a pull request through.
const MOST_HEADS: usize = 3;
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
    /// The answer's text, Markdown, fit to be posted.
    pub(super) async fn work_out(
        &self,
        journey: &mut Journey<'_>,
        said: &Said<'_>,
        call: &Call,
    ) -> Result<Answered, Stop> {
        let comment = said.comment;
        let text = match call {
            Call::Command(Command::Review) => return self.review_now(journey, comment).await,
            Call::Command(Command::Ask(question)) => {
                let thread = match said.place {
                    Place::Thread(root) => {
                        self.github.thread_of(journey.repository, comment.number, root).await?
                    }
                    Place::Conversation => vec![],
                };
                return self.ask_about(journey, said, question, &thread).await;
            }
            Call::Reply(thread) => return self.ask_about(journey, said, &comment.body, thread).await,
            Call::Command(Command::Remember(text)) => self.remember_this(journey, comment, text).await?,
            Call::Command(Command::Recall(query)) => self.recall_this(journey, query).await,
            Call::Command(Command::Forget(id)) => self.forget(journey, id).await,
            Call::Command(Command::Pause) => self.pause(journey, comment, true).await?,
            Call::Command(Command::Resume) => self.pause(journey, comment, false).await?,
            Call::Command(Command::Help) => commands::help().to_owned(),
            Call::Command(Command::Unknown(word)) => {
                format!("I know no {}.\n\n{}", code_span(word), commands::help())
            }
        };
        Ok(text.into())
    }

    /// A review of the present head, all of it, whatever was reviewed or paused before.
    async fn review_now(&self, journey: &mut Journey<'_>, comment: &Comment) -> Result<Answered, Stop> {
        if !comment.is_pull_request {
            return Ok("There is nothing to review: this is no pull request.".to_owned().into());
        }
        let mut made_before: Option<Made> = progress(journey.lease).made;
        for _ in 0..MOST_HEADS {
            let pull = self.github.pull(journey.repository, comment.number).await?;
            let pr = PullRequest {
                number: comment.number,
                // a review that was begun is finished first: it may stand there already
                head_sha: made_before.as_ref().map_or(pull.head_sha, |made| made.head.clone()),
                base_sha: pull.base_sha,
                title: pull.title,
                author: pull.author,
                draft: pull.draft,
                updated_at: pull.updated_at,
            };
            let head = Head { pr: &pr, is_asked_for: true };
            let finish = self.review_head(journey, head, made_before.take()).await?;
            if finish.state != Outcome::Superseded.as_str() {
                return Ok(reviewed(&pr.head_sha, finish));
            }
        }
        Err(Stop::Retry("the pull request's head moves faster than it is reviewed".to_owned()))
    }

    async fn ask_about(
        &self,
        journey: &mut Journey<'_>,
        said: &Said<'_>,
        question: &str,
        thread: &[ThreadComment],
    ) -> Result<Answered, Stop> {
        let comment = said.comment;
        let mut user = match comment.is_pull_request {
            true => self.about_pull(journey, comment.number, question).await?,
            false => self.about_issue(journey, comment.number, question).await?,
        };
        user.push_str(&beside(said));
        user.push_str(&told_before(thread, comment.comment_id));
        let question = shorten(&prose_for_model(question), LONGEST_QUESTION);
        let author = line_for_model(&comment.author);
        let _ = write!(user, "\n## Question\n| by {author}:\n{}", quoted_block(&question));
        let subject = super::subject(comment);
        let delivery = journey.event.id.clone();
        let repository = journey.repository;
        let errand = Errand { delivery: &delivery, repository, subject: &subject, purpose: Purpose::Answer };
        let chosen = match self.desk.choose(&errand, (INSTRUCTIONS.len() + user.len()) / 4).await {
            Ok(chosen) => chosen,
            Err(NotAsked::NoReviewer(reason)) => return Err(Stop::NoReviewer(reason)),
            Err(NotAsked::OverBudget(reason)) => {
                return Ok(format!("The model is not asked: {}.", postable_line(&reason)).into());
            }
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
        let answer = match reply.and_then(|reply| parse(&reply.text).map_err(ReviewError::Unusable)) {
            Ok(answer) => postable(&answer),
            // it was paid for, and the next would be no better
            Err(ReviewError::Unusable(reason) | ReviewError::NoReview(reason)) => {
                return Ok(Answered::failed(&format!("the model gave no answer: {reason}")));
            }
            Err(error) => return Err(Stop::Ask(error)),
        };
        let label = chosen.label.map(|label| format!("\n\n<sub>{}</sub>", postable_line(&label)));
        Ok(format!("{answer}{}", label.unwrap_or_default()).into())
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
        let known = self.memory.briefing(journey.repository, query, [], ask::MEMORY_TOKENS).await;
        known.unwrap_or_default().iter().map(ask::told).collect()
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
            ..Update::default()
        };
        Ok(match self.remember(journey, &update).await? {
            Remembered::Told => "Remembered.".to_owned(),
            Remembered::Queued => "The memory is away; it will be told.".to_owned(),
            Remembered::Refused(reason) => format!("It is not remembered: {}", postable_line(&reason)),
        })
    }

    async fn recall_this(&self, journey: &Journey<'_>, query: &str) -> String {
        let hits = match self.memory.recall(journey.repository, query, MOST_MEMORIES).await {
            Ok(hits) if hits.is_empty() => return "The memory knows nothing about that.".to_owned(),
            Ok(hits) => hits,
            Err(error) => return format!("Nothing can be recalled: {}", postable_line(&error.to_string())),
        };
        hits.iter().map(line).collect()
    }

    /// Only what belongs to this repository: an id is no permission.
    async fn forget(&self, journey: &Journey<'_>, id: &str) -> String {
        match self.memory.forget(journey.repository, id.trim()).await {
            Ok(true) => "Forgotten.".to_owned(),
            Ok(false) => "This repository's memory has no such id; `/ai recall …` shows them.".to_owned(),
            Err(error) => format!("It is not forgotten: {}", postable_line(&error.to_string())),
        }
    }
}

/// What the person is told of a review that was asked for.
fn reviewed(head: &str, Finish { state, summary, url, detail, .. }: Finish) -> Answered {
    let at = head.get(..7).unwrap_or(head);
    let summary = postable_line(&summary);
    let text = match &url {
        // the address is GitHub's
        Some(url) => format!("{at}: {summary}. [The review]({url})"),
        None => format!("{at}: {summary}."),
    };
    let failure = (state == Outcome::Failed.as_str()).then_some(summary);
    Answered { text, failure, detail }
}

/// A memory as people read it, in one line.
fn line(hit: &Hit) -> String {
    let text = shorten(&hit.text.split_whitespace().collect::<Vec<_>>().join(" "), LONGEST_MEMORY);
    let untrusted = if hit.is_untrusted() { ", from a fork" } else { "" };
    let (kind, day) = (postable_line(&hit.kind), hit.created_at.strftime("%Y-%m-%d"));
    format!("- {} ({kind}, {day}{untrusted}): {}\n", code_span(&hit.id), postable_line(&text))
}

/// The code that a comment stands beside.
fn beside(said: &Said<'_>) -> String {
    let Some(path) = &said.wire.path else { return String::new() };
    let place = said.wire.line.map(|line| format!(":{line}")).unwrap_or_default();
    let hunk = said.wire.diff_hunk.as_deref().unwrap_or_default();
    let code = code_for_model(hunk.lines()).join("\n");
    let from = code.char_indices().rev().nth(LONGEST_QUESTION).map_or(0, |(at, _)| at);
    format!("\n## Asked beside\n| {}{place}\n{}", line_for_model(path), quoted_block(&code[from..]))
}

/// The thread so far, the oldest first, without the comment that asks.
fn told_before(thread: &[ThreadComment], asking: u64) -> String {
    let thread: Vec<_> = thread.iter().filter(|comment| comment.id != asking).collect();
    if thread.is_empty() {
        return String::new();
    }
    let mut out = "\n## Thread\n".to_owned();
    for comment in thread.iter().skip(thread.len().saturating_sub(MOST_SAID)) {
        let author = match comment.is_ours {
            true => "the reviewer (you)".to_owned(),
            false => line_for_model(&comment.author),
        };
        let text = shorten(&prose_for_model(&comment.body), LONGEST_QUESTION);
        let _ = write!(out, "| {author}:\n{}", quoted_block(&text));
    }
    out
}
