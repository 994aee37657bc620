//! A pull request over several heads: what is told, what is not told again, and what becomes of it.
#![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

use serde_json::json;
use testkit::anthropic::Reply;
use testkit::control::{Matcher, post};
use testkit::scenario::REVIEWER;

use crate::REVIEWS;
use crate::heads::{CART, PAY, Place, REPOSITORY, RUN, first, head, moved};
use crate::world::World;

/// [`PAY`] with one more line in it, so that all of it is to be reviewed again.
const PAY_CHANGED: Place = (
    "src/pay.rs",
    40,
    &[
        " fn pay(cart: &Cart) {",
        "+    let item = cart.first().unwrap();",
        "+    charge(item.cents);",
        "+    log(item);",
        " }",
    ],
);
const CART_CHANGED: Place = (
    "web/cart.js",
    31,
    &["   row.id = item.id;", "+  row.innerHTML = item.name;", "+  row.hidden = false;", "   return row;"],
);
const CART_FIXED: Place =
    ("web/cart.js", 30, &["   row.id = item.id;", "+  row.textContent = item.name;", "   return row;"]);

fn calls_since(world: &World, earlier: usize) -> Vec<String> {
    let calls = world.github.calls_since(earlier);
    calls.iter().map(|call| format!("{} {}", call.method, call.path)).collect()
}

#[tokio::test]
async fn a_first_review_takes_five_calls_and_a_later_one_six() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    let head = first();
    world.review(&endpoint, "d1", &head).await;
    let base = "/repos/acme/shop";
    let expected = |second: &[String]| {
        let mut calls = vec![format!("GET {base}/compare/{}...", head.base_sha)];
        calls.extend(["POST /graphql#Context".to_owned(), "POST /graphql#Recheck".to_owned()]);
        calls.extend(second.to_vec());
        calls
    };
    let is_like = |calls: &[String], expected: &[String]| {
        calls.len() == expected.len()
            && calls.iter().zip(expected).all(|(call, start)| call.starts_with(start))
    };
    let calls = calls_since(&world, 0);
    let posted = [format!("POST {REVIEWS}"), format!("POST {base}/statuses/{}", head.head_sha)];
    assert!(is_like(&calls, &expected(&posted)), "{calls:#?}");

    let second = crate::heads::head("second", &[PAY, CART, RUN]);
    world.review(&endpoint, "d2", &second).await;
    let later = calls_since(&world, calls.len());
    let review = world.own_reviews()[0].id;
    let posted = [
        format!("POST {REVIEWS}"),
        format!("PUT {REVIEWS}/{review}"),
        format!("POST {base}/statuses/{}", second.head_sha),
    ];
    assert!(is_like(&later, &expected(&posted)), "{later:#?}");
}

#[tokio::test]
async fn a_second_head_tells_only_what_is_new() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    world.review(&endpoint, "d1", &first()).await;
    assert_eq!((world.remarks().len(), world.own_reviews().len()), (2, 1));
    assert!(!world.prompt().contains("## Told before\n| "), "nothing was told before");

    // one place has moved, one has grown, one is new; the model tells all of it again, in other words
    let second = head("second", &[moved(PAY, 17), CART_CHANGED, RUN]);
    let done = world.review(&endpoint, "d2", &second).await;
    assert_eq!(done["state"], "completed", "{done}");
    let places: Vec<_> = world.remarks().iter().map(|it| (it.path.clone(), it.line)).collect();
    let expected = [("src/pay.rs", 11), ("web/cart.js", 31), ("src/run.js", 6)];
    assert_eq!(places, expected.map(|(path, line)| (path.to_owned(), Some(line))));
    let prompt = world.prompt();
    assert!(prompt.contains("=== src/pay.rs\n@@reviewed-before@@"), "{prompt}");
    assert!(prompt.contains("=== web/cart.js\n@@\n") && prompt.contains("=== src/run.js\n@@\n"), "{prompt}");
    let told = "## Told before\n| src/pay.rs:11 (major): Look at unwrap, version 0\n| web/cart.js:31 (major): Look at innerHTML, version 0\n";
    assert!(prompt.contains(told), "{prompt}");

    let summary = world.summary();
    assert!(summary.contains("3 open (1 blocker, 2 major)") && summary.contains("Answer 1."), "{summary}");
    let put = Matcher::new(http::Method::PUT, REVIEWS);
    assert_eq!((world.own_reviews().len(), world.github.count(&put)), (2, 1));
    assert!(
        world.own_reviews()[1].body.contains(&world.own_reviews()[0].html_url),
        "it points to the summary"
    );
    assert_eq!(done["detail"]["findings"]["told_before"], 2, "{done}");
    assert_eq!(world.status(&second).0, "failure");

    // nothing new in a place that is: the summary alone is updated
    let third =
        head("third", &[moved(PAY, 17), CART_CHANGED, moved(RUN, 1), ("src/ok.rs", 1, &["+fn ok() {}"])]);
    let done = world.review(&endpoint, "d3", &third).await;
    assert_eq!(
        (&done["state"], &done["url"]),
        (&json!("completed"), &json!(world.own_reviews()[0].html_url))
    );
    assert_eq!((world.remarks().len(), world.own_reviews().len(), world.github.count(&put)), (3, 2, 2));
    assert!(world.summary().contains("<sub>Reviewed ") && world.summary().contains(&third.head_sha[..7]));
}

