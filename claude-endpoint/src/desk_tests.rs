use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::*;
use crate::budget::OverBudget;
use crate::prices;

/// A reviewer that answers as it is told, then with `{}`.
#[derive(Debug)]
pub(crate) struct Scripted {
    name: &'static str,
    model: &'static str,
    answers: Mutex<VecDeque<Result<Reply, Failed>>>,
    cheaper: Option<Arc<dyn Reviewer>>,
    hangs: bool,
    /// What it was asked.
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Scripted {
    pub(crate) fn new(name: &'static str, model: &'static str) -> Self {
        let (answers, asked) = Default::default();
        Self { name, model, answers, cheaper: None, hangs: false, asked }
    }

    pub(crate) fn answering(self, answers: Vec<Result<Reply, Failed>>) -> Self {
        Self { answers: Mutex::new(answers.into()), ..self }
    }

    pub(crate) fn with_cheaper(self, cheaper: Arc<dyn Reviewer>) -> Self {
        Self { cheaper: Some(cheaper), ..self }
    }
}

#[async_trait]
impl Reviewer for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }
    fn model(&self) -> &str {
        self.model
    }
    fn most_tokens(&self) -> usize {
        100_000
    }
    fn is_free(&self) -> bool {
        self.name == "ollama"
    }
    fn cheaper(&self) -> Option<Arc<dyn Reviewer>> {
        self.cheaper.clone()
    }
    async fn ready(&self) -> Result<(), String> {
        if self.model == "missing" { Err("`ollama pull missing`".to_owned()) } else { Ok(()) }
    }
    async fn ask(&self, question: &Question<'_>) -> Result<Reply, Failed> {
        self.asked.lock().unwrap().push(question.user.to_owned());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let next = self.answers.lock().unwrap().pop_front();
        next.unwrap_or_else(|| Ok(reply("{}")))
    }
}

/// 0.0135 USD of claude-sonnet.
pub(crate) fn reply(text: &str) -> Reply {
    let usage = Usage { input_tokens: 1_000, output_tokens: 700, ..Usage::default() };
    Reply { text: text.to_owned(), model: "claude-sonnet-5-5".to_owned(), usage, cost_usd: None }
}

pub(crate) fn errand(delivery: &str) -> Errand<'_> {
    Errand { delivery, repository: "o/r", subject: "pull/7", purpose: Purpose::Review }
}

const SECOND_LOOK: Errand<'_> =
    Errand { delivery: "d1", repository: "o/r", subject: "pull/7", purpose: Purpose::SecondLook };

pub(crate) fn question(schema: &Value) -> Question<'_> {
    Question { system: "s", user: "u", schema, check: &|_| Ok(()), most_output_tokens: 100 }
}

pub(crate) fn terms() -> Terms {
    Terms {
        timeout: Duration::from_secs(10),
        prices: prices::DEFAULT.parse().unwrap(),
        second_look: true,
        ..Terms::default()
    }
}

fn limited(daily_usd: Option<f64>, review_usd: Option<f64>, over: OverBudget) -> Terms {
    Terms { budgets: Budgets { daily_usd, review_usd, over }, ..terms() }
}

pub(crate) fn desk_of(usual: Arc<dyn Reviewer>, terms: Terms) -> Desk {
    Desk::new(Arc::new(Reviewers::new(vec![usual], "")), terms, Ledger::in_memory())
}

fn desk(terms: Terms) -> Desk {
    let cheaper = Arc::new(Scripted::new("anthropic", "claude-haiku-5-5"));
    desk_of(Arc::new(Scripted::new("anthropic", "claude-sonnet-5-5").with_cheaper(cheaper)), terms)
}

/// The model, and the label behind it.
async fn chosen(desk: &Desk, delivery: &str, tokens: usize) -> (Chosen, String) {
    let chosen = desk.choose(&errand(delivery), tokens).await.unwrap();
    let text = format!("{} | {}", chosen.reviewer.model(), chosen.label.as_deref().unwrap_or("usual"));
    (chosen, text)
}

