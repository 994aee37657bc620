//! Heads of one pull request that differ in just what a test is about, and a model that finds the same each time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use testkit::anthropic::{Reply, Responder};
use testkit::github::{Review, ReviewComment};
use testkit::scenario::{REVIEWER, Scenario};
use testkit::shown;

use crate::world::World;

pub(crate) const REPOSITORY: &str = "acme/shop";

/// Two defects in two files.
pub(crate) fn first() -> Scenario {
    head("first", &[PAY, CART])
}

/// A changed place: the file, the line it begins at, and its lines.
pub(crate) type Place = (&'static str, u32, &'static [&'static str]);

pub(crate) const PAY: Place = (
    "src/pay.rs",
    10,
    &[" fn pay(cart: &Cart) {", "+    let item = cart.first().unwrap();", "+    charge(item.cents);", " }"],
);
pub(crate) const CART: Place =
    ("web/cart.js", 30, &["   row.id = item.id;", "+  row.innerHTML = item.name;", "   return row;"]);
/// One more.
pub(crate) const RUN: Place = ("src/run.js", 5, &[" function run(text) {", "+  return eval(text);", " }"]);

/// The pull request with this change against its base.
pub(crate) fn head(name: &str, places: &[Place]) -> Scenario {
    let scenario = Scenario::default();
    let diff: String = places.iter().map(patch).collect();
    let head_sha = testkit::github::sha_of(name);
    Scenario { head_sha, increment: diff.clone(), diff, ..scenario }
}

/// The same lines elsewhere.
pub(crate) fn moved((path, start, lines): Place, by: u32) -> Place {
    (path, start + by, lines)
}

fn patch((path, start, lines): &Place) -> String {
    let count = |but: char| lines.iter().filter(|line| !line.starts_with(but)).count();
    format!(
        "diff --git a/{path} b/{path}\nindex 7b71e90..b0ce2ee 100644\n--- a/{path}\n+++ b/{path}\n@@ -{start},{} +{start},{} @@\n{}\n",
        count('+'),
        count('-'),
        lines.join("\n")
    )
}

/// What the model has to say here belongs to no line.
pub(crate) const ABSENT: Place = ("src/log.rs", 7, &[" mod log;", "+// absent: what is logged", " mod a;"]);

/// Finds each `unwrap`, `eval`, `innerHTML`, `TODO` and `absent` that it is shown, reviewed before or not, and words it
/// anew each time.
pub(crate) fn forgetful() -> Responder {
    let asked = AtomicUsize::new(0);
    Arc::new(move |request| {
        let nth = asked.fetch_add(1, Ordering::SeqCst);
        let prompt = request.prompt();
        let findings: Vec<_> = shown::lines(&prompt)
            .filter(|line| line.sign == '+')
            .filter_map(|line| {
                let (word, severity) = [
                    ("unwrap", "major"),
                    ("eval", "blocker"),
                    ("innerHTML", "major"),
                    ("TODO", "nit"),
                    ("absent", "minor"),
                ]
                .into_iter()
                .find(|(word, _)| line.text.contains(word))?;
                let quote = if word == "absent" { "nobody wrote this" } else { line.text };
                Some(json!({
                    "path": line.path, "line": line.number, "end_line": line.number, "side": "RIGHT",
                    "quote": quote, "severity": severity, "category": "bug", "rule": word,
                    "title": format!("Look at {word}, version {nth}"), "body": format!("It fails, {nth}."),
                    "suggestion": null,
                }))
            })
            .collect();
        Reply::review(
            json!({"summary": format!("Answer {nth}."), "verdict": "comment", "findings": findings, "remember": []}),
        )
    })
}

impl World {
    /// Everything stands ready for the first review of [`first`].
    pub(crate) async fn of_heads() -> Self {
        Self::start_with(forgetful(), first()).await
    }

    pub(crate) fn own_reviews(&self) -> Vec<Review> {
        self.github
            .reviews(REPOSITORY, 7)
            .into_iter()
            .filter(|review| review.user.login == REVIEWER)
            .collect()
    }

    pub(crate) fn remarks(&self) -> Vec<ReviewComment> {
        self.github.comments(REPOSITORY, 7)
    }

    /// The comment on a file.
    pub(crate) fn remark_on(&self, path: &str) -> ReviewComment {
        let remarks = self.remarks();
        remarks
            .into_iter()
            .find(|comment| comment.path == path)
            .unwrap_or_else(|| panic!("nothing on {path}"))
    }

    /// The body of the one summary.
    pub(crate) fn summary(&self) -> String {
        let reviews = self.own_reviews();
        let is_summary = |review: &&Review| review.body.contains("<sub>Reviewed ");
        assert_eq!(reviews.iter().filter(is_summary).count(), 1, "one summary: {reviews:#?}");
        reviews[0].body.clone()
    }

    /// The newest status of a head.
    pub(crate) fn status(&self, head: &Scenario) -> (String, String) {
        let statuses = self.github.statuses(REPOSITORY, &head.head_sha);
        let newest = statuses.first().unwrap_or_else(|| panic!("{} has no status", head.head_sha));
        (newest.state.clone(), newest.description.clone().unwrap_or_default())
    }

    /// The newest question.
    pub(crate) fn prompt(&self) -> String {
        self.anthropic.requests().last().unwrap().prompt()
    }
}
