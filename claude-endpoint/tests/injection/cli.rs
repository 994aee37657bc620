//! The Claude CLI's process gets nothing to act with: the real endpoint, as a process with secrets in its environment,
//! starts a script that writes down all it was given.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use shared::client::SignedClient;
use shared::signature::SigningKeys;
use testkit::anthropic::always;
use testkit::scenario::REVIEWER_TOKEN;

use crate::attempts::{OURS, all};
use crate::world::{SIGNING_KEY, World, reply};

/// Ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `claude` that leaves what it was given in `dump`, and reviews.
fn script(folder: &Path, dump: &Path) -> std::path::PathBuf {
    let review = json!({"summary": "Fine.", "verdict": "approve", "findings": [], "remember": []});
    let outcome = json!({"type": "result", "subtype": "success", "is_error": false, "result": "", "structured_output": review,
        "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}});
    let dump = dump.display();
    let text = format!(
        "#!/bin/sh\n\
         if [ \"$1\" = auth ]; then echo '{{\"loggedIn\": true}}'; exit; fi\n\
         env >'{dump}/env'; pwd >'{dump}/cwd'; ls -A >'{dump}/ls'\n\
         for argument in \"$@\"; do printf '%s\\n' \"[$argument]\"; done >'{dump}/arguments'\n\
         ls -l /proc/self/fd >'{dump}/fd' 2>/dev/null || :\n\
         cat >'{dump}/stdin'\n\
         echo '{outcome}'\n"
    );
    let path = folder.join("claude");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Secrets in the environment of the endpoint: settings of its own and of others.
const CANARIES: [(&str, &str); 7] = [
    ("MEMORY_TOKEN", "canary-of-the-memory"),
    ("RELAY_ADMIN_TOKEN", "canary-of-the-operator"),
    ("GITHUB_WEBHOOK_SECRET", "canary-of-the-webhook"),
    ("AWS_SECRET_ACCESS_KEY", "canary-of-the-cloud"),
    ("SSH_AUTH_SOCK", "/tmp/canary-of-ssh"),
    ("CLAUDE_CODE_EXTRA", "canary-by-prefix"),
    ("NODE_OPTIONS", "--require=/tmp/canary.js"),
];

async fn answered(client: &SignedClient, path: &str) -> Option<Value> {
    let answer = client.get(path, None).await.ok()?;
    serde_json::from_slice(&answer.body).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_claude_cli_is_given_no_tools_no_files_and_no_secrets() {
    let attempts = all();
    let attempt = attempts.iter().find(|attempt| attempt.name == "body-at-path").unwrap();
    let world = World::start(always(reply(vec![]))).await;
    attempt.scenario.load_into(&world.github);
    let (folder, dump) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = script(folder.path(), dump.path());
    let port = testkit::port::port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_claude-endpoint"));
    command.env_clear().envs(CANARIES).envs([
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/nonexistent"),
        ("USER", "ann"),
        ("PORT", &port.to_string()),
        ("DATA_DIR", &folder.path().join("data").display().to_string()),
        ("RELAY_SIGNING_KEY", SIGNING_KEY),
        ("GITHUB_TOKEN", REVIEWER_TOKEN),
        ("GITHUB_API_URL", &world.github.url()),
        ("GITHUB_PACING_MS", "0"),
        ("MEMORY_URL", &world.memory.url),
        ("REVIEWER", "claude-cli"),
        ("CLAUDE_CLI", &program.display().to_string()),
        ("CLAUDE_CODE_OAUTH_TOKEN", "login-of-the-cli"),
    ]);
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let _process = Process(command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn().unwrap());

    let keys = SigningKeys::parse(&SIGNING_KEY.into()).unwrap();
    let base = format!("http://127.0.0.1:{port}").parse().unwrap();
    let client = SignedClient::new("claude-endpoint", base, keys, Duration::from_secs(40)).unwrap();
    let is_up = async {
        while client.get("/readyz", None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_up).await.expect("the endpoint starts");
    let event = world.synchronized("d1", &attempt.scenario);
    assert_eq!(client.post("/ai-sync", "d1", Bytes::from(event.to_string())).await.unwrap().status, 202);
    let told = answered(&client, "/outcomes?after=0&wait=25").await.unwrap();
    let outcome = &told["outcomes"][0];
    assert_eq!(
        (&outcome["detail"]["reviewer"], &outcome["detail"]["posted"]),
        (&json!("claude-cli"), &json!(true)),
        "{told}\n{}",
        fs::read_to_string(folder.path().join("log")).unwrap_or_default()
    );
    given(dump.path());
}

/// What the script was given.
fn given(dump: &Path) {
    let read = |name: &str| fs::read_to_string(dump.join(name)).unwrap();
    let environment = read("env");
    let may = ["HOME", "PATH", "USER", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN"];
    // by the shell that runs the script
    let shell = ["PWD", "OLDPWD", "SHLVL", "_"];
    for line in environment.lines() {
        let (name, value) = line.split_once('=').unwrap();
        let is_switch = name.starts_with("CLAUDE_CODE_DISABLE_") && value == "1"
            || name.starts_with("CLAUDE_CODE_MAX_") && value.parse::<u32>().is_ok();
        assert!(may.contains(&name) || shell.contains(&name) || is_switch, "{line}");
    }
    let all = ["env", "arguments", "stdin", "fd"].map(read).concat();
    for secret in OURS.iter().copied().chain(CANARIES.map(|(_, secret)| secret)) {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    assert_eq!(read("ls"), "", "the working directory is empty");
    let cwd = read("cwd");
    assert!(!Path::new(cwd.trim()).exists(), "and gone afterwards: {cwd}");
    let arguments = read("arguments");
    assert!(
        arguments.contains("[--tools]\n[]\n") && arguments.contains("[--strict-mcp-config]"),
        "{arguments}"
    );
    assert!(
        arguments.contains("[--setting-sources]\n[]\n") && arguments.contains("[--disable-slash-commands]"),
        "{arguments}"
    );
    assert!(!read("stdin").contains('@'), "nothing names a file to it");
}