async fn spend(desk: &Desk, delivery: &str, usd: f64) {
    let reviewer = Scripted::new("anthropic", "claude-sonnet-5-5")
        .answering(vec![Ok(Reply { cost_usd: Some(usd), ..reply("{}") })]);
    desk.ask(&errand(delivery), &reviewer, &question(&json!({}))).await.unwrap();
}

// 100,000 tokens in and 4,000 out: 0.36 USD of sonnet, 0.12 of haiku
const TOKENS: usize = 100_000;

#[tokio::test]
async fn over_budget_another_model_is_asked_and_people_are_told_why() {
    let desk = desk(limited(Some(5.0), None, OverBudget::Cheaper));
    assert_eq!(chosen(&desk, "d1", TOKENS).await.1, "claude-sonnet-5-5 | usual");
    spend(&desk, "d1", 4.7).await;
    let label = "claude-haiku-5-5 | claude-haiku-5-5, since it could exceed today's budget of $5.00";
    assert_eq!(chosen(&desk, "d2", TOKENS).await.1, label);
    spend(&desk, "d1", 0.3).await;
    let nobody = desk.choose(&errand("d2"), TOKENS).await.unwrap_err();
    assert_eq!(nobody, NotAsked::OverBudget("today's budget of $5.00 is used up".into()));
    assert_eq!(desk.today().to_string(), "$5.00 of $5.00");
}

#[tokio::test]
async fn a_reviews_own_budget_covers_all_that_was_asked_for_it() {
    let desk = desk(limited(None, Some(0.5), OverBudget::Cheaper));
    spend(&desk, "d1", 0.2).await;
    let label =
        "claude-haiku-5-5 | claude-haiku-5-5, since it could exceed the budget of $0.50 for one review";
    assert_eq!(chosen(&desk, "d1", TOKENS).await.1, label);
    assert_eq!(chosen(&desk, "d2", TOKENS).await.1, "claude-sonnet-5-5 | usual", "another review");
}

#[tokio::test]
async fn ollama_costs_nothing_and_is_asked_if_it_is_there() {
    let terms = limited(Some(0.1), None, OverBudget::Ollama);
    let with = |model| desk(terms.clone()).with_ollama(Some(Arc::new(Scripted::new("ollama", model))));
    let label = "llama3.2 | llama3.2, since it could exceed today's budget of $0.10";
    assert_eq!(chosen(&with("llama3.2"), "d1", TOKENS).await.1, label);
    let nobody = with("missing").choose(&errand("d1"), TOKENS).await.unwrap_err();
    let reason = "it could exceed today's budget of $0.10, and ollama: `ollama pull missing`";
    assert_eq!(nobody, NotAsked::OverBudget(reason.into()));
    let local = desk_of(Arc::new(Scripted::new("ollama", "llama3.2")), terms.clone());
    assert_eq!(chosen(&local, "d1", TOKENS).await.1, "llama3.2 | usual");
    let skip = desk(limited(Some(0.1), None, OverBudget::Skip));
    assert!(matches!(skip.choose(&errand("d1"), TOKENS).await, Err(NotAsked::OverBudget(_))));
}

#[tokio::test]
async fn without_a_reviewer_nobody_is_asked_and_the_events_wait() {
    let desk = Desk::new(Arc::new(Reviewers::new(vec![], "set it")), terms(), Ledger::in_memory());
    let reason = desk.choose(&errand("d1"), 1).await.unwrap_err();
    assert!(matches!(&reason, NotAsked::NoReviewer(reason) if reason.ends_with("set it")), "{reason:?}");
}

/// Two reviews that are chosen at the same time do not both take what is left.
#[tokio::test]
async fn what_is_under_way_counts_as_spent() {
    let desk = desk(limited(Some(0.5), None, OverBudget::Cheaper));
    let (first, text) = chosen(&desk, "d1", TOKENS).await;
    assert_eq!(text, "claude-sonnet-5-5 | usual");
    let (second, text) = chosen(&desk, "d2", TOKENS).await;
    assert!(text.starts_with("claude-haiku"), "{text}");
    assert!(desk.choose(&errand("d3"), TOKENS).await.is_err());
    drop((first, second));
    assert_eq!(chosen(&desk, "d3", TOKENS).await.1, "claude-sonnet-5-5 | usual");
}

