//! Who gets a slot when, and who gives up his place.

use super::*;

const ONE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1";

/// A chat that Ollama can tell from others.
fn chat(number: usize) -> String {
    format!("POST /api/chat HTTP/1.1\r\nhost: proxy\r\ncontent-length: 3\r\n\r\n{{{number}}}")
}

impl Fixture {
    /// Waits until so many requests wait for their turn.
    async fn waiting(&self, count: usize) {
        while self.waiting_now() != count {
            tokio::task::yield_now().await;
        }
    }

    fn waiting_now(&self) -> usize {
        limits().waiting - self.inner.places.available_permits()
    }
}

#[tokio::test]
async fn who_came_first_is_served_first() {
    let fixture = Fixture::new(Limits { concurrency: 1, ..limits() }).await;
    let mut callers = Vec::new();
    let mut ollama = None;
    for number in 0..4 {
        callers.push(fixture.caller(&chat(number)).await);
        if number == 0 {
            ollama = Some(fixture.ollama().await);
        }
        fixture.waiting(number).await;
    }
    let mut ollama = ollama.unwrap();
    for (number, mut caller) in callers.into_iter().enumerate() {
        let asked = ollama.until("}").await;
        assert!(asked.ends_with(&format!("\r\n\r\n{{{number}}}")), "{number}: {asked}");
        // A newcomer between the release of the slot and its next owner does not get ahead.
        ollama.send(ONE).await;
        caller.until("\r\n\r\n1").await;
    }
}

#[tokio::test]
async fn one_runs_one_waits_and_the_third_is_told_to_come_again() {
    let fixture = Fixture::new(Limits { concurrency: 1, waiting: 1, ..limits() }).await;
    let mut first = fixture.caller(CHAT).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    let mut others = [fixture.caller(CHAT).await, fixture.caller(CHAT).await];
    // Whichever of the two came second is refused while the other waits.
    let (refused, at) = {
        let [a, b] = &mut others;
        tokio::select! { answer = a.until("}") => (answer, 0), answer = b.until("}") => (answer, 1) }
    };
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(refused.contains("{\"error\":\"server busy"), "{refused}");
    ollama.send(ONE).await;
    first.until("\r\n\r\n1").await;
    ollama.until("\r\n\r\n{}").await;
    ollama.send(ONE).await;
    others[1 - at].until("\r\n\r\n1").await;
}

#[tokio::test]
async fn who_waits_too_long_is_told_to_come_again() {
    let fixture = Fixture::new(Limits { concurrency: 1, ..limits() }).await;
    let _first = fixture.caller(CHAT).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    let mut second = fixture.caller(CHAT).await;
    fixture.waiting(1).await;
    tokio::time::pause();
    let refused = second.until("}").await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
    assert_eq!(fixture.waiting_now(), 0);
}

#[tokio::test]
async fn who_leaves_the_queue_frees_the_place_and_is_never_asked_for() {
    let fixture = Fixture::new(Limits { concurrency: 1, ..limits() }).await;
    let mut first = fixture.caller(&chat(0)).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("{0}").await;
    let whole = fixture.caller(&chat(1)).await;
    fixture.waiting(1).await;
    let half = fixture
        .caller("POST /api/chat HTTP/1.1\r\nhost: p\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n")
        .await;
    fixture.waiting(2).await;
    let mut last = fixture.caller(&chat(3)).await;
    fixture.waiting(3).await;
    drop(whole);
    fixture.waiting(2).await;
    drop(half);
    fixture.waiting(1).await;
    ollama.send(ONE).await;
    first.until("\r\n\r\n1").await;
    assert!(ollama.until("}").await.ends_with("{3}"));
    ollama.send(ONE).await;
    last.until("\r\n\r\n1").await;
}

#[tokio::test]
async fn an_upload_that_waited_arrives_whole() {
    let fixture = Fixture::new(Limits { concurrency: 1, ..limits() }).await;
    let mut first = fixture.caller(CHAT).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    let mut second = fixture
        .caller("POST /api/chat HTTP/1.1\r\nhost: p\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n")
        .await;
    fixture.waiting(1).await;
    ollama.send(ONE).await;
    first.until("\r\n\r\n1").await;
    assert!(ollama.until("1\r\n{\r\n").await.contains("transfer-encoding: chunked\r\n"));
    second.send("1\r\n}\r\n0\r\n\r\n").await;
    assert_eq!(ollama.until("0\r\n\r\n").await, "1\r\n}\r\n0\r\n\r\n");
    ollama.send(ONE).await;
    second.until("\r\n\r\n1").await;
}
