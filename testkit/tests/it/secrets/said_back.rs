//! A badly made proxy on the way, or a service that is none of ours, says back what it was sent. What we quote of its
//! errors must not hold what we sent to prove who we are.

use http::StatusCode;

use super::{canaries::Canaries, scenario, stage::Stage, wires::Echo};
use crate::support::until;

/// Answers that are handled each in a way of its own.
const STATUSES: [u16; 7] = [400, 401, 403, 404, 422, 500, 529];

/// Sends an event, and waits until `echo` was asked and what came of it is in a log.
async fn until_said_back(stage: &mut Stage, echo: &Echo, id: &str, number: u64) {
    let before = echo.asked();
    stage.open(id, &scenario(number, "Said back")).await;
    assert!(until(async || echo.asked() > before).await, "nobody asked for {id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_back_to_us_is_not_written_down() {
    let mut stage = Stage::set(Canaries::new()).await;
    stage.secrets_from_files();
    stage.start().await;
    for (nth, status) in (0..).zip(STATUSES) {
        let echo = Echo::answering(StatusCode::from_u16(status).unwrap()).await;
        // GitHub for all; then everybody but GitHub, who is asked first.
        for (variables, id) in [
            (&["GITHUB_API_URL"][..], format!("github-{status}")),
            (&["ANTHROPIC_BASE_URL", "MEMORY_URL"], format!("others-{status}")),
        ] {
            stage.claude.stop();
            stage.relay.stop();
            let before = stage.claude.environment.clone();
            for variable in variables {
                stage.claude.set(variable, &echo.url);
            }
            let hooks = stage.relay.environment.clone();
            stage.relay.set("GITHUB_API_URL", &echo.url);
            stage.claude.start(&stage.world).await;
            stage.relay.start(&stage.world).await;
            until_said_back(&mut stage, &echo, &id, 50 + nth * 2 + variables.len() as u64 % 2).await;
            let ask = stage.http().get(format!("{}/health", stage.relay.url));
            stage.ask(ask).await;
            let ask = stage.http().get(format!("{}/health", stage.claude.url));
            stage.ask(ask).await;
            stage.claude.environment = before;
            stage.relay.environment = hooks;
        }
    }
    // An extra target and a place where an endpoint should be say back what the relay sent.
    let echo = Echo::answering(StatusCode::INTERNAL_SERVER_ERROR).await;
    stage.relay.stop();
    stage.relay.set("CLAUDE_ENDPOINT", &echo.url);
    stage.relay.set("OLLAMA_ENDPOINT", &echo.url);
    stage.relay.start(&stage.world).await;
    until_said_back(&mut stage, &echo, "nowhere", 90).await;
    stage.run("relay", &["deliveries", "show", "nowhere"]);
    stage.stop_and_collect();
    assert!(
        stage.places.with("relay.log", "said_back") + stage.places.with(".log", "you sent") > 0,
        "nothing was quoted"
    );
    assert!(stage.places.with("claude-endpoint.log", "<hidden>") > 0, "nothing had to be hidden");
    let leaks = stage.places.leaks(&stage.canaries, &super::MAY);
    assert!(leaks.is_empty(), "secrets have got out: {leaks:#?}");
}
