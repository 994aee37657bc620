//! `application/health+json` (draft-inadarei-api-health-check-06): a status, and why.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::version::VERSION;

/// So full is a backlog that there is a warning: soon enough to bring back who takes from it.
const WARN_PERCENT: u64 = 80;

/// How well a component, or the whole, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Works.
    Pass,
    /// Works, with something to know: a target is away, a setting is missing.
    Warn,
    /// Cannot do its job.
    Fail,
}

/// One observation about one component.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// How well it is.
    pub status: Status,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_value: Option<Value>,
    /// Unit of `observed_value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_unit: Option<String>,
    /// What is wrong and what to do, unless it passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

impl Check {
    /// A component that works.
    pub fn pass() -> Self {
        Self { status: Status::Pass, observed_value: None, observed_unit: None, output: None }
    }

    /// A component that works less well; `output` says what to do.
    pub fn warn(output: impl Into<String>) -> Self {
        Self { status: Status::Warn, output: Some(output.into()), ..Self::pass() }
    }

    /// A component that does not work; `output` says what to do.
    pub fn fail(output: impl Into<String>) -> Self {
        Self { status: Status::Fail, output: Some(output.into()), ..Self::pass() }
    }

    /// How many wait of how many may: a warning in good time before more are refused; `otherwise` says what happens then, and
    /// what to do.
    pub fn backlog(open: u64, limit: u64, unit: &str, otherwise: &str) -> Self {
        let check = if open.saturating_mul(100) >= limit.saturating_mul(WARN_PERCENT) {
            Self::warn(format!("{open} of {limit} {unit} wait; {otherwise}"))
        } else {
            Self::pass()
        };
        check.observed(open, unit)
    }

    /// Adds a measured value.
    #[must_use]
    pub fn observed(mut self, value: impl Into<Value>, unit: &str) -> Self {
        self.observed_value = Some(value.into());
        self.observed_unit = Some(unit.to_owned());
        self
    }
}

/// The answer of `GET /health`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The worst of the checks.
    pub status: Status,
    /// Which build it is: [`VERSION`].
    pub release_id: String,
    /// Name of the service.
    pub service_id: String,
    /// By component, as `component` or `component:measurement`.
    pub checks: BTreeMap<String, Vec<Check>>,
}

impl Report {
    /// A report without checks passes.
    pub fn new(service: &str) -> Self {
        Self {
            status: Status::Pass,
            release_id: VERSION.to_owned(),
            service_id: service.to_owned(),
            checks: BTreeMap::new(),
        }
    }

    /// Adds a check; the report is as bad as its worst.
    #[must_use]
    pub fn with(mut self, component: &str, check: Check) -> Self {
        self.status = self.status.max(check.status);
        self.checks.entry(component.to_owned()).or_default().push(check);
        self
    }
}

impl IntoResponse for Report {
    /// 200 unless the status is `fail`, then 503.
    fn into_response(self) -> Response {
        let status =
            if self.status == Status::Fail { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, [(CONTENT_TYPE, "application/health+json")], body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_that_is_nearly_full_is_a_warning() {
        let status = |open, limit| Check::backlog(open, limit, "jobs", "wait").status;
        assert_eq!([status(0, 1), status(79, 100), status(399_999, 500_000)], [Status::Pass; 3]);
        assert_eq!([status(80, 100), status(100, 100), status(2, 2)], [Status::Warn; 3]);
    }

    #[test]
    fn a_report_is_as_bad_as_its_worst_check() {
        let report = Report::new("relay").with("store", Check::pass()).with("claude", Check::warn("asleep"));
        assert_eq!(report.status, Status::Warn);
        assert_eq!(report.clone().into_response().status(), StatusCode::OK);
        let failed =
            report.with("store", Check::fail("disk full").observed(0, "bytes")).with("x", Check::pass());
        assert_eq!(failed.status, Status::Fail);
        assert_eq!(failed.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
