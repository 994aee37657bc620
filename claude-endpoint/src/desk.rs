//! Every question to a model passes here: who is asked within the budget, the deadline, the ledger, the recording.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::budget::{Budgets, Decision, Estimate, Over, OverBudget};
use crate::ledger::{Entry, Hold, Ledger, Sum};
use crate::prices::Prices;
use crate::record::Recorder;
use crate::reviewer::{Failed, Question, Reply, ReviewError, Reviewer, Reviewers, Usage};

/// A reviewer that knows the deadline tells more about it than we can.
const GRACE: Duration = Duration::from_secs(5);
const TOO_LATE: &str = "the reviewer did not answer in time; REVIEW_TIMEOUT allows more";
/// Taken for the length of an answer before it is there.
const ASSUMED_OUTPUT_TOKENS: u64 = 4_000;

/// What a question is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Errand<'a> {
    /// The event.
    pub delivery: &'a str,
    /// `owner/name`.
    pub repository: &'a str,
    /// `pull/7`.
    pub subject: &'a str,
    /// To what end.
    pub purpose: Purpose,
}

/// To what end a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The review of a change.
    Review,
    /// The check of a finding.
    SecondLook,
    /// The answer to a comment.
    Answer,
}

impl Purpose {
    /// As in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::SecondLook => "second_look",
            Self::Answer => "answer",
        }
    }
}

/// Who is asked. What the questions are estimated to cost is held until this is dropped: keep it until they are asked.
#[derive(Debug)]
pub struct Chosen {
    /// Whom to ask.
    pub reviewer: Arc<dyn Reviewer>,
    /// Why it is not the usual model, for people to read.
    pub label: Option<String>,
    /// Until the questions are answered.
    pub hold: Hold,
}

/// Why nobody is asked.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum NotAsked {
    /// Nobody can be asked; events wait. The text says what to set or start.
    #[error("{0}")]
    NoReviewer(String),
    /// It would cost too much; the text says what stands in the way.
    #[error("{0}")]
    OverBudget(String),
}

/// How questions are asked.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// For one question.
    pub timeout: Duration,
    /// What questions may cost.
    pub budgets: Budgets,
    /// What models cost.
    pub prices: Prices,
    /// Whether findings are checked by a second look.
    pub second_look: bool,
}

/// Where questions are asked.
#[derive(Debug)]
pub struct Desk {
    reviewers: Arc<Reviewers>,
    /// Asked where a budget is used up, if that is set.
    ollama: Option<Arc<dyn Reviewer>>,
    terms: Terms,
    ledger: Ledger,
    recorder: Option<Recorder>,
}

impl Desk {
    /// A desk at which `reviewers` are asked.
    pub fn new(reviewers: Arc<Reviewers>, terms: Terms, ledger: Ledger) -> Self {
        Self { reviewers, ollama: None, terms, ledger, recorder: None }
    }

    /// With somebody who is asked for nothing where a budget is used up.
    #[must_use]
    pub fn with_ollama(self, ollama: Option<Arc<dyn Reviewer>>) -> Self {
        Self { ollama, ..self }
    }

    /// With a recording of all questions.
    #[must_use]
    pub fn with_recorder(self, recorder: Option<Recorder>) -> Self {
        Self { recorder, ..self }
    }

    /// Who can be asked.
    pub fn reviewers(&self) -> &Arc<Reviewers> {
        &self.reviewers
    }

    /// The longest prompt that the usual model takes, in tokens.
    ///
    /// # Errors
    /// Nobody can be asked; the text says what to set or start.
    pub async fn most_tokens(&self) -> Result<usize, String> {
        self.reviewers.current().await.map(|reviewer| reviewer.most_tokens())
    }