#[tokio::test]
async fn a_rebase_that_brings_nothing_new_asks_nobody() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    world.review(&endpoint, "d1", &first()).await;
    let rebased = head("rebased", &[moved(CART, 4), moved(PAY, 120)]);
    let done = world.review(&endpoint, "d2", &rebased).await;
    assert_eq!((&done["state"], &done["detail"]["questions"]), (&json!("completed"), &json!(0)), "{done}");
    assert_eq!(
        (world.anthropic.requests().len(), world.remarks().len(), world.own_reviews().len()),
        (1, 2, 1)
    );
    assert!(world.summary().contains("Nothing new since"), "{}", world.summary());
    assert_eq!(world.status(&rebased), ("failure".into(), "Reviewed: 2 findings (2 major)".into()));
    // a person settles both: the next rebase is fine
    for remark in world.remarks() {
        world.github.resolve_as("ann", REPOSITORY, 7, remark.id);
    }
    let again = head("again", &[moved(CART, 9), PAY]);
    world.review(&endpoint, "d3", &again).await;
    assert_eq!(world.status(&again), ("success".into(), "Reviewed: no findings".into()));
    assert_eq!(world.anthropic.requests().len(), 1);
}

#[tokio::test]
async fn what_a_person_dismissed_stays_dismissed() {
    const TODO: Place = ("src/lib.rs", 3, &[" mod a;", "+// TODO: sort", "+mod b;", " mod c;"]);
    const TODO_CHANGED: Place = ("src/lib.rs", 3, &[" mod a;", "+// TODO: sort", "+mod bb;", " mod c;"]);
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    world.review(&endpoint, "d1", &head("one", &[PAY, CART, TODO])).await;
    assert_eq!(world.remarks().len(), 3);
    world.github.resolve_as("ann", REPOSITORY, 7, world.remark_on("src/pay.rs").id);
    world.github.thumbs_down_as("ann", REPOSITORY, world.remark_on("web/cart.js").id);
    world.github.delete_comment(REPOSITORY, 7, world.remark_on("src/lib.rs").id);
    // all is reviewed again, and all is found again
    let second = head("two", &[PAY_CHANGED, CART_CHANGED, TODO_CHANGED]);
    let done = world.review(&endpoint, "d2", &second).await;
    assert_eq!(
        (&done["state"], &done["detail"]["findings"]["told_before"]),
        (&json!("completed"), &json!(3))
    );
    assert_eq!((world.remarks().len(), world.own_reviews().len()), (2, 1));
    // anybody can give a thumbs-down, the author of the change, too
    assert!(world.summary().contains("1 open (1 major), 2 dismissed"), "{}", world.summary());
    assert_eq!(world.status(&second).0, "failure");
}

#[tokio::test]
async fn what_is_fixed_is_acknowledged_and_is_news_when_it_comes_back() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    world.review(&endpoint, "d1", &first()).await;
    let old = world.remark_on("web/cart.js").id;
    let fixed = head("fixed", &[PAY, CART_FIXED]);
    let done = world.review(&endpoint, "d2", &fixed).await;
    assert_eq!(done["detail"]["findings"]["threads_resolved"], 1, "{done}");
    assert_eq!(world.github.resolved_by(REPOSITORY, 7, old).as_deref(), Some(REVIEWER));
    let summary = world.summary();
    assert!(summary.contains("1 open (1 major), 1 fixed") && summary.contains("✓ fixed: [Look at innerHTML"));
    assert_eq!(world.status(&fixed), ("failure".into(), "Reviewed: 1 finding (1 major)".into()));

    let back = head("back", &[PAY, CART]);
    world.review(&endpoint, "d3", &back).await;
    let on_cart = world.remarks().into_iter().filter(|it| it.path == "web/cart.js").count();
    assert_eq!(on_cart, 2, "it is told anew");
    assert!(world.summary().contains("2 open (2 major), 1 fixed"), "{}", world.summary());
    // and its new thread is open, whatever became of the old one
    let later = head("later", &[moved(PAY, 1), moved(CART, 1)]);
    world.review(&endpoint, "d4", &later).await;
    assert!(world.summary().contains("2 open (2 major), 1 fixed"), "{}", world.summary());
    assert_eq!(world.status(&later).0, "failure");
    let gone = head("gone", &[moved(PAY, 2), CART_FIXED]);
    world.review(&endpoint, "d5", &gone).await;
    assert!(world.summary().contains("1 open (1 major), 2 fixed"), "{}", world.summary());
}

