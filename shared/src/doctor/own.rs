//! The service that a doctor belongs to: whether it runs, and what it says of itself.

use serde_json::Value;

use super::{Finding, peer::Seen};
use crate::health::{Check, Report, Status};

/// So long an event may wait before somebody should know, in seconds.
const LONG: f64 = 3600.0;

/// What the running service says of its health under these components, `(component, name of the check)`; `mend` for all
/// of them, since the text says what to do.
pub fn health(report: &Report, wanted: &[(&str, &str)], mend: &str) -> Vec<Finding> {
    let finding = |name: &str, check: &Check| {
        let says = check.output.clone().unwrap_or_else(|| measured(check));
        match check.status {
            Status::Pass => Finding::ok(name, says),
            Status::Warn => Finding::warn(name, says, mend),
            Status::Fail => Finding::fail(name, says, mend),
        }
    };
    let of = |(component, name): &(&str, &str)| {
        let checks = report.checks.get(*component).into_iter().flatten();
        checks.map(|check| finding(name, check)).collect::<Vec<_>>()
    };
    wanted.iter().flat_map(of).collect()
}

fn measured(check: &Check) -> String {
    match (&check.observed_value, &check.observed_unit) {
        (Some(Value::String(text)), _) => text.clone(),
        (Some(value), Some(unit)) => format!("{value} {unit}"),
        _ => "works".to_owned(),
    }
}

/// How long the oldest unfinished event of a lane has waited, which is in the report under `component`.
pub fn age(report: &Report, component: &str, mend: &str) -> Option<Finding> {
    let seconds = report.checks.get(component)?.first()?.observed_value.as_ref()?.as_f64()?;
    let check = "oldest waiting";
    Some(match seconds {
        0.0 => Finding::ok(check, "nothing waits"),
        ..LONG => Finding::ok(check, format!("{seconds} s")),
        _ => Finding::warn(check, format!("an event has waited for {:.1} h", seconds / LONG), mend),
    })
}

/// The report, if the service gave one.
pub fn report(seen: &Seen) -> Option<&Report> {
    match seen {
        Seen::Answered(answered) => Some(&answered.report),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status as Found;

    #[test]
    fn the_service_s_own_words_are_passed_on() {
        let report = Report::new("relay")
            .with("store", Check::fail("the disk is full"))
            .with("store:backlog", Check::pass().observed(3, "jobs"))
            .with("other", Check::warn("not asked for"));
        let found = health(&report, &[("store", "store"), ("store:backlog", "backlog")], "look");
        let found: Vec<_> =
            found.iter().map(|one| (one.check.as_str(), one.status, one.says.as_str())).collect();
        assert_eq!(found, [("store", Found::Fail, "the disk is full"), ("backlog", Found::Ok, "3 jobs")]);
    }

    #[test]
    fn an_event_that_waits_for_an_hour_is_told() {
        let of = |seconds: f64| {
            let report =
                Report::new("relay").with("claude:oldest", Check::pass().observed(seconds, "seconds"));
            age(&report, "claude:oldest", "look").unwrap()
        };
        assert_eq!((of(0.0).says.as_str(), of(20.0).says.as_str()), ("nothing waits", "20 s"));
        assert!(of(5400.0).status == Found::Warn && of(5400.0).says.contains("1.5 h"));
        assert_eq!(age(&Report::new("relay"), "claude:oldest", ""), None);
    }
}
