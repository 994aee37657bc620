use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::budget::{Budgets, OverBudget};
use crate::desk::Terms;
use crate::desk::tests::{Scripted, desk_of, errand, reply, terms};
use crate::reviewer::Failed;

pub(crate) fn finding(path: &str, severity: &str) -> Finding {
    let finding = json!({"path": path, "line": 12, "end_line": 12, "side": "RIGHT", "quote": "    let x = items[0];",
        "severity": severity, "category": "bug", "title": format!("{path} fails"), "body": "It fails\nwhen empty.",
        "suggestion": null});
    serde_json::from_value(finding).unwrap()
}

/// Answers by the path in the claim.
#[derive(Debug, Default)]
struct Judge {
    asked: Mutex<Vec<String>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

#[async_trait]
impl Reviewer for Judge {
    fn name(&self) -> &'static str {
        "anthropic"
    }
    fn model(&self) -> &str {
        "claude-haiku-5-5"
    }
    fn most_tokens(&self) -> usize {
        100_000
    }
    async fn ready(&self) -> Result<(), String> {
        Ok(())
    }
    async fn ask(&self, question: &Question<'_>) -> Result<Reply, Failed> {
        self.asked.lock().unwrap().push(question.user.to_owned());
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(now, Ordering::SeqCst);
        let says = |word: &str| question.user.contains(&format!(" in {word}"));
        // different ones take different times, so that answers come out of order
        tokio::time::sleep(Duration::from_secs(if says("slow") { 9 } else { 1 })).await;
        if says("never") {
            std::future::pending::<()>().await;
        }
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        let verdict =
            |holds, severity| Ok(json!({"holds": holds, "severity": severity, "reason": "see line 12"}));
        let verdict: Result<_, ReviewError> = match () {
            () if says("wrong") => verdict("no", "nit"),
            () if says("loud") => verdict("yes", "minor"),
            () if says("unsure") => verdict("unsure", "blocker"),
            () if says("busy") => Err(ReviewError::retry("it is busy")),
            () if says("away") => Err(ReviewError::unreachable("it is away")),
            () => verdict("yes", "blocker"),
        };
        let text = verdict?.to_string();
        (question.check)(&text).unwrap();
        Ok(Reply { model: "claude-haiku-5-5-20261001".into(), ..reply(&text) })
    }
}

struct Looked {
    judge: Arc<Judge>,
    left: Vec<String>,
    look: SecondLook,
}

