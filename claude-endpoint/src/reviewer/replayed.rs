//! Answers from a recording, so that a review can be made again offline and without cost.
//!
//! A question gets the answer that was recorded for exactly this question; where the question has changed meanwhile, that
//! of the next one of its kind, and the difference is noted.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use super::{Failed, Question, Reply, ReviewError, Reviewer, anthropic, claude_cli, ollama};
use crate::record::{self, Recorded, Redact};
use crate::replay::unified;
use crate::text::shorten;

const LONGEST_LINE: usize = 200;

/// A recorded event's questions.
#[derive(Debug)]
pub struct Replayed {
    name: &'static str,
    model: String,
    redact: Redact,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Vec<Kept>,
    differences: Vec<Difference>,
}

#[derive(Debug)]
struct Kept {
    file: String,
    recorded: Recorded,
    is_used: bool,
}

/// Where a replay asks something else than what was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The recorded question, if there is one.
    pub file: Option<String>,
    /// What differs.
    pub what: String,
    /// How its text differs; empty where there is nothing to compare it with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub diff: String,
}

/// How much a recorded question is the one that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// Their answers share fields: the same kind of question before its schema changed.
    Fields,
    /// The same schema, so the same kind of question.
    Schema,
    /// The same question.
    Text,
}

impl Replayed {
    /// The recording in `folder`; `redact` is what took the secrets out of it.
    ///
    /// # Errors
    /// The folder has no recorded question, or one that cannot be read.
    pub fn load(folder: &Path, redact: Redact) -> io::Result<Self> {
        let mut kept = Vec::new();
        for path in record::questions(folder)? {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let recorded: Recorded = serde_json::from_slice(&std::fs::read(&path)?)
                .map_err(|error| io::Error::other(format!("{file} is no recorded question: {error}")))?;
            kept.push(Kept { file, recorded, is_used: false });
        }
        let Some(first) = kept.first().map(|kept| &kept.recorded) else {
            return Err(io::Error::other(format!("no question is recorded in {}", folder.display())));
        };
        // as it was then, so that outcomes can be compared
        let known = ["anthropic", "claude-cli", "ollama"];
        let name = known.into_iter().find(|name| *name == first.reviewer).unwrap_or("replayed");
        let (model, state) = (first.model.clone(), Mutex::new(State { kept, ..State::default() }));
        Ok(Self { name, model, redact, state })
    }

