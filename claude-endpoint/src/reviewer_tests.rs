use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};
use testkit::anthropic::{Anthropic as StandIn, Reply, always};
use testkit::control::{Fault, post as posting};
use tokio::net::TcpListener;

use super::anthropic::Anthropic;
use super::claude_cli::{ClaudeCli, Variables};
use super::ollama::Ollama;
use super::*;

const TIMEOUT: Duration = Duration::from_secs(20);

fn prompt() -> Prompt {
    Prompt { system: "Review.", user: "## Diff\n=== a.rs\n1+mail @/etc/hostname\n".into() }
}

fn review() -> Value {
    json!({"summary": "Fine, see \u{FF20}x.", "verdict": "approve", "findings": [], "remember": []})
}

async fn anthropic(replies: Vec<Reply>) -> (StandIn, Anthropic) {
    let stand_in = StandIn::start(always(Reply::review(review()))).await.unwrap();
    for reply in replies {
        stand_in.answer_next(reply);
    }
    let model = "claude-sonnet-5-5".to_owned();
    let client = Anthropic::new(stand_in.url().parse().unwrap(), "sk-ant-x".into(), model, TIMEOUT).unwrap();
    (stand_in, client)
}

#[tokio::test]
async fn the_api_is_asked_as_current_models_want_it() {
    let (stand_in, client) = anthropic(vec![]).await;
    let answer = client.ask(&prompt()).await.unwrap();
    assert_eq!(
        (answer.review.summary.as_str(), answer.model.as_str()),
        ("Fine, see \u{FF20}x.", "claude-sonnet-5-5")
    );
    assert!(answer.usage.output_tokens > 0);
    let body = &stand_in.requests()[0].body;
    assert_eq!(body["system"][0]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(body["output_config"]["format"]["schema"], crate::verdict::schema());
}

#[tokio::test]
async fn a_passing_failure_is_asked_again_and_a_lasting_one_is_not() {
    let overloaded = |headers| Reply::error(StatusCode::SERVICE_UNAVAILABLE, "overloaded_error", headers);
    let soon = vec![("retry-after-ms", "1".to_owned())];
    let (stand_in, client) = anthropic(vec![overloaded(soon.clone()), overloaded(soon)]).await;
    assert!(client.ask(&prompt()).await.is_ok());
    assert_eq!(stand_in.count(&posting("/v1/messages")), 3);

    let (stand_in, client) = anthropic(vec![overloaded(vec![("retry-after", "120".to_owned())])]).await;
    let error = client.ask(&prompt()).await.unwrap_err();
    assert!(
        matches!(error, ReviewError::Retry { after: Some(after), .. } if after == Duration::from_secs(120)),
        "{error:?}"
    );
    assert_eq!(stand_in.count(&posting("/v1/messages")), 1);

    let (stand_in, client) = anthropic(vec![overloaded(vec![("x-should-retry", "false".to_owned())])]).await;
    assert!(matches!(client.ask(&prompt()).await.unwrap_err(), ReviewError::NoReview(_)));
    assert_eq!(stand_in.count(&posting("/v1/messages")), 1);
}

#[tokio::test]
async fn each_failure_of_the_api_has_its_own_consequence() {
    let after = async |reply| anthropic(vec![reply]).await.1.ask(&prompt()).await.unwrap_err();
    assert!(matches!(after(Reply::refusal()).await, ReviewError::NoReview(_)));
    assert!(matches!(after(Reply::max_tokens()).await, ReviewError::NoReview(_)));
    assert!(matches!(after(Reply::context_window_exceeded()).await, ReviewError::TooLarge(_)));
    assert!(matches!(after(Reply::spend_limit()).await, ReviewError::NoReview(_)));
    assert!(matches!(after(Reply::text("looks good")).await, ReviewError::Unusable(_)));
    assert!(matches!(super::anthropic::answer(b"{").unwrap_err(), ReviewError::Unusable(_)));

    let (stand_in, _) = anthropic(vec![]).await;
    let with = |key: &str, model: &str| {
        Anthropic::new(stand_in.url().parse().unwrap(), key.into(), model.into(), TIMEOUT).unwrap()
    };
    let error = with("wrong", "claude-sonnet-5-5").ask(&prompt()).await.unwrap_err();
    assert!(
        matches!(&error, ReviewError::Away { reason, .. } if reason.contains("check ANTHROPIC_API_KEY")),
        "{error:?}"
    );
    let error = with("sk-ant-x", "claude-2").ask(&prompt()).await.unwrap_err();
    assert!(
        matches!(&error, ReviewError::Away { reason, .. } if reason.contains("check CLAUDE_MODEL (claude-2)")),
        "{error:?}"
    );
    stand_in.stop().await;
    let error = with("sk-ant-x", "claude-sonnet-5-5").ask(&prompt()).await.unwrap_err();
    assert!(matches!(&error, ReviewError::Away { hold, .. } if hold.is_zero()), "{error:?}");
    assert!(with("sk-ant-x", "claude-sonnet-5-5").ready().await.is_err());
}

#[tokio::test]
async fn a_cut_connection_is_asked_again() {
    let (stand_in, client) = anthropic(vec![]).await;
    stand_in.fail_next(posting("/v1/messages"), Fault::Cut);
    assert!(client.ask(&prompt()).await.is_ok());
}

/// Ollama with the answers of its captures.
async fn ollama_server(contents: &[&str]) -> (url::Url, Arc<Mutex<Vec<Value>>>) {
    let asked = Arc::<Mutex<Vec<Value>>>::default();
    let contents: Vec<String> = contents.iter().map(|&content| content.to_owned()).collect();
    let chat = async move |State(asked): State<Arc<Mutex<Vec<Value>>>>, Json(body): Json<Value>| {
        let mut asked = asked.lock().await;
        let content = contents[asked.len().min(contents.len() - 1)].clone();
        asked.push(body);
        Json(json!({"model": "llama3.2", "message": {"role": "assistant", "content": content}, "done": true,
                    "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 6}))
    };
    let tags =
        || async { Json(json!({"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest"}]})) };
    let routes = Router::new()
        .route("/api/chat", post(chat))
        .route("/api/tags", get(tags))
        .with_state(Arc::clone(&asked));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    tokio::spawn(shared::server::serve(listener, routes, shared::server::Limits::default(), stop));
    (base, asked)
}

async fn ollama(contents: &[&str]) -> (Ollama, Arc<Mutex<Vec<Value>>>) {
    let (base, asked) = ollama_server(contents).await;
    (Ollama::new(base, "llama3.2".into(), TIMEOUT).unwrap(), asked)
}

#[tokio::test]
async fn ollama_gets_the_schema_twice_and_a_second_chance() {
    let (client, asked) = ollama(&["{}", &review().to_string()]).await;
    assert_eq!(client.ready().await, Ok(()));
    let answer = client.ask(&prompt()).await.unwrap();
    assert_eq!((answer.usage.input_tokens, answer.usage.output_tokens), (11, 6));
    let asked = asked.lock().await;
    assert_eq!(asked.len(), 2);
    assert_eq!(
        (&asked[0]["format"], &asked[0]["stream"], &asked[0]["think"]),
        (&crate::verdict::schema(), &json!(false), &json!(false))
    );
    assert!(asked[0]["messages"][1]["content"].as_str().unwrap().contains("additionalProperties"));
    assert!(asked[1]["messages"][1]["content"].as_str().unwrap().contains("missing field"));

    let (client, asked) = ollama(&["no json"]).await;
    assert!(matches!(client.ask(&prompt()).await.unwrap_err(), ReviewError::Unusable(_)));
    assert_eq!(asked.lock().await.len(), 2);
}

#[tokio::test]
async fn ollama_away_or_without_the_model_says_what_to_do() {
    let nobody = Ollama::new("http://127.0.0.1:9".parse().unwrap(), "llama3.2".into(), TIMEOUT).unwrap();
    assert!(nobody.ready().await.unwrap_err().contains("ollama serve"));
    assert!(matches!(nobody.ask(&prompt()).await.unwrap_err(), ReviewError::Away { .. }));
    let (base, _) = ollama_server(&["{}"]).await;
    let other = Ollama::new(base, "qwen3".into(), TIMEOUT).unwrap();
    assert!(other.ready().await.unwrap_err().contains("ollama pull qwen3"));
}

#[tokio::test]
async fn an_ollama_that_hangs_up_is_there_and_does_not_pause_the_lane() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            drop(connection);
        }
    });
    let error = Ollama::new(base, "m".into(), TIMEOUT).unwrap().ask(&prompt()).await.unwrap_err();
    assert!(matches!(error, ReviewError::Retry { .. }), "{error:?}");
}