async fn look(terms: Terms, findings: Vec<Finding>) -> Looked {
    let judge = Arc::new(Judge::default());
    let usual: Arc<dyn Reviewer> =
        Arc::new(Scripted::new("anthropic", "claude-sonnet-5-5").with_cheaper(judge.clone()));
    let desk = desk_of(Arc::clone(&usual), terms);
    let code = |finding: &Finding| format!("12+code of {}", finding.path);
    let (left, look) = second_look(&desk, &errand("d1"), &usual, findings, code).await;
    assert_eq!(look.checked, look.kept + look.dropped.len() + look.lowered.len());
    let left = left.iter().map(|finding| format!("{} {}", finding.severity, finding.path)).collect();
    Looked { judge, left, look }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_hold_is_dropped_and_what_is_too_loud_is_lowered() {
    let findings =
        [("slow.rs", "major"), ("wrong.rs", "blocker"), ("loud.rs", "blocker"), ("unsure.rs", "major")];
    let findings = findings.map(|(path, severity)| finding(path, severity)).into();
    let Looked { judge, left, look } = look(terms(), findings).await;
    assert_eq!(left, ["major slow.rs", "minor loud.rs", "minor unsure.rs"]);
    assert_eq!((look.checked, look.kept, look.unchecked), (4, 1, 0));
    let reason = "see line 12".to_owned();
    assert_eq!(look.dropped, [Dropped { title: "wrong.rs fails".into(), path: "wrong.rs".into(), reason }]);
    let lowered: Vec<_> = look.lowered.iter().map(|l| (l.path.as_str(), l.from, l.to)).collect();
    use Severity::{Blocker, Major, Minor};
    assert_eq!(lowered, [("loud.rs", Blocker, Minor), ("unsure.rs", Major, Minor)]);
    assert_eq!((look.model.as_deref(), look.usage.input_tokens), (Some("claude-haiku-5-5-20261001"), 4_000));
    let asked = judge.asked.lock().unwrap();
    assert!(
        asked.iter().all(|user| user.contains("## Claim\n| ") && user.contains("## Code\n| 12+code of "))
    );
    let json = serde_json::to_value(&look).unwrap();
    assert_eq!(json["lowered"][0]["to"], "minor");
    assert_eq!(serde_json::from_value::<SecondLook>(json).unwrap(), look);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_changes_nothing() {
    let Looked { left, look, .. } =
        look(terms(), vec![finding("busy.rs", "nit"), finding("wrong.rs", "nit")]).await;
    assert_eq!(left, ["nit busy.rs"]);
    assert_eq!((look.checked, look.unchecked, look.error.as_deref()), (1, 1, Some("it is busy")));
}

#[tokio::test(start_paused = true)]
async fn the_most_severe_are_checked_and_a_few_at_a_time() {
    let mut findings: Vec<_> = (0..30).map(|i| finding(&format!("n{i}.rs"), "nit")).collect();
    findings.push(finding("wrong.rs", "blocker"));
    let Looked { judge, left, look } = look(terms(), findings).await;
    assert_eq!((left.len(), look.checked, look.unchecked), (30, MOST, 11));
    assert_eq!((look.kept, look.dropped.len()), (19, 1));
    assert_eq!(judge.most_under_way.load(Ordering::SeqCst), CONCURRENCY);
    assert_eq!(left[0], "nit n0.rs", "the order stays");
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_is_away_is_not_asked_twenty_times() {
    let findings = (0..20).map(|i| finding(&format!("away{i}.rs"), "major")).collect();
    let Looked { judge, left, look } = look(terms(), findings).await;
    assert_eq!((left.len(), look.unchecked, look.error.as_deref()), (20, 20, Some("it is away")));
    assert_eq!(judge.asked.lock().unwrap().len(), CONCURRENCY);
}

#[tokio::test(start_paused = true)]
async fn it_has_a_deadline_and_what_was_answered_until_then_counts() {
    let started = Instant::now();
    let mut findings: Vec<_> = (0..8).map(|i| finding(&format!("never{i}.rs"), "major")).collect();
    findings.push(finding("wrong.rs", "blocker"));
    let Looked { left, look, .. } = look(Terms { timeout: LONGEST * 2, ..terms() }, findings).await;
    assert_eq!((left.len(), look.checked, look.unchecked), (8, 1, 8));
    assert_eq!(started.elapsed(), LONGEST);
}

#[tokio::test(start_paused = true)]
async fn it_can_be_turned_off_and_ends_where_a_budget_does() {
    let Looked { judge, left, look } = {
        let terms = Terms { second_look: false, ..terms() };
        look(terms, vec![finding("wrong.rs", "nit")]).await
    };
    assert_eq!((left.len(), look.checked, look.unchecked, look.model), (1, 0, 1, None));
    assert!(judge.asked.lock().unwrap().is_empty());

    let budgets = Budgets { daily_usd: Some(0.001), review_usd: None, over: OverBudget::Cheaper };
    let Looked { judge, left, look } =
        self::look(Terms { budgets, ..terms() }, vec![finding("wrong.rs", "nit")]).await;
    assert_eq!((left.len(), look.unchecked), (1, 1));
    assert!(look.error.unwrap().starts_with("not asked, since"));
    assert!(judge.asked.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_cheaper_one_the_reviewer_itself_is_asked() {
    let judge: Arc<dyn Reviewer> = Arc::new(Judge::default());
    let desk = desk_of(Arc::clone(&judge), terms());
    let findings = vec![finding("wrong.rs", "nit")];
    let (left, look) = second_look(&desk, &errand("d1"), &judge, findings, |_| String::new()).await;
    assert_eq!((left.len(), look.checked), (0, 1));
    assert_eq!(desk.today().total.questions, 1);
}