    /// Where the questions asked so far, and those that were recorded, differ.
    pub fn differences(&self) -> Vec<Difference> {
        let state = self.lock();
        let used = || state.kept.iter().filter(|kept| kept.is_used);
        // what was asked again after a failure or a restart is asked once now
        let is_repeated = |kept: &&Kept| used().any(|used| used.recorded.asks_the_same(&kept.recorded));
        let unasked = state.kept.iter().filter(|kept| !kept.is_used && !is_repeated(kept));
        let unasked = unasked.map(|kept| Difference {
            file: Some(kept.file.clone()),
            what: "is not asked any more".to_owned(),
            diff: String::new(),
        });
        state.differences.iter().cloned().chain(unasked).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The unused recording that is most like the question, by its kind and then by its text. Of equals one with a usable
    /// answer, since a replay asks once what was asked again after a failure; then the first.
    fn take(&mut self, question: &Question<'_>, system: &str, user: &str) -> Option<Recorded> {
        let unused = self.kept.iter_mut().filter(|kept| !kept.is_used);
        let rated = unused.filter_map(|kept| Some((likeness(&kept.recorded, question, system, user)?, kept)));
        // the last of several greatest is taken, and the first is wanted
        let mut rated: Vec<_> = rated.collect();
        rated.reverse();
        // several of one kind are asked side by side, so their order tells little
        let best = rated.into_iter().max_by_key(|(like, kept)| {
            let recorded = &kept.recorded;
            (*like, shared_lines(&recorded.user, user), recorded.error.is_none())
        });
        let Some((like, kept)) = best else {
            let what = format!("was not asked then: {}", first_line(user));
            self.differences.push(Difference { file: None, what, diff: String::new() });
            return None;
        };
        kept.is_used = true;
        if like < Likeness::Text {
            let recorded = &kept.recorded;
            let texts =
                [("system", recorded.system.as_str(), system), ("user", recorded.user.as_str(), user)];
            let schema = (recorded.schema != *question.schema).then(|| "the schema is another".to_owned());
            let what: Vec<String> = texts
                .iter()
                .filter_map(|(name, then, now)| difference(name, then, now))
                .chain(schema)
                .collect();
            let diff = texts.iter().map(|(_, then, now)| unified(then, now)).collect();
            let (file, what) = (Some(kept.file.clone()), what.join("; "));
            self.differences.push(Difference { file, what, diff });
        }
        Some(kept.recorded.clone())
    }
}

fn likeness(recorded: &Recorded, question: &Question<'_>, system: &str, user: &str) -> Option<Likeness> {
    if recorded.system == system && recorded.user == user && recorded.schema == *question.schema {
        return Some(Likeness::Text);
    }
    if recorded.schema == *question.schema {
        return Some(Likeness::Schema);
    }
    let fields =
        |schema: &Value| schema["properties"].as_object().map(|fields| fields.keys().cloned().collect());
    let (then, now): (Vec<String>, Vec<String>) = (fields(&recorded.schema)?, fields(question.schema)?);
    then.iter().any(|field| now.contains(field)).then_some(Likeness::Fields)
}

/// Lines of one text that stand in the other.
fn shared_lines(then: &str, now: &str) -> usize {
    let then: HashSet<&str> = then.lines().collect();
    now.lines().filter(|line| then.contains(line)).count()
}

/// The first line that differs.
fn difference(name: &str, then: &str, now: &str) -> Option<String> {
    if then == now {
        return None;
    }
    let (mut old, mut new) = (then.split('\n'), now.split('\n'));
    let mut number = 0;
    loop {
        number += 1;
        let pair = (old.next(), new.next());
        if pair.0 != pair.1 {
            let shown = |line: Option<&str>| {
                line.map_or("its end".to_owned(), |line| format!("{:?}", shorten(line, LONGEST_LINE)))
            };
            return Some(format!(
                "line {number} of the {name} part was {} and is {}",
                shown(pair.0),
                shown(pair.1)
            ));
        }
    }
}

fn first_line(user: &str) -> String {
    shorten(user.lines().find(|line| !line.starts_with('#')).unwrap_or_default(), LONGEST_LINE)
}

#[async_trait]
impl Reviewer for Replayed {
    /// That of the back end that was recorded.
    fn name(&self) -> &'static str {
        self.name
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn most_tokens(&self) -> usize {
        match self.name {
            "ollama" => ollama::MOST_TOKENS,
            "claude-cli" => claude_cli::MOST_TOKENS,
            _ => anthropic::MOST_TOKENS,
        }
    }

    fn is_free(&self) -> bool {
        true
    }

    async fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    async fn ask(&self, question: &Question<'_>) -> Result<Reply, Failed> {
        let (system, user) = ((self.redact)(question.system), (self.redact)(question.user));
        let Some(recorded) = self.lock().take(question, &system, &user) else {
            return Err(ReviewError::NoReview("no answer to this question is recorded".to_owned()).into());
        };
        match (recorded.error, recorded.reply) {
            (Some(error), paid) => Err(Failed { error, paid: paid.map(Box::new) }),
            // what fitted then may not fit the schema now
            (None, Some(reply)) => super::usable(reply, None, question),
            (None, None) => Err(ReviewError::NoReview("the recording has no answer".to_owned()).into()),
        }
    }
}

#[cfg(test)]
#[path = "replayed_tests.rs"]
mod tests;
