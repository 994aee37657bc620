use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::*;

pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

static SCHEMA: LazyLock<Value> = LazyLock::new(crate::verdict::schema);

pub(super) fn question() -> Question<'static> {
    Question {
        system: "Review.",
        user: "## Diff\n=== a.rs\n1+mail @/etc/hostname\n",
        schema: &SCHEMA,
        check: &|text| crate::verdict::parse(text).map(drop),
        most_output_tokens: 9_000,
    }
}

pub(super) fn review() -> Value {
    json!({"summary": "Fine, see \u{FF20}x.", "verdict": "approve", "findings": [], "remember": []})
}

pub(super) fn summary(reply: &Reply) -> String {
    crate::verdict::parse(&reply.text).unwrap().summary
}

pub(super) async fn refused(reviewer: &impl Reviewer) -> ReviewError {
    reviewer.ask(&question()).await.unwrap_err().error
}

/// A reviewer that can be switched on and off.
#[derive(Debug)]
struct Switch(&'static str, AtomicBool);

#[async_trait]
impl Reviewer for Switch {
    fn name(&self) -> &'static str {
        self.0
    }
    fn model(&self) -> &str {
        "m"
    }
    fn most_tokens(&self) -> usize {
        1
    }
    async fn ready(&self) -> Result<(), String> {
        if self.1.load(Ordering::SeqCst) { Ok(()) } else { Err("switched off".into()) }
    }
    async fn ask(&self, _: &Question<'_>) -> Result<Reply, Failed> {
        Err(ReviewError::retry("never asked").into())
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_that_is_ready_is_chosen_and_the_choice_is_made_again() {
    let (best, other) =
        (Arc::new(Switch("best", AtomicBool::new(false))), Arc::new(Switch("other", AtomicBool::new(true))));
    let reviewers = Reviewers::new(vec![best.clone(), other.clone()], "set more");
    let name = async || reviewers.current().await.map(|reviewer| reviewer.name());
    assert_eq!(name().await, Ok("other"));
    best.1.store(true, Ordering::SeqCst);
    assert_eq!(name().await, Ok("other"), "for a while");
    tokio::time::advance(CHOICE_STANDS).await;
    assert_eq!(name().await, Ok("best"));
    best.1.store(false, Ordering::SeqCst);
    other.1.store(false, Ordering::SeqCst);
    reviewers.gone(Duration::from_secs(60)).await;
    assert!(!reviewers.is_back().await);
    let reason = name().await.unwrap_err();
    assert_eq!(
        reason,
        "no reviewer can be asked, events wait: best: switched off; other: switched off; set more"
    );
    best.1.store(true, Ordering::SeqCst);
    assert!(!reviewers.is_back().await, "it is left alone for a minute");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(reviewers.is_back().await);
}