#[tokio::test]
async fn a_token_that_may_not_resolve_threads_costs_no_review() {
    let world = World::of_heads().await;
    world.github.deny_contents_write(REVIEWER);
    let endpoint = world.endpoint().await;
    world.review(&endpoint, "d1", &first()).await;
    let done = world.review(&endpoint, "d2", &head("fixed", &[PAY, CART_FIXED])).await;
    assert_eq!(
        (&done["state"], &done["detail"]["findings"]["threads_resolved"]),
        (&json!("completed"), &json!(0))
    );
    assert!(world.summary().contains("1 open (1 major), 1 fixed"), "{}", world.summary());
    let asked = world.github.count(&post("/graphql#Resolve"));
    world.review(&endpoint, "d3", &head("later", &[moved(PAY, 1), CART_FIXED])).await;
    assert_eq!(world.github.count(&post("/graphql#Resolve")), asked, "it is not asked for again");
}

#[tokio::test]
async fn a_strangers_copy_of_the_summary_is_not_used() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    world.review(&endpoint, "d1", &first()).await;
    let copy = world.own_reviews()[0].body.replace("2 open", "0 open");
    let copied = world.github.review_as("mallory", REPOSITORY, 7, &copy);
    // ours is gone: the stranger's is all that looks like one
    let ours = world.own_reviews()[0].id;
    world.github.edit_review(REPOSITORY, 7, ours, |_| "This is no summary.".to_owned());
    world.review(&endpoint, "d2", &head("second", &[PAY, CART, RUN])).await;
    let reviews = world.github.reviews(REPOSITORY, 7);
    let theirs = reviews.iter().find(|review| review.id == copied).unwrap();
    assert_eq!(theirs.body, copy, "it is left alone");
    assert!(world.own_reviews()[1].body.contains("Answer 1."), "a summary of our own");
    assert_eq!(world.remarks().len(), 3, "by their comments' markers the old findings are known");
    let prompt = world.prompt();
    assert!(!prompt.contains("@@reviewed-before@@"), "all is reviewed again: {prompt}");
    assert!(prompt.contains("| src/pay.rs (major): Look at unwrap, version 0"), "{prompt}");
}

#[tokio::test]
async fn a_summary_that_was_tampered_with_is_not_believed_and_nothing_is_told_twice() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    world.review(&endpoint, "d1", &first()).await;
    let ours = world.own_reviews()[0].id;
    let tamper = |body: &str| body.replace(" note=", " note=AAAA");
    world.github.edit_review(REPOSITORY, 7, ours, tamper);
    let second = head("second", &[PAY, CART, RUN]);
    let done = world.review(&endpoint, "d2", &second).await;
    assert_eq!((&done["state"], world.remarks().len()), (&json!("completed"), 3), "{done}");
    assert_eq!(done["detail"]["findings"]["open"], 3, "{done}");
    // from now on the new one is the summary
    world.review(&endpoint, "d3", &head("third", &[PAY, CART, moved(RUN, 3)])).await;
    assert_eq!((world.own_reviews().len(), world.remarks().len()), (2, 3));
    assert!(world.own_reviews()[1].body.contains("3 open"), "{}", world.own_reviews()[1].body);
}

#[tokio::test]
async fn a_summary_with_other_words_but_its_marker_is_the_summary() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    world.review(&endpoint, "d1", &first()).await;
    let ours = world.own_reviews()[0].id;
    world.github.edit_review(REPOSITORY, 7, ours, |body| format!("Maintainer's word.\n\n{body}"));
    world.review(&endpoint, "d2", &head("second", &[PAY, CART, RUN])).await;
    assert!(world.summary().contains("3 open"), "{}", world.summary());
    assert!(world.prompt().contains("@@reviewed-before@@"));
}

#[tokio::test]
async fn a_cut_off_later_answer_leaves_the_summary_as_it_was() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    world.review(&endpoint, "d1", &first()).await;
    let before = world.summary();
    world.anthropic.answer_next(Reply::max_tokens());
    let second = head("second", &[PAY, CART, RUN]);
    assert_eq!(world.review(&endpoint, "d2", &second).await["state"], "failed");
    assert_eq!((world.summary(), world.status(&second).0), (before, "error".to_owned()));
}
