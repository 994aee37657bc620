//! A question → what is known, as one text for a prompt.

use async_trait::async_trait;
use jiff::Timestamp;
use shared::error::chain;
use shared::memory::{Briefing, Mode, Standing};

use super::{Memory, Question};
use crate::briefing;
use crate::proxy::Briefer;
use crate::store::{Filter, StoreError};

/// How many memories a briefing chooses from.
const CHOICE: usize = 50;

/// What somebody is to be briefed about.
#[derive(Debug, Clone, Default)]
pub struct Brief {
    /// What it is about, in a person's words; symbols may be among them.
    pub text: String,
    /// The files it is about.
    pub paths: Vec<String>,
    /// Which memories count.
    pub filter: Filter,
    /// The most tokens it may cost.
    pub budget: usize,
}

impl Memory {
    /// The most useful knowledge about something, within a budget.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn briefing(&self, brief: Brief, now: Timestamp) -> Result<Briefing, StoreError> {
        let Brief { mut text, paths, filter, budget } = brief;
        for path in &paths {
            text.push(' ');
            text.push_str(path);
        }
        let question = Question { text, filter, limit: CHOICE, mode: Mode::Hybrid, explain: false };
        let mut found = self.search(question, now).await?;
        // What is known to be wrong is no help in a prompt.
        found.results.retain(|hit| hit.standing != Standing::Superseded);
        Ok(briefing::compose(found.mode, &found.results, budget))
    }
}

#[async_trait]
impl Briefer for Memory {
    async fn briefing(&self, repository: &str, question: &str, budget: usize) -> Result<Briefing, String> {
        let filter = Filter { repository: Some(repository.to_owned()), ..Filter::default() };
        let brief = Brief { text: question.to_owned(), filter, budget, ..Brief::default() };
        Self::briefing(self, brief, Timestamp::now()).await.map_err(|error| chain(&error))
    }
}
