//! A disk that fills up under the real relay: 503 and nothing half-stored, and it goes on by itself when there is room.

use testkit::scenario::Scenario;

use crate::support::{Site, WEBHOOK_SECRET, World, binaries::Process, pull_request, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_nothing_acknowledged_is_lost() {
    let world = World::start(&Scenario::default()).await;
    let nobody = "http://127.0.0.1:9";
    let mut relay = Process::new(&world, "relay", world.relay_flags(nobody, nobody));
    relay.largest_file = Some(1024);
    relay.start(&world).await;
    let site = Site { relay: relay.url.clone(), memory: String::new(), http: world.http.clone() };
    let event = |number: u64| {
        let scenario = Scenario { number, head_sha: format!("{number:040x}"), ..Scenario::default() };
        pull_request(&format!("d{number}"), &scenario, "opened")
    };

    let (mut acknowledged, mut refused) = (Vec::new(), None);
    for number in 1..2000 {
        let answer =
            event(number).send(&format!("{}/github-webhook", relay.url), WEBHOOK_SECRET).await.unwrap();
        match answer.status {
            202 => acknowledged.push(number),
            status => {
                refused = Some(number);
                assert_eq!(status, 503, "{}", answer.body);
                assert!(answer.body.contains("store_failed"), "{}", answer.body);
                break;
            }
        }
    }
    let refused = refused.unwrap();
    assert!(!acknowledged.is_empty());
    assert_eq!(site.delivery(&format!("d{refused}")).await.unwrap()["error"]["code"], "not_found");
    let health =
        async || world.http.get(format!("{}/health", relay.url)).send().await.unwrap().status().as_u16();
    assert_eq!(health().await, 503);

    relay.make_room();
    assert!(until(async || health().await == 200).await);
    assert_eq!(site.send(&event(refused)).await, 202, "the same delivery, sent again");
    acknowledged.push(refused);
    relay.kill();
    relay.largest_file = None;
    relay.start(&world).await;
    for number in acknowledged {
        let stored = site.delivery(&format!("d{number}")).await.unwrap();
        assert_eq!(stored["targets"].as_array().map(Vec::len), Some(2), "{stored:#}");
    }
    assert!(!relay.log().contains("panicked"), "{}", relay.log());
}
