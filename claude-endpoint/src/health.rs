//! `GET /health` and `/readyz`.

use axum::extract::State;
use shared::error::ApiError;
use shared::health::{Check, Report};

use crate::budget::OverBudget;
use crate::desk::Today;
use crate::{App, NAME};

/// Everything that is to be known about this service. A missing reviewer is a warning: events wait for it. Nobody is
/// asked here: a reviewer can take many seconds to say whether it is there.
pub(crate) async fn health(State(app): State<App>) -> Report {
    let lane = app.lane.borrow().clone();
    let report = inbox::queue_health(Report::new(NAME), &app.queue, &lane, inbox::MOST_OPEN).await;
    let report = app.followed.health(report);
    app.reviewers.refresh();
    let reviewer = match app.reviewers.known() {
        Some(Ok(reviewer)) => {
            Check::pass().observed(format!("{} {}", reviewer.name(), reviewer.model()), "reviewer")
        }
        Some(Err(reason)) => Check::warn(reason),
        None => Check::warn("it is being found out who can review; ask again in a few seconds"),
    };
    let github = match app.poster {
        Some(poster) => Check::pass().observed(poster, "poster"),
        None => Check::warn(
            "GITHUB_TOKEN is not set, nor a GitHub App: reviews are made and remembered, not posted",
        ),
    };
    let memory = match &app.remembering.borrow().paused {
        None => Check::pass(),
        Some(reason) => Check::warn(format!("reviews wait to be remembered: {reason}")),
    };
    let budget = budget(app.desk.today());
    report.with("reviewer", reviewer).with("github", github).with("memory", memory).with("budget", budget)
}

/// From this part of a day's budget on it is worth a warning.
const NEARLY: f64 = 0.8;

fn budget(today: Today) -> Check {
    let spent = today.total.cost_usd;
    let cents = (spent * 100.0).round() / 100.0;
    let instead = match today.over {
        OverBudget::Cheaper => "CLAUDE_CHEAP_MODEL is asked as far as it goes, then nobody",
        OverBudget::Ollama => "Ollama is asked",
        OverBudget::Skip => "nobody is asked, and reviews are skipped",
    };
    let check = match today.budget_usd {
        Some(budget) if spent >= budget => {
            Check::warn(format!("{today} are used up: until midnight UTC {instead}"))
        }
        Some(budget) if spent >= budget * NEARLY => {
            Check::warn(format!("{today} are spent today; where a question could cost more, {instead}"))
        }
        _ => Check::pass(),
    };
    check.observed(cents, "USD today")
}

/// Whether an event could be stored now.
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    inbox::answers::ready(&app.queue).await
}

#[cfg(test)]
mod tests {
    use shared::health::Status;

    use super::OverBudget::{Cheaper, Ollama, Skip};
    use super::*;
    use crate::ledger::Sum;

    #[test]
    fn a_budget_warns_before_it_is_used_up_and_says_what_happens_then() {
        let check = |cost_usd: f64, budget_usd: Option<f64>, over| {
            let total = Sum { cost_usd, ..Sum::default() };
            let check = budget(Today { total, budget_usd, over });
            (check.status, check.output.unwrap_or_default())
        };
        assert_eq!(check(99.0, None, Cheaper).0, Status::Pass);
        assert_eq!(check(3.99, Some(5.0), Skip).0, Status::Pass);
        let (status, output) = check(4.0, Some(5.0), Cheaper);
        assert_eq!(status, Status::Warn);
        assert!(
            output.starts_with("$4.00 of $5.00 are spent today") && output.contains("CLAUDE_CHEAP_MODEL")
        );
        assert!(check(5.0, Some(5.0), Ollama).1.contains("until midnight UTC Ollama is asked"));
        assert!(check(5.0, Some(5.0), Skip).1.contains("used up: until midnight UTC nobody is asked"));
    }
}
