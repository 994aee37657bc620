//! Pull requests of programs: whose they are, how many rounds they get, and what Jules is handed.
#![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

use std::sync::Arc;

use claude_endpoint::config::{Config, HandoffSettings};
use http::StatusCode;
use serde_json::{Value, json};
use testkit::anthropic::{Responder, reviewer};
use testkit::control::{Fault, post};
use testkit::github::IssueComment;
use testkit::scenario::Scenario;

use crate::conversation::{REPO, comment, ends, ours, reviewed_with, reviews_asked, status};
use crate::world::{Endpoint, World, finding, reply};

const FOOTER: &str = "Adds a thing.\n\n---\n*PR created automatically by Jules for task [123456](https://jules.google.com/task/123456) started by @ann*";
const PERSON: &str = "ghp_aPerson00000000000000000000000000000";

/// The pull request at its nth head: another defect each time, and a line that stays.
fn head(author: &str, body: &str, nth: usize) -> Scenario {
    let lines =
        ["fn main() {".to_owned(), format!("    defect({nth});"), "    stays();".to_owned(), "}".to_owned()];
    let added: String = lines.iter().map(|line| format!("+{line}\n")).collect();
    let diff = format!(
        "diff --git a/m.rs b/m.rs\nnew file mode 100644\n--- /dev/null\n+++ b/m.rs\n@@ -0,0 +1,4 @@\n{added}"
    );
    let shas = ["1", "2", "3", "4", "5", "6"];
    Scenario {
        author: author.into(),
        body: body.into(),
        head_sha: shas[nth].repeat(40),
        updated_at: format!("2026-11-22T10:0{nth}:00Z"),
        diff: diff.clone(),
        increment: diff,
        ..Scenario::default()
    }
}

/// Finds the line that calls `what`.
fn finds(what: &'static str) -> Responder {
    let others = reviewer();
    Arc::new(move |request| {
        if !request.asks_for("findings") {
            return others(request);
        }
        let prompt = request.prompt();
        let line = (0..9).map(|nth| format!("    {what}({nth});")).chain(["    stays();".to_owned()]);
        let found = line
            .filter(|line| line.trim_start().starts_with(what))
            .find(|line| prompt.contains(line.as_str()));
        reply(found.map(|line| finding("m.rs", 2, 2, &line, "major")).into_iter().collect())
    })
}

struct Pull {
    world: World,
    endpoint: Endpoint,
    author: &'static str,
    body: &'static str,
}

impl Pull {
    async fn opened(
        author: &'static str,
        body: &'static str,
        what: &'static str,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let world = World::start_with(finds(what), head(author, body, 0)).await;
        world.github.add_member(REPO, "ann");
        let endpoint = reviewed_with(&world, change).await;
        Self { world, endpoint, author, body }
    }

    async fn pushed(&self, nth: usize) -> Value {
        let next = head(self.author, self.body, nth);
        next.push_to(&self.world.github);
        ends(&self.endpoint, &self.world.synchronized(&format!("d{}", nth + 1), &next)).await
    }

    fn summary(&self) -> String {
        self.world.github.reviews(REPO, 7)[0].body.clone()
    }

    fn status(&self, nth: usize) -> (String, String) {
        status(&self.world, &head(self.author, self.body, nth).head_sha)
    }
}

#[tokio::test]
async fn programs_get_a_few_rounds_then_a_person_is_asked() {
    for (author, body) in
        [("ann", FOOTER), ("google-labs-jules[bot]", "Adds a thing."), ("dependabot[bot]", "Bump x")]
    {
        let pull = Pull::opened(author, body, "defect", |_| {}).await;
        for nth in 1..3 {
            assert_eq!(pull.pushed(nth).await["state"], "completed", "{author} {nth}");
        }
        for nth in 3..5 {
            let done = pull.pushed(nth).await;
            assert_eq!(
                (&done["state"], &done["detail"]["stopped"]),
                (&json!("skipped"), &json!(true)),
                "{done}"
            );
            let (state, description) = pull.status(nth);
            assert_eq!(state, "error");
            assert!(description.starts_with("Stopped: it had 3 rounds of review"), "{description}");
        }
        assert!(pull.summary().contains("a person decides how to go on, `/ai review` makes another"));
        assert_eq!((reviews_asked(&pull.world), pull.summary().matches("3 rounds").count()), (3, 1));
        let puts = pull.world.github.calls().iter().filter(|call| call.method == http::Method::PUT).count();
        assert_eq!(puts, 3, "two reviews and one notice");

        let done = ends(&pull.endpoint, &comment(&pull.world, "c1", "ann", "/ai review")).await;
        assert_eq!((&done["state"], &done["detail"]["round"]), (&json!("completed"), &json!(1)), "{done}");
        assert!(!pull.summary().contains("3 rounds"), "{}", pull.summary());
        assert_eq!(pull.pushed(5).await["detail"]["round"], 2, "the rounds begin anew");
    }
}

#[tokio::test]
async fn a_program_that_fixes_nothing_is_stopped_and_a_person_is_not() {
    let pull = Pull::opened("dependabot[bot]", "Bump x", "stays", |_| {}).await;
    let done = pull.pushed(1).await;
    assert_eq!((&done["state"], &done["detail"]["stopped"]), (&json!("skipped"), &json!(true)), "{done}");
    let (state, description) = pull.status(1);
    assert_eq!(state, "error");
    assert!(
        description.starts_with("Stopped: nothing that the last review found was fixed"),
        "{description}"
    );

    let pull = Pull::opened("ann", "Adds a thing.", "stays", |_| {}).await;
    for nth in 1..5 {
        let done = pull.pushed(nth).await;
        assert_eq!(
            (&done["state"], &done["detail"]["round"]),
            (&json!("completed"), &json!(nth + 1)),
            "{done}"
        );
    }
}

