//! Extra targets.

use queue::JobState;
use serde_json::{Value, json};

use crate::{
    receiver::{Does, KEY, OTHER_KEY, Receiver},
    running::{Running, start, target},
};

/// A relay with one extra target, which alone gets the issues.
async fn with_bot(receiver: &Receiver, rest: &str, flags: &[&str]) -> Running {
    let toml = format!(
        "[[routes]]\nevent = \"issues\"\ntargets = [\"bot\"]\n{}",
        target("bot", &receiver.url, rest)
    );
    start(&toml, flags).await
}

#[tokio::test]
async fn an_event_is_delivered_as_a_standard_webhook() {
    let bot = Receiver::closed().open();
    let relay = with_bot(&bot, "", &[]).await;
    assert_eq!(relay.issue("d1", "o/r").await, json!(["bot"]));
    let envelope = bot.taken(1).await.remove(0);
    assert_eq!(
        (&envelope["id"], &envelope["event"], &envelope["payload"]["delivery"], &envelope["redelivery"]),
        (&json!("d1"), &json!("issues"), &json!("d1"), &Value::Null)
    );
    let job = relay.done("d1", "bot").await;
    assert_eq!((job.attempts, job.finish.unwrap().state.as_str()), (1, "delivered"));
    let listed = relay.admin("GET", "/api/deliveries?state=delivered&target=bot").await;
    assert_eq!(
        (&listed["deliveries"][0]["id"], &listed["deliveries"][0]["state"]),
        (&json!("d1"), &json!("delivered"))
    );
    assert_eq!(relay.health("bot").await.0, json!("pass"));
}

#[tokio::test]
async fn it_gets_what_it_wants_beside_what_the_rules_say() {
    let bot = Receiver::closed().open();
    let wants = "events = [\"issues.opened\"]\nrepositories = [\"acme/*\"]";
    let relay = start(&target("bot", &bot.url, wants), &[]).await;
    assert_eq!(relay.issue("d1", "acme/app").await, json!(["ollama", "bot"]));
    assert_eq!(relay.issue("d2", "other/app").await, json!(["ollama"]));
    assert_eq!(bot.taken(1).await[0]["repository"]["full_name"], "acme/app");
}

#[tokio::test]
async fn a_test_event_goes_there_too() {
    let bot = Receiver::closed().open();
    let relay = with_bot(&bot, "", &[]).await;
    let sent = relay.admin("POST", "/test-webhook").await;
    assert_eq!(sent["targets"], json!(["claude", "ollama", "bot"]));
    relay.done(sent["delivery"].as_str().unwrap(), "bot").await;
    assert_eq!(bot.taken(1).await[0]["event"], "relay_test");
}

#[tokio::test]
async fn a_redelivery_says_so() {
    let bot = Receiver::closed().open();
    let relay = with_bot(&bot, "", &[]).await;
    relay.issue("d1", "o/r").await;
    relay.done("d1", "bot").await;
    relay.admin("POST", "/api/deliveries/d1/redeliver").await;
    let taken = bot.taken(2).await;
    assert_eq!((&taken[1]["id"], &taken[1]["redelivery"]), (&json!("d1"), &json!(1)));
    assert_eq!(taken[0]["payload"], taken[1]["payload"]);
}

#[tokio::test]
async fn an_error_of_its_own_is_tried_again_when_it_asks_for_it() {
    let bot = Receiver::closed().open().planned([Does::Answer(503)]);
    let relay = with_bot(&bot, "", &[]).await;
    relay.issue("d1", "o/r").await;
    let job = relay.done("d1", "bot").await;
    assert_eq!(job.attempts, 2);
    let failed = &job.history[0];
    assert_eq!(failed.what, "failed");
    assert!(failed.detail.as_deref().unwrap().contains("answered 503: says the receiver"), "{failed:?}");
    let waited = job.finished_at.unwrap() - failed.at;
    assert!(waited.total(jiff::Unit::Second).unwrap() >= 1.0, "Retry-After is kept to");
}