    /// Who is asked questions of about so many tokens together.
    ///
    /// # Errors
    /// [`NotAsked`].
    pub async fn choose(
        &self,
        errand: &Errand<'_>,
        estimated_input_tokens: usize,
    ) -> Result<Chosen, NotAsked> {
        let usual = self.reviewers.current().await.map_err(NotAsked::NoReviewer)?;
        let cheaper = usual.cheaper();
        let tokens = assumed(estimated_input_tokens);
        let estimate = Estimate {
            usual: self.cost(&*usual, tokens),
            cheaper: cheaper.as_ref().map(|cheaper| self.cost(&**cheaper, tokens)),
        };
        let (decision, hold) = self.ledger.decide(Timestamp::now(), errand.delivery, |spent| {
            let decision = self.terms.budgets.decide(spent, estimate);
            let usd = match decision {
                Decision::Usual => estimate.usual,
                Decision::Cheaper(_) => estimate.cheaper.unwrap_or_default(),
                Decision::Ollama(_) | Decision::Skip(_) => 0.0,
            };
            (decision, usd)
        });
        let (reviewer, over) = match (decision, cheaper) {
            (Decision::Usual, _) => (usual, None),
            (Decision::Cheaper(over), Some(cheaper)) => (cheaper, Some(over)),
            (Decision::Ollama(over), _) => (self.free(over).await?, Some(over)),
            (Decision::Cheaper(over) | Decision::Skip(over), _) => return Err(over_budget(over.to_string())),
        };
        let label = over.map(|over| format!("{}, since {over}", reviewer.model()));
        if let Some(label) = &label {
            metrics::counter!("over_budget_total", "instead" => reviewer.name()).increment(1);
            tracing::info!(delivery = errand.delivery, label, "another model is asked");
        }
        Ok(Chosen { reviewer, label, hold })
    }

    async fn free(&self, over: Over) -> Result<Arc<dyn Reviewer>, NotAsked> {
        let Some(ollama) = &self.ollama else { return Err(over_budget(over.to_string())) };
        match ollama.ready().await {
            Ok(()) => Ok(Arc::clone(ollama)),
            Err(reason) => Err(over_budget(format!("{over}, and {}: {reason}", ollama.name()))),
        }
    }

    /// Asks one question; what it cost is in the ledger when this returns.
    ///
    /// # Errors
    /// [`ReviewError`]; a second look that a budget does not allow is [`ReviewError::NoReview`].
    pub async fn ask(
        &self,
        errand: &Errand<'_>,
        reviewer: &dyn Reviewer,
        question: &Question<'_>,
    ) -> Result<Reply, ReviewError> {
        self.ask_until(errand, reviewer, question, Instant::now() + self.terms.timeout + GRACE).await
    }

    /// As [`Self::ask`], with a deadline that may be earlier.
    pub(crate) async fn ask_until(
        &self,
        errand: &Errand<'_>,
        reviewer: &dyn Reviewer,
        question: &Question<'_>,
        until: Instant,
    ) -> Result<Reply, ReviewError> {
        let until = until.min(Instant::now() + self.terms.timeout + GRACE);
        let tokens = assumed((question.system.len() + question.user.len()) / 4);
        let estimate = self.cost(reviewer, tokens);
        if errand.purpose == Purpose::SecondLook {
            let spent = self.ledger.spent(Timestamp::now(), errand.delivery);
            if let Some(over) = self.terms.budgets.over(spent, estimate) {
                return Err(ReviewError::NoReview(format!("not asked, since {over}")));
            }
        }
        let hold = self.ledger.hold_question(errand.delivery, estimate);
        let answer = tokio::time::timeout_at(until, reviewer.ask(question)).await;
        let late = |_| Err(ReviewError::Unusable(TOO_LATE.to_owned()).into());
        let result = answer.unwrap_or_else(late);
        let mut cost = 0.0;
        if let Some(entry) = self.entry(errand, reviewer, &result, tokens) {
            count(reviewer, &entry);
            cost = entry.cost_usd.unwrap_or_default();
            self.ledger.record(entry).await;
        }
        hold.settle(cost);
        if let Some(recorder) = &self.recorder {
            recorder.question(errand, reviewer, question, &result).await;
        }
        result.map_err(|failed| failed.error)
    }

