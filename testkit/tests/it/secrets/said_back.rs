//! A badly made proxy on the way, or a service that is none of ours, says back what it was sent. What we quote of its
//! errors must not hold what we sent to prove who we are.

use http::StatusCode;

use super::{canaries::Canaries, scenario, stage::Stage, wires::Echo};
use crate::support::{binaries::Process, until};

/// Answers that are handled each in a way of its own.
const STATUSES: [u16; 7] = [400, 401, 403, 404, 422, 500, 529];

/// Who is answered, by the setting that says whom to ask.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Caller {
    ClaudeOfGithub,
    ClaudeOfAnthropic,
    ClaudeOfTheMemory,
    RelayOfGithub,
}

use Caller::{ClaudeOfAnthropic, ClaudeOfGithub, ClaudeOfTheMemory, RelayOfGithub};

impl Caller {
    fn process(self, stage: &mut Stage) -> &mut Process {
        if self == RelayOfGithub { &mut stage.relay } else { &mut stage.claude }
    }

    fn setting(self) -> &'static str {
        match self {
            ClaudeOfGithub | RelayOfGithub => "GITHUB_API_URL",
            ClaudeOfAnthropic => "ANTHROPIC_BASE_URL",
            ClaudeOfTheMemory => "MEMORY_URL",
        }
    }

    /// What it writes into its log when it has been answered so.
    fn writes(self, status: u16) -> String {
        match (self, status) {
            (ClaudeOfAnthropic, _) => format!("Anthropic answered {status} "),
            (ClaudeOfTheMemory, _) => format!("the memory answered {status}: you sent GET"),
            (ClaudeOfGithub, 400) => "GitHub's answer cannot be used: 400 Bad Request: you sent".to_owned(),
            (ClaudeOfGithub, 401) => "GitHub refuses GITHUB_TOKEN (you sent".to_owned(),
            (ClaudeOfGithub, 403) => "GITHUB_TOKEN may not do this (you sent".to_owned(),
            (ClaudeOfGithub, 404) => "GitHub knows no /".to_owned(),
            (ClaudeOfGithub, 422) => "GitHub refused the request: you sent".to_owned(),
            (ClaudeOfGithub, _) => format!("GitHub answered {status} "),
            (RelayOfGithub, 401) => "GitHub does not accept the credentials".to_owned(),
            (RelayOfGithub, 403) => "GitHub does not allow it".to_owned(),
            (RelayOfGithub, 404) => "there is no such thing, or it may not be seen".to_owned(),
            (RelayOfGithub, 500..) => format!("GitHub does not answer: {status} "),
            (RelayOfGithub, _) => format!("GitHub answered {status}: you sent"),
        }
    }
}

async fn echo(status: u16) -> Echo {
    Echo::answering(StatusCode::from_u16(status).unwrap()).await
}

/// Each caller is answered with `status` by an echo of its own, and has written down what came of it.
async fn all_are_answered(stage: &mut Stage, callers: &[Caller], status: u16, id: &str, number: u64) {
    stage.claude.stop();
    stage.relay.stop();
    let before = [stage.claude.environment.clone(), stage.relay.environment.clone()];
    let (mut asked, mut echoes) = (Vec::new(), Vec::new());
    for caller in callers {
        let echo = echo(status).await;
        let process = caller.process(stage);
        asked.push((*caller, process.log().len()));
        process.set(caller.setting(), &echo.url);
        echoes.push(echo);
    }
    stage.claude.start(&stage.world).await;
    stage.relay.start(&stage.world).await;
    stage.open(id, &scenario(number, "Said back")).await;
    for (caller, written) in asked {
        let words = caller.writes(status);
        let process = caller.process(stage);
        let has_written = until(async || process.log()[written..].contains(&words)).await;
        assert!(has_written, "{caller:?} was not answered {status}: {words:?} is not in its log");
    }
    for url in [&stage.relay.url, &stage.claude.url].map(|url| format!("{url}/health")) {
        stage.ask(stage.http().get(url)).await;
    }
    let [claude, relay] = before;
    (stage.claude.environment, stage.relay.environment) = (claude, relay);
}

/// A place where an endpoint should be says back what the relay sent.
async fn endpoints_are_answered(stage: &mut Stage) {
    let [claude, ollama] = [echo(500).await, echo(500).await];
    stage.relay.stop();
    let written = stage.relay.log().len();
    stage.relay.set("CLAUDE_ENDPOINT", &claude.url);
    stage.relay.set("OLLAMA_ENDPOINT", &ollama.url);
    stage.relay.start(&stage.world).await;
    stage.open("nowhere", &scenario(90, "Said back")).await;
    for lane in ["claude", "ollama"] {
        let words =
            ["lane paused", &format!("\"lane\":\"{lane}\""), "answered 500 without a valid signature"];
        let is_it = |line: &str| words.iter().all(|word| line.contains(word));
        let relay = &stage.relay;
        assert!(until(async || relay.log()[written..].lines().any(is_it)).await, "{lane} is not paused");
    }
    stage.run("relay", &["deliveries", "show", "nowhere"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_back_to_us_is_not_written_down() {
    let mut stage = Stage::set(Canaries::new()).await;
    stage.secrets_from_files();
    stage.start().await;
    for (nth, status) in (0..).zip(STATUSES) {
        // GitHub first; then everybody but GitHub, who is asked first.
        let callers = [ClaudeOfGithub, RelayOfGithub];
        all_are_answered(&mut stage, &callers, status, &format!("github-{status}"), 50 + nth * 2).await;
        let callers = [ClaudeOfAnthropic, ClaudeOfTheMemory];
        all_are_answered(&mut stage, &callers, status, &format!("others-{status}"), 51 + nth * 2).await;
    }
    endpoints_are_answered(&mut stage).await;
    stage.stop_and_collect();
    for (log, quoted) in [
        ("relay.log", "the target answered 500: you sent POST /hook?<hidden>"),
        ("relay.log", "authorization: Bearer <hidden>"),
        ("claude-endpoint.log", "authorization: Bearer <hidden>"),
        ("claude-endpoint.log", "x-api-key: <hidden>"),
    ] {
        assert!(stage.places.with(log, quoted) > 0, "{quoted:?} is not in {log}: nothing had to be hidden");
    }
    let leaks = stage.places.leaks(&stage.canaries, &super::MAY);
    assert!(leaks.is_empty(), "secrets have got out: {leaks:#?}");
}