#[tokio::test]
async fn whose_change_it_is_stands_in_the_outcome_and_in_the_memory() {
    for (author, body, provenance, words) in [
        ("ann", FOOTER, json!({"jules": {"task": "123456"}}), "Jules, https://jules.google.com/task/123456"),
        ("google-labs-jules[bot]", "", json!({"jules": {"task": null}}), "by a program: Jules"),
        ("dependabot[bot]", "", json!({"bot": "Dependabot"}), "by a program: Dependabot"),
        ("ann", "Adds a thing.", json!("person"), ""),
    ] {
        let pull = Pull::opened(author, body, "defect", |_| {}).await;
        assert_eq!(pull.endpoint.outcome("d1").await["detail"]["provenance"], provenance);
        let update = pull.world.memory.updates().remove(0);
        assert_eq!(update.context.contains("was made by a program"), !words.is_empty(), "{}", update.context);
        assert!(update.context.contains(words), "{}", update.context);
    }
}

fn by_a_person(config: &mut Config) {
    config.github.handoff = HandoffSettings::Person(PERSON.into());
}

fn handed(world: &World) -> Vec<IssueComment> {
    let comments = world.github.issue_comments(REPO, 7);
    comments.into_iter().filter(|comment| comment.body.starts_with("@jules")).collect()
}

#[tokio::test]
async fn jules_is_handed_what_is_open_once_for_each_head_but_the_last() {
    let world = World::start_with(finds("defect"), head("ann", FOOTER, 0)).await;
    world.github.add_user(PERSON, "ann");
    world.github.add_member(REPO, "ann");
    let comments = post("/repos/acme/shop/issues/7/comments");
    world.github.fail_next(comments.clone(), Fault::LoseAnswer);
    let endpoint = reviewed_with(&world, by_a_person).await;
    let pull = Pull { world, endpoint, author: "ann", body: FOOTER };
    let first = handed(&pull.world);
    assert_eq!((first.len(), first[0].user.login.as_str()), (1, "ann"), "{first:?}");
    assert!(
        first[0].body.contains("**major** `m.rs:2`: About m.rs")
            && first[0].body.contains("[the review](http")
    );
    assert_eq!(pull.endpoint.outcome("d1").await["detail"]["handed_over"], first[0].html_url);
    assert_eq!(reviews_asked(&pull.world), 1);

    // it comes back as an event of a person who may write
    let mut back = comment(&pull.world, "b1", "ann", &first[0].body);
    assert_eq!(ends(&pull.endpoint, &back).await["state"], "skipped");
    back["id"] = json!("b2");
    back["sender"] = json!({"login": "google-labs-jules[bot]", "kind": "bot"});
    back["subject"]["author"] = json!("google-labs-jules[bot]");
    back["subject"]["body"] = json!("/ai review");
    assert_eq!(ends(&pull.endpoint, &back).await["state"], "skipped");

    pull.pushed(1).await;
    assert_eq!(handed(&pull.world).len(), 3, "and the copy above");
    let last = pull.pushed(2).await;
    assert_eq!((&last["state"], &last["detail"]["round"]), (&json!("completed"), &json!(3)), "{last}");
    assert_eq!(handed(&pull.world).len(), 3, "nobody would review what it makes of the last round");
    assert!(last["detail"]["handed_over"].is_null() && ours(&pull.world).is_empty());
}

#[tokio::test]
async fn nobody_else_is_handed_anything() {
    for (author, body, what) in [
        ("ann", "By hand.", "defect"),
        ("dependabot[bot]", "Bump", "defect"),
        ("google-labs-jules[bot]", "", "nothing"),
    ] {
        let pull =
            Pull::opened(author, body, what, |config| config.github.handoff = HandoffSettings::Ourselves)
                .await;
        assert!(handed(&pull.world).is_empty(), "{author} {what}");
    }
    // off
    assert!(handed(&Pull::opened("google-labs-jules[bot]", FOOTER, "defect", |_| {}).await.world).is_empty());
    // anybody can write the footer below a fork's pull request
    let world = World::start_with(finds("defect"), head("mallory", FOOTER, 0)).await;
    world.github.set_fork(REPO, 7, "mallory/shop");
    reviewed_with(&world, |config| config.github.handoff = HandoffSettings::Ourselves).await;
    assert!(handed(&world).is_empty());
    // by the token's owner, where that is set
    let pull = Pull::opened("google-labs-jules[bot]", FOOTER, "defect", |config| {
        config.github.handoff = HandoffSettings::Ourselves;
    })
    .await;
    assert_eq!((handed(&pull.world).len(), ours(&pull.world).len()), (1, 1));
}

#[tokio::test]
async fn a_token_that_may_not_ask_costs_no_review() {
    let world = World::start_with(finds("defect"), head("ann", FOOTER, 0)).await;
    let endpoint = reviewed_with(&world, by_a_person).await;
    let done = endpoint.outcome("d1").await;
    let said = done["detail"]["handed_over"].as_str().unwrap();
    assert!(said.starts_with("not asked: ") && said.contains("HANDOFF_TOKEN"), "{done}");
    world.github.add_user(PERSON, "ann");
    world
        .github
        .fail_next(post("/repos/acme/shop/issues/7/comments"), Fault::Status(StatusCode::FORBIDDEN, vec![]));
    let next = head("ann", FOOTER, 1);
    next.push_to(&world.github);
    let done = ends(&endpoint, &world.synchronized("d2", &next)).await;
    assert_eq!(done["state"], "completed");
    assert!(done["detail"]["handed_over"].as_str().unwrap().starts_with("not asked: "), "{done}");
}