#[tokio::test]
async fn a_refusal_is_a_dead_letter_with_its_reason() {
    let bot = Receiver::closed().open().planned([Does::Answer(422), Does::Answer(410)]);
    let relay = with_bot(&bot, "", &[]).await;
    relay.issue("d1", "o/r").await;
    assert!(relay.dead("d1", "bot").await.contains("422: says the receiver"));
    relay.issue("d2", "o/r").await;
    assert!(relay.dead("d2", "bot").await.contains("gone for good"));
    relay.issue("d3", "o/r").await;
    relay.done("d3", "bot").await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_its_reason_is_kept() {
    let bot = Receiver::closed().open().planned([Does::Answer(302), Does::Answer(307)]);
    let relay = with_bot(&bot, "", &[]).await;
    relay.issue("d1", "o/r").await;
    let job = relay.done("d1", "bot").await;
    // The receiver panics at any other path than its own.
    assert_eq!((job.attempts, bot.taken(1).await.len()), (3, 1));
    assert!(job.history[0].detail.as_deref().unwrap().contains("302, a redirect"));
}

#[tokio::test]
async fn one_that_does_not_answer_pauses_its_lane_and_costs_no_attempt() {
    let bot = Receiver::closed().open().planned([Does::Hang]);
    let relay = with_bot(&bot, "", &["--dispatch-timeout", "2"]).await;
    relay.issue("d1", "o/r").await;
    let reason = relay.paused("bot").await;
    assert!(reason.contains("the target `bot` does not answer") && !reason.contains("team"), "{reason}");
    let (status, output) = relay.health("bot").await;
    assert_eq!(status, json!("warn"), "{output}");
    bot.let_go();
    let job = relay.done("d1", "bot").await;
    assert_eq!((job.attempts, job.history.len()), (1, 1), "{:?}", job.history);
}

#[tokio::test]
async fn an_event_at_which_it_chokes_does_not_hold_up_the_others() {
    let bot = Receiver::closed().open();
    bot.chokes_on("poison");
    let relay = with_bot(&bot, "", &["--dispatch-timeout", "1"]).await;
    relay.issue("poison", "o/r").await;
    relay.paused("bot").await;
    relay.issue("d2", "o/other").await;
    relay.done("d2", "bot").await;
    let poison = relay.job("poison", "bot", |job| !job.history.is_empty()).await;
    assert_eq!(poison.history[0].what, "failed");
    bot.let_go();
    relay.done("poison", "bot").await;
}

#[tokio::test]
async fn one_that_is_away_holds_up_nobody_else() {
    let (away, there) = (Receiver::closed(), Receiver::closed().open());
    let toml = ["away", "there"].map(|name| {
        let url = if name == "away" { &away.url } else { &there.url };
        target(name, url, "events = [\"push\"]")
    });
    let relay = start(&toml.concat(), &[]).await;
    for n in 0..20 {
        assert_eq!(relay.push(&format!("d{n}")).await, json!(["ollama", "away", "there"]));
    }
    for n in 0..20 {
        relay.done(&format!("d{n}"), "there").await;
    }
    assert!(relay.paused("away").await.contains("the target `away` does not answer"));
    assert_eq!((relay.health("away").await.0, relay.health("there").await.0), (json!("warn"), json!("pass")));
    let waiting = relay.job("d0", "away", |job| job.state == JobState::Pending).await;
    assert_eq!(waiting.attempts, 0);
    let away = away.open();
    for n in 0..20 {
        assert_eq!(relay.done(&format!("d{n}"), "away").await.attempts, 1);
    }
    let order: Vec<Value> = away.taken(20).await.into_iter().map(|envelope| envelope["id"].clone()).collect();
    assert_eq!(order, (0..20).map(|n| json!(format!("d{n}"))).collect::<Vec<_>>(), "one subject, in order");
}

#[tokio::test]
async fn a_key_that_it_does_not_know_makes_no_dead_letters() {
    let bot = Receiver::closed().open();
    bot.has_key(OTHER_KEY);
    let relay = with_bot(&bot, "", &[]).await;
    relay.issue("d1", "o/r").await;
    let reason = relay.paused("bot").await;
    assert!(reason.contains("401") && reason.contains("signing_key") && reason.contains("clock"), "{reason}");
    bot.has_key(KEY);
    assert_eq!(relay.done("d1", "bot").await.attempts, 1);
}

#[tokio::test]
async fn where_answers_are_to_be_signed_others_count_for_nothing() {
    let bot = Receiver::closed().open();
    let relay = with_bot(&bot, "signed_answers = true", &[]).await;
    relay.issue("d1", "o/r").await;
    assert!(relay.paused("bot").await.contains("without a valid signature"));
    bot.signs_its_answers();
    let job = relay.done("d1", "bot").await;
    assert_eq!((job.attempts, job.finish.unwrap().state.as_str()), (1, "delivered"));
}