#[tokio::test]
async fn the_ledger_knows_what_each_question_took() {
    let paid = Failed { error: ReviewError::NoReview("refused".into()), paid: Some(Box::new(reply(""))) };
    let told = Reply { cost_usd: Some(1.5), model: "claude-other".into(), ..reply("{}") };
    let unknown = Failed::from(ReviewError::Unusable("it hung up".into()));
    let reviewer = Scripted::new("claude-cli", "claude-sonnet-5-5").answering(vec![
        Ok(reply("{}")),
        Ok(told),
        Err(paid),
        Err(unknown),
        Err(ReviewError::retry("busy").into()),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let ledger = Ledger::open(&path, Timestamp::now()).unwrap();
    let desk = Desk::new(Arc::new(Reviewers::new(vec![], "")), terms(), ledger);
    let schema = json!({});
    for works in [true, true, false, false, false] {
        assert_eq!(desk.ask(&errand("d1"), &reviewer, &question(&schema)).await.is_ok(), works);
    }
    let entries: Vec<Entry> = crate::ledger::read(&path).unwrap().map(Result::unwrap).collect();
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| (entry.model.as_str(), entry.cost_usd.unwrap(), entry.useful, entry.is_estimated))
        .collect();
    let assumed = 0.06;
    assert_eq!(seen.len(), 4, "a question that was never taken costs nothing");
    for ((model, cost, useful, is_estimated), expected) in seen.into_iter().zip([
        ("claude-sonnet-5-5", 0.0135, true, false),
        ("claude-other", 1.5, true, false),
        ("claude-sonnet-5-5", 0.0135, false, false),
        ("claude-sonnet-5-5", assumed, false, true),
    ]) {
        assert_eq!((model, useful, is_estimated), (expected.0, expected.2, expected.3));
        assert!((cost - expected.1).abs() < 1e-9, "{cost} for {expected:?}");
    }
    assert_eq!((entries[0].repository.as_str(), entries[0].purpose), ("o/r", Purpose::Review));
}

#[tokio::test]
async fn a_model_without_a_price_is_counted_without_a_cost() {
    let desk = desk(Terms { prices: Prices::default(), ..terms() });
    let model = Scripted::new("anthropic", "mystery");
    desk.ask(&errand("d1"), &model, &question(&json!({}))).await.unwrap();
    let Today { total, budget_usd, .. } = desk.today();
    assert_eq!(
        (total.questions, total.usage.input_tokens, total.cost_usd, budget_usd),
        (1, 1_000, 0.0, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_has_a_deadline_and_was_paid_for() {
    let desk = desk(terms());
    let silent = Scripted { hangs: true, ..Scripted::new("anthropic", "claude-sonnet-5-5") };
    let started = tokio::time::Instant::now();
    let error = desk.ask(&errand("d1"), &silent, &question(&json!({}))).await.unwrap_err();
    assert_eq!(error, ReviewError::Unusable(TOO_LATE.into()));
    assert_eq!(started.elapsed(), terms().timeout + GRACE);
    assert!(desk.today().total.cost_usd > 0.0);
}

#[tokio::test]
async fn a_second_look_is_not_worth_going_over_the_budget() {
    let desk = desk(limited(Some(1.0), None, OverBudget::Cheaper));
    let haiku = Scripted::new("anthropic", "claude-haiku-5-5");
    let look = async || desk.ask(&SECOND_LOOK, &haiku, &question(&json!({}))).await;
    assert!(look().await.is_ok());
    spend(&desk, "d2", 1.0).await;
    let error = look().await.unwrap_err();
    let reason = "not asked, since today's budget of $1.00 is used up";
    assert_eq!(error, ReviewError::NoReview(reason.into()));
    assert_eq!(haiku.asked.lock().unwrap().len(), 1);
}
