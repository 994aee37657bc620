//! Bad input between good events: the real relay answers each as the contract says, loses nothing and does not panic.
//! (Each single answer of the table is a test in `relay/tests/contract.rs`.)

use testkit::{
    scenario::Scenario,
    webhook::{Delivery, sign},
};

use crate::support::{Site, WEBHOOK_SECRET, World, binaries::Binaries, pull_request};

async fn raw(site: &Site, body: Vec<u8>, headers: &[(&str, &str)]) -> u16 {
    let mut request = site.http.post(format!("{}/github-webhook", site.relay)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn good_events_go_their_way_between_bad_ones() {
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let mut binaries = Binaries::new(&world);
    binaries.start(&world).await;
    let site = binaries.site(&world);
    let json = ("content-type", "application/json");
    let too_much = vec![b' '; 25 * 1024 * 1024 + 1];
    let signatures =
        [sign(WEBHOOK_SECRET, b"{"), sign(WEBHOOK_SECRET, &too_much), sign("another-secret-entirely", b"{}")];
    for round in 0..5 {
        let id = format!("round-{round}");
        let known = [json, ("x-github-event", "push"), ("x-github-delivery", &id)];
        let signed =
            |signature: &'static str| [known.as_slice(), &[("x-hub-signature-256", signature)]].concat();
        let [broken, large, foreign] =
            signatures.each_ref().map(|one| -> &'static str { Box::leak(one.clone().into_boxed_str()) });
        assert_eq!(raw(&site, b"{".to_vec(), &signed(broken)).await, 400);
        assert_eq!(raw(&site, too_much.clone(), &signed(large)).await, 413);
        assert_eq!(raw(&site, b"{}".to_vec(), &signed(foreign)).await, 401);
        assert_eq!(raw(&site, b"{}".to_vec(), &known).await, 401);
        let unknown =
            Delivery::new(&format!("unknown-{round}"), "a_new_event", &serde_json::json!({"round": round}));
        assert_eq!(site.send(&unknown.as_form()).await, 202);
        let pull =
            Scenario { number: 20 + round, head_sha: format!("{:040x}", 20 + round), ..scenario.clone() };
        pull.load_into(&world.github);
        assert_eq!(site.send(&pull_request(&format!("good-{round}"), &pull, "opened")).await, 202);
    }
    for round in 0..5 {
        site.until(&format!("good-{round}"), "claude", "completed").await;
        assert_eq!(world.github.reviews(&scenario.repository, 20 + round).len(), 1);
        assert!(
            site.delivery(&format!("round-{round}"))
                .await
                .is_some_and(|answer| answer["error"]["code"] == "not_found")
        );
    }
    let logs = binaries.logs();
    assert!(!logs.contains("panicked") && !logs.contains(r#""code":"internal""#), "{logs}");
}
