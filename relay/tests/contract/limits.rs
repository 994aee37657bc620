//! How much one address and all together may send.

use super::*;

impl Running {
    /// As a proxy would bring it from `client`.
    fn unsigned_from(&self, client: &str) -> RequestBuilder {
        let request = self.http.post(format!("{}/github-webhook", self.url));
        request.header("x-forwarded-for", client).header("content-type", "application/json")
    }

    /// The first 429 among a thousand requests.
    async fn until_refused(&self, client: &str) -> Option<Response> {
        for _ in 0..1000 {
            let response = self.unsigned_from(client).send().await.unwrap();
            if response.status() == StatusCode::TOO_MANY_REQUESTS {
                return Some(response);
            }
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        }
        None
    }
}

#[tokio::test]
async fn an_address_without_proof_has_a_rate() {
    let relay = start(&["--rate-limit-address", "1"]).await;
    let refused = relay.until_refused("1.1.1.1, 9.9.9.9").await.unwrap();
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=11).contains(&wait), "{wait}");
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["code"], "rate_limited");
    let another = relay.unsigned_from("1.1.1.1").send().await.unwrap();
    assert_eq!(another.status(), StatusCode::UNAUTHORIZED, "others are not refused");
    for _ in 0..100 {
        let probe = relay.http.get(format!("{}/readyz", relay.url)).send().await.unwrap();
        assert_eq!(probe.status(), 200);
    }
}

#[tokio::test]
async fn real_webhooks_are_never_too_many_for_one_address() {
    let relay = start(&["--rate-limit-address", "1"]).await;
    let mut sending = tokio::task::JoinSet::new();
    for number in 0..200 {
        let webhook = relay.webhook("pull_request", &format!("d{number}"), &pull_request(number));
        sending.spawn(answer(webhook.header("x-forwarded-for", "140.82.115.1")));
    }
    while let Some(answer) = sending.join_next().await {
        assert_eq!(answer.unwrap().0, 202);
    }
    for _ in 0..100 {
        let other_hook = relay.unsigned_from("140.82.115.1").send().await.unwrap();
        assert_eq!(other_hook.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(answer(relay.webhook("ping", "d-last", b"{}")).await.0, 200);
}

#[tokio::test]
async fn all_together_have_a_rate_and_the_body_of_a_refused_one_is_not_waited_for() {
    let relay = start(&["--rate-limit", "1", "--rate-limit-address", "0"]).await;
    relay.until_refused("9.9.9.9").await.unwrap();
    let address = relay.url.strip_prefix("http://").unwrap();
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = "POST /github-webhook HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        // A second may have passed, and with it the next one was let in.
        if answer.starts_with("HTTP/1.1 429") {
            break;
        }
    }
    let probe = relay.http.get(format!("{}/livez", relay.url)).send().await.unwrap();
    assert_eq!(probe.status(), 200);
}
