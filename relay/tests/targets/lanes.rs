//! The lanes of our own endpoints.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use http::{Method, StatusCode};
use queue::JobState;
use shared::signature::SigningKeys;
use tokio::{net::TcpListener, time::sleep};

use crate::{
    receiver::KEY,
    running::{Running, start},
};

async fn with_ollama(listener: &TcpListener) -> Running {
    start("", &["--ollama-endpoint", &format!("http://{}", listener.local_addr().unwrap())]).await
}

/// Waits until the lane is paused; says why, and the attempts that were counted.
async fn paused(relay: &Running) -> (String, u32) {
    relay.issue("d1", "o/r").await;
    let reason = relay.paused("ollama").await;
    (reason, relay.job("d1", "ollama", |job| job.state == JobState::Pending).await.attempts)
}

#[tokio::test]
async fn a_frozen_tunnel_is_found_long_before_the_hand_over_times_out() {
    // The kernel takes connections for it, and nobody ever reads from them: as with a client of sshd that is stopped.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = with_ollama(&frozen).await;
    let (reason, attempts) = paused(&relay).await;
    assert!(reason.contains("does not say who it is within 5 s"), "{reason}");
    assert_eq!(attempts, 0);
}

/// An endpoint at the end of a line that takes 8 s for an event, on which meanwhile nothing else gets an answer.
async fn slow_line(listener: TcpListener) {
    let (keys, is_full) = (SigningKeys::parse(&KEY.into()).unwrap(), Arc::new(AtomicBool::new(false)));
    let answer = async move |request: Request| {
        let id = request.headers()["webhook-id"].to_str().unwrap().to_owned();
        let (status, said) = match (request.method(), request.uri().path()) {
            (&Method::POST, _) => {
                is_full.store(true, Ordering::SeqCst);
                axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
                sleep(Duration::from_secs(8)).await;
                is_full.store(false, Ordering::SeqCst);
                (202, format!("{{\"status\":\"accepted\",\"id\":\"{id}\"}}"))
            }
            (_, "/readyz") if !is_full.load(Ordering::SeqCst) => (200, "ready".to_owned()),
            _ => pending().await,
        };
        let signed = keys.sign_answer(&id, status, said.as_bytes());
        Response::builder().status(status).header("relay-signature", signed).body(Body::from(said)).unwrap()
    };
    axum::serve(listener, Router::new().fallback(answer)).await.unwrap();
}

#[tokio::test]
async fn a_large_event_on_a_slow_line_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = with_ollama(&listener).await;
    tokio::spawn(slow_line(listener));
    relay.large("d1", 1 << 20).await;
    let arrived = |job: &queue::JobRecord| job.state == JobState::Done;
    tokio::select! {
        job = relay.job("d1", "ollama", arrived) => assert_eq!(job.attempts, 1),
        why = relay.paused("ollama") => panic!("it was given up, to be sent again and again: {why}"),
    }
}

#[tokio::test]
async fn a_clock_or_key_that_differs_is_named_and_costs_no_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = with_ollama(&listener).await;
    let refuses = Router::new().fallback(async || StatusCode::UNAUTHORIZED);
    tokio::spawn(async move { axum::serve(listener, refuses).await });
    let (reason, attempts) = paused(&relay).await;
    assert!(reason.contains("401") && reason.contains("RELAY_SIGNING_KEY or the clock"), "{reason}");
    assert_eq!(attempts, 0);
}

#[tokio::test]
async fn who_is_not_ours_pauses_the_lane_whatever_they_answer() {
    for status in [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = with_ollama(&listener).await;
        tokio::spawn(
            async move { axum::serve(listener, Router::new().fallback(async move || status)).await },
        );
        let (reason, attempts) = paused(&relay).await;
        assert!(reason.contains("without a valid signature"), "{reason}");
        assert_eq!(attempts, 0);
    }
}