    /// What the ledger is to know of an answer; nothing where nothing was asked.
    fn entry(
        &self,
        errand: &Errand<'_>,
        reviewer: &dyn Reviewer,
        result: &Result<Reply, Failed>,
        tokens: Usage,
    ) -> Option<Entry> {
        let estimated = |model: &str| Reply {
            text: String::new(),
            model: model.to_owned(),
            usage: tokens,
            cost_usd: None,
        };
        let (reply, is_estimated) = match result {
            Ok(reply) => (reply.clone(), false),
            Err(Failed { paid: Some(paid), .. }) => (Reply::clone(paid), false),
            // it was asked, and what became of it nobody knows: it is as well to take it for paid
            Err(Failed { error: ReviewError::Unusable(_), .. }) => (estimated(reviewer.model()), true),
            Err(_) => return None,
        };
        Some(Entry {
            at: Timestamp::now(),
            delivery: errand.delivery.to_owned(),
            repository: errand.repository.to_owned(),
            subject: errand.subject.to_owned(),
            purpose: errand.purpose,
            reviewer: reviewer.name().to_owned(),
            cost_usd: self.charged(reviewer, &reply),
            model: reply.model,
            usage: reply.usage,
            useful: result.is_ok(),
            is_estimated,
        })
    }

    /// What an answer cost: as the back end tells, else by the price list.
    fn charged(&self, reviewer: &dyn Reviewer, reply: &Reply) -> Option<f64> {
        let prices = &self.terms.prices;
        let listed = || prices.of(&reply.model).or_else(|| prices.of(reviewer.model()));
        match reviewer.is_free() {
            true => Some(0.0),
            false => reply.cost_usd.or_else(|| Some(listed()?.cost(reply.usage))),
        }
    }

    /// By the price list. The settings see to it that nothing without a price is asked where there is a budget.
    fn cost(&self, reviewer: &dyn Reviewer, tokens: Usage) -> f64 {
        let price = self.terms.prices.of(reviewer.model()).filter(|_| !reviewer.is_free());
        price.map_or(0.0, |price| price.cost(tokens))
    }

    /// Whether findings are to be checked by a second look.
    pub fn takes_second_looks(&self) -> bool {
        self.terms.second_look
    }

    /// Records what belongs to an event beside its questions, if anything is recorded.
    pub async fn record(&self, delivery: &str, name: &str, value: &impl Serialize) {
        if let Some(recorder) = &self.recorder {
            recorder.record(delivery, name, value).await;
        }
    }

    /// What this day has come to, and what it may cost.
    pub fn today(&self) -> Today {
        let sums = self.ledger.sums(Timestamp::now());
        let total = sums.into_iter().fold(Sum::default(), |mut total, (_, sum)| {
            total += sum;
            total
        });
        Today { total, budget_usd: self.terms.budgets.daily_usd, over: self.terms.budgets.over }
    }
}

/// What a day has come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Today {
    /// All questions.
    pub total: Sum,
    /// What they may cost together, if that is limited.
    pub budget_usd: Option<f64>,
    /// What is done where they could cost more.
    pub over: OverBudget,
}

impl fmt::Display for Today {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${:.2}", self.total.cost_usd)?;
        self.budget_usd.map_or(Ok(()), |budget| write!(f, " of ${budget:.2}"))
    }
}

fn over_budget(reason: String) -> NotAsked {
    metrics::counter!("over_budget_total", "instead" => "none").increment(1);
    NotAsked::OverBudget(reason)
}

/// Tokens of a question whose answer is not there yet.
fn assumed(input_tokens: usize) -> Usage {
    let input_tokens = u64::try_from(input_tokens).unwrap_or(u64::MAX);
    Usage { input_tokens, output_tokens: ASSUMED_OUTPUT_TOKENS, ..Usage::default() }
}

fn count(reviewer: &dyn Reviewer, entry: &Entry) {
    let model = reviewer.model();
    let Usage { input_tokens, output_tokens, cached_tokens, cache_write_tokens } = entry.usage;
    for (kind, tokens) in [
        ("input", input_tokens),
        ("output", output_tokens),
        ("cached", cached_tokens),
        ("cache_write", cache_write_tokens),
    ] {
        metrics::counter!("model_tokens_total", "model" => model.to_owned(), "kind" => kind)
            .increment(tokens);
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "costs are small and positive"
    )]
    let micro = (entry.cost_usd.unwrap_or_default() * 1e6).round() as u64;
    metrics::counter!("model_cost_microdollars_total", "model" => model.to_owned()).increment(micro);
}

#[cfg(test)]
#[path = "desk_tests.rs"]
pub(crate) mod tests;