/// A program in the CLI's place: writes down how it was called, then says `output`.
fn program(directory: &Path, output: &Value, code: i32) -> ClaudeCli {
    let path = directory.join("claude");
    let script = format!(
        "#!/bin/sh\npwd > {d}/cwd; ls -A > {d}/ls; env > {d}/env; cat > {d}/stdin; printf '%s\\n' \"$@\" > {d}/args\ncat <<'END'\n{output}\nEND\nexit {code}\n",
        d = directory.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let plain = [("PATH", "/usr/bin:/bin".into()), ("HOME", "/nonexistent".into())].into();
    let secret = [("CLAUDE_CODE_OAUTH_TOKEN", "oat-canary".into())].into();
    ClaudeCli::new(path, "claude-sonnet-5-5".into(), TIMEOUT, Variables { plain, secret })
}

#[tokio::test]
async fn the_cli_gets_nothing_to_act_with() {
    let directory = tempfile::tempdir().unwrap();
    let result = json!({"type": "result", "subtype": "success", "is_error": false, "result": "", "stop_reason": "end_turn",
                        "structured_output": review(), "usage": {"input_tokens": 5, "output_tokens": 7}});
    let answer = program(directory.path(), &result, 0).ask(&prompt()).await.unwrap();
    assert_eq!((answer.review.summary.as_str(), answer.usage.output_tokens), ("Fine, see @x.", 7));
    let said = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(said("ls"), "", "an empty working directory");
    assert_ne!(said("cwd").trim(), std::env::current_dir().unwrap().to_str().unwrap());
    assert!(!Path::new(said("cwd").trim()).exists(), "which is gone afterwards");
    let allowed = ["PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_"];
    for line in said("env").lines() {
        let name = line.split('=').next().unwrap();
        assert!(allowed.contains(&name) || name.starts_with("CLAUDE_CODE_"), "{name} reached the CLI");
    }
    assert!(said("env").contains("CLAUDE_CODE_DISABLE_ATTACHMENTS=1"));
    assert!(!said("stdin").contains('@') && said("stdin").contains("\u{FF20}/etc/hostname"));
    assert!(
        said("args").starts_with("-p\n--tools\n\n--strict-mcp-config\n--setting-sources\n\n"),
        "{}",
        said("args")
    );
    assert!(!said("args").contains("canary"));
}

#[tokio::test]
async fn what_the_cli_says_decides() {
    let after = async |output: Value, code| {
        let directory = tempfile::tempdir().unwrap();
        program(directory.path(), &output, code).ask(&prompt()).await.unwrap_err()
    };
    let failed =
        |result: &str| json!({"type": "result", "subtype": "success", "is_error": true, "result": result});
    // as the real one says it (2.1.197)
    let says = async |words: &str| after(failed(words), 1).await;
    let error = says("Not logged in · Please run /login").await;
    assert!(matches!(error, ReviewError::Away { reason, .. } if reason.contains("setup-token")));
    let error = says(
        "There's an issue with the selected model (x). It may not exist or you may not have access to it.",
    )
    .await;
    assert!(matches!(error, ReviewError::Away { .. }));
    for lasting in [
        "API Error: Claude Code is unable to respond to this request, which appears to violate our Usage Policy",
        "API Error: Claude's response exceeded the 64000 output token maximum.",
        "API Error: Server is temporarily limiting requests (not your usage limit) · Your organization has reached its monthly API spend limit",
    ] {
        assert!(matches!(says(lasting).await, ReviewError::NoReview(_)), "{lasting}");
    }
    for large in [
        "Request too large (max 32MB). Try with a smaller file.",
        "API Error: The model has reached its context window limit.",
    ] {
        assert!(matches!(says(large).await, ReviewError::TooLarge(_)), "{large}");
    }
    for passing in [
        "API Error: Server is temporarily limiting requests (not your usage limit) · Too Many Requests",
        "API Error: 500",
    ] {
        assert!(matches!(says(passing).await, ReviewError::Retry { after: None, .. }), "{passing}");
    }
    let error = says("Claude AI usage limit reached|1763812800").await;
    assert!(matches!(error, ReviewError::Retry { after: Some(_), .. }));
    let refused = json!({"is_error": false, "result": "", "stop_reason": "refusal"});
    assert!(matches!(after(refused, 0).await, ReviewError::NoReview(_)));
    assert!(matches!(after(json!("not an object"), 0).await, ReviewError::Unusable(_)), "it was paid for");
}

#[tokio::test]
async fn whether_the_cli_is_usable_is_found_out_without_asking_anybody() {
    let directory = tempfile::tempdir().unwrap();
    let cli = program(directory.path(), &json!({"loggedIn": false, "authMethod": "none"}), 1);
    assert!(cli.ready().await.unwrap_err().contains("not logged in"));
    assert_eq!(std::fs::read_to_string(directory.path().join("args")).unwrap(), "auth\nstatus\n");
    assert_eq!(program(directory.path(), &json!({"loggedIn": true}), 0).ready().await, Ok(()));
    let missing = ClaudeCli::new("/nonexistent/claude".into(), "m".into(), TIMEOUT, Variables::default());
    assert!(missing.ready().await.unwrap_err().contains("npm install -g"));
    assert!(matches!(missing.ask(&prompt()).await.unwrap_err(), ReviewError::Away { .. }));
}

#[tokio::test]
async fn a_cli_named_by_a_relative_path_is_found() {
    let directory = tempfile::tempdir().unwrap();
    program(directory.path(), &json!({"loggedIn": true}), 0);
    let up = "../".repeat(std::env::current_dir().unwrap().components().count() - 1);
    let relative = Path::new(&up).join(directory.path().strip_prefix("/").unwrap()).join("claude");
    let variables = Variables { plain: [("PATH", "/usr/bin:/bin".into())].into(), ..Variables::default() };
    let cli = ClaudeCli::new(relative, "m".into(), TIMEOUT, variables);
    assert_eq!(cli.ready().await, Ok(()));
}

#[tokio::test]
async fn a_cli_that_hangs_is_killed_at_its_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("claude");
    std::fs::write(&path, "#!/bin/sh\nexec sleep 600\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let variables = Variables { plain: [("PATH", "/usr/bin:/bin".into())].into(), ..Variables::default() };
    let cli = ClaudeCli::new(path, "m".into(), Duration::from_millis(200), variables);
    let error = cli.ask(&prompt()).await.unwrap_err();
    assert!(
        matches!(&error, ReviewError::Unusable(reason) if reason.contains("did not finish")),
        "what was paid for is not asked for without end: {error:?}"
    );
}

/// A reviewer that can be switched on and off.
#[derive(Debug)]
struct Switch(&'static str, AtomicBool);

#[async_trait]
impl Reviewer for Switch {
    fn name(&self) -> &'static str {
        self.0
    }
    fn model(&self) -> &str {
        "m"
    }
    fn most_tokens(&self) -> usize {
        1
    }
    async fn ready(&self) -> Result<(), String> {
        if self.1.load(Ordering::SeqCst) { Ok(()) } else { Err("switched off".into()) }
    }
    async fn ask(&self, _: &Prompt) -> Result<Answer, ReviewError> {
        Err(ReviewError::retry("never asked"))
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_that_is_ready_is_chosen_and_the_choice_is_made_again() {
    let (best, other) =
        (Arc::new(Switch("best", AtomicBool::new(false))), Arc::new(Switch("other", AtomicBool::new(true))));
    let reviewers = Reviewers::new(vec![best.clone(), other.clone()], "set more");
    let name = async || reviewers.current().await.map(|reviewer| reviewer.name());
    assert_eq!(name().await, Ok("other"));
    best.1.store(true, Ordering::SeqCst);
    assert_eq!(name().await, Ok("other"), "for a while");
    tokio::time::advance(CHOICE_STANDS).await;
    assert_eq!(name().await, Ok("best"));
    best.1.store(false, Ordering::SeqCst);
    other.1.store(false, Ordering::SeqCst);
    reviewers.gone(Duration::from_secs(60)).await;
    assert!(!reviewers.is_back().await);
    let reason = name().await.unwrap_err();
    assert_eq!(
        reason,
        "no reviewer can be asked, events wait: best: switched off; other: switched off; set more"
    );
    best.1.store(true, Ordering::SeqCst);
    assert!(!reviewers.is_back().await, "it is left alone for a minute");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(reviewers.is_back().await);
}
