use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::reviewer::tests::{TIMEOUT, question, refused, review, summary};

/// A program in the CLI's place: writes down how it was called, then says `output`.
fn program(directory: &Path, output: &Value, code: i32) -> ClaudeCli {
    let path = directory.join("claude");
    let script = format!(
        "#!/bin/sh\npwd > {d}/cwd; ls -A > {d}/ls; env > {d}/env; cat > {d}/stdin; echo run >> {d}/runs; printf '%s\\n' \"$@\" > {d}/args\ncat <<'END'\n{output}\nEND\nexit {code}\n",
        d = directory.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let plain = [("PATH", "/usr/bin:/bin".into()), ("HOME", "/nonexistent".into())].into();
    let secret = [("CLAUDE_CODE_OAUTH_TOKEN", "oat-canary".into())].into();
    let cli = ClaudeCli::new(path, "claude-sonnet-5-5".into(), TIMEOUT, Variables { plain, secret });
    ClaudeCli { backoff: Schedule { base: Duration::from_millis(1), ..super::super::backoff() }, ..cli }
}

#[tokio::test]
async fn the_cli_gets_nothing_to_act_with() {
    let directory = tempfile::tempdir().unwrap();
    let result = json!({"type": "result", "subtype": "success", "is_error": false, "result": "", "stop_reason": "end_turn",
                        "structured_output": review(), "total_cost_usd": 0.25, "usage": {"input_tokens": 5, "output_tokens": 7}});
    let reply = program(directory.path(), &result, 0).ask(&question()).await.unwrap();
    assert_eq!((summary(&reply).as_str(), reply.usage.output_tokens), ("Fine, see @x.", 7));
    assert_eq!(reply.cost_usd, Some(0.25));
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
    assert!(said("env").contains("CLAUDE_CODE_MAX_OUTPUT_TOKENS=9000"));
    assert!(said("env").contains("CLAUDE_CODE_MAX_RETRIES=0"));
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
        refused(&program(directory.path(), &output, code)).await
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
async fn a_passing_failure_is_asked_again_and_what_cost_something_is_not() {
    let runs = async |said: Value| {
        let directory = tempfile::tempdir().unwrap();
        refused(&program(directory.path(), &said, 1)).await;
        std::fs::read_to_string(directory.path().join("runs")).unwrap().lines().count()
    };
    let failed = |result: &str, output_tokens: u64| json!({"is_error": true, "result": result, "usage": {"output_tokens": output_tokens}});
    assert_eq!(runs(failed("API Error: 529 Overloaded", 0)).await, 3);
    assert_eq!(runs(failed("API Error: 529 Overloaded", 9)).await, 1);
    for once in
        ["Claude AI usage limit reached|1763812800", "reached its monthly API spend limit", "Not logged in"]
    {
        assert_eq!(runs(failed(once, 0)).await, 1, "{once}");
    }
}

#[tokio::test]
async fn a_run_of_no_use_tells_what_it_cost() {
    let run = async |stop_reason: &str, is_error: bool, usage: Value| {
        let directory = tempfile::tempdir().unwrap();
        let said = json!({"is_error": is_error, "result": "{}", "stop_reason": stop_reason, "usage": usage,
                          "total_cost_usd": 0.5});
        let failed = program(directory.path(), &said, 0).ask(&question()).await.unwrap_err();
        let is_retried = matches!(failed.error, ReviewError::Retry { .. });
        assert_eq!(is_retried, failed.paid.is_none(), "what costs is not asked for without end");
        failed.paid
    };
    let usage = json!({"input_tokens": 5, "cache_creation_input_tokens": 6, "cache_read_input_tokens": 7,
                       "output_tokens": 8, "server_tool_use": {}});
    for (stop_reason, is_error) in [("refusal", false), ("end_turn", false), ("end_turn", true)] {
        let paid = run(stop_reason, is_error, usage.clone()).await.unwrap();
        let read = Usage { input_tokens: 5, cache_write_tokens: 6, cached_tokens: 7, output_tokens: 8 };
        assert_eq!((paid.usage, paid.cost_usd), (read, Some(0.5)));
    }
    assert_eq!(run("end_turn", true, json!({"input_tokens": 0})).await, None);
}

#[tokio::test]
async fn the_cheaper_one_is_the_same_program_with_another_model() {
    let directory = tempfile::tempdir().unwrap();
    let said = json!({"is_error": false, "result": "", "structured_output": review()});
    let cheaper = program(directory.path(), &said, 0).with_cheaper("claude-haiku-5-5").cheaper().unwrap();
    assert_eq!(cheaper.ask(&question()).await.unwrap().model, "claude-haiku-5-5");
    let args = std::fs::read_to_string(directory.path().join("args")).unwrap();
    assert!(args.contains("--model\nclaude-haiku-5-5\n"), "{args}");
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
    assert!(matches!(refused(&missing).await, ReviewError::Away { .. }));
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
    let error = refused(&cli).await;
    assert!(
        matches!(&error, ReviewError::Unusable(reason) if reason.contains("did not finish")),
        "what was paid for is not asked for without end: {error:?}"
    );
}
