//! The lanes of our own endpoints.

use axum::Router;
use http::StatusCode;
use queue::JobState;
use tokio::net::TcpListener;

use crate::running::{Running, start};

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
    assert!(reason.contains("does not say who it is within 3 s"), "{reason}");
    assert_eq!(attempts, 0);
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
