//! The Claude CLI in headless mode: a subscription's login instead of an API key.
//! <https://docs.anthropic.com/en/docs/claude-code/headless>
//!
//! The prompt is written by strangers, so the process gets nothing to act with: no tools, no MCP servers, no settings,
//! an empty working directory and an environment of its own. It still reads files on its own account where the prompt
//! says `@path` (seen with 2.1.197, also with `--tools ""`); that is switched off, and no `@` reaches it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use queue::Schedule;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use shared::doctor::Finding;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{ATTEMPTS, Failed, Question, Reply, ReviewError, Reviewer, Usage};
use crate::text::shorten;

mod examine;

const LARGEST_OUTPUT: u64 = 8 * 1024 * 1024;
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
pub(super) const MOST_TOKENS: usize = 150_000;
/// A subscription's usage limit lasts hours; there is no telling how many.
const LIMITED_FOR: Duration = Duration::from_secs(15 * 60);
/// Stands for `@` in what the CLI reads.
const WIDE_AT: &str = "\u{FF20}";
const NOT_LOGGED_IN: &str = "the Claude CLI is not logged in: run `claude` once and log in, or set CLAUDE_CODE_OAUTH_TOKEN from `claude setup-token`";

/// Answers through the `claude` command.
#[derive(Debug, Clone)]
pub struct ClaudeCli {
    program: PathBuf,
    model: String,
    timeout: Duration,
    variables: Variables,
    backoff: Schedule,
    cheaper: Option<Arc<Self>>,
}

/// The whole environment of the process.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// Where the login is, and where programs are.
    pub plain: BTreeMap<&'static str, OsString>,
    /// API key or long-lived token, where one is configured.
    pub secret: BTreeMap<&'static str, SecretString>,
}

/// The process's last word with `--output-format json`.
#[derive(Debug, Default, Deserialize)]
struct Outcome {
    #[serde(default)]
    is_error: bool,
    #[serde(default)]
    subtype: String,
    #[serde(default)]
    result: Value,
    structured_output: Option<Value>,
    stop_reason: Option<String>,
    api_error_status: Option<u16>,
    #[serde(default)]
    usage: Usage,
    total_cost_usd: Option<f64>,
}

struct Output {
    success: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl ClaudeCli {
    /// A reviewer that runs `program`, found on the `PATH` of `variables` unless it is a path itself.
    pub fn new(program: PathBuf, model: String, timeout: Duration, variables: Variables) -> Self {
        // each run has a working directory of its own, in which a relative path would lead nowhere
        let is_path = program.components().count() > 1;
        let program = if is_path { std::path::absolute(&program).unwrap_or(program) } else { program };
        Self { program, model, timeout, variables, backoff: super::backoff(), cheaper: None }
    }

    /// With `model` as the cheaper one, unless it is the same.
    #[must_use]
    pub fn with_cheaper(mut self, model: &str) -> Self {
        let other = !model.is_empty() && model != self.model;
        self.cheaper = other.then(|| Arc::new(Self { model: model.to_owned(), ..self.clone() }));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(&self.variables.plain);
        command.envs(self.variables.secret.iter().map(|(name, value)| (name, value.expose_secret())));
        command.envs([
            ("CLAUDE_CODE_DISABLE_ATTACHMENTS", "1"),
            ("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "1"),
            ("CLAUDE_CODE_DISABLE_CLAUDE_MDS", "1"),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            // by itself it would ask ten times for minutes, also where a spend limit forbids it (seen with 2.1.197)
            ("CLAUDE_CODE_MAX_RETRIES", "0"),
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn question_command(&self, question: &Question<'_>) -> Command {
        let mut command = self.command();
        command.env("CLAUDE_CODE_MAX_OUTPUT_TOKENS", question.most_output_tokens.to_string());
        command.args([
            "-p",
            "--tools",
            "",
            "--strict-mcp-config",
            "--setting-sources",
            "",
            "--no-session-persistence",
        ]);
        command.args(["--disable-slash-commands", "--output-format", "json", "--model", &self.model]);
        command.args(["--system-prompt", question.system, "--json-schema", &question.schema.to_string()]);
        command
    }

    async fn attempt(&self, question: &Question<'_>, input: &str) -> Result<Reply, Failed> {
        let output = self.run(self.question_command(question), input, self.timeout).await?;
        answer(outcome(&output)?, &self.model, question)
    }

    /// Runs a command in an empty directory of its own. One that cannot be started is away; once it runs, a question
    /// is paid for, whatever becomes of the answer.
    async fn run(&self, mut command: Command, input: &str, timeout: Duration) -> Result<Output, ReviewError> {
        let directory = tempfile::tempdir().map_err(|error| {
            ReviewError::unreachable(format!("cannot make an empty directory for the Claude CLI: {error}"))
        })?;
        command.current_dir(directory.path());
        let mut child = command.spawn().map_err(|error| {
            ReviewError::unreachable(format!("cannot run `{}`: {error}; install it with `npm install -g @anthropic-ai/claude-code`, or set CLAUDE_CLI to its path", self.program.display()))
        })?;
        let finished = tokio::time::timeout(timeout, exchange(&mut child, input)).await;
        // an error or the deadline drops the child, which kills it
        let late = |_| Err(format!("the Claude CLI did not finish within {} s", timeout.as_secs()));
        finished.unwrap_or_else(late).map_err(ReviewError::Unusable)
    }
}

/// Writes the input and reads both outputs at the same time: a full pipe would stop the process.
async fn exchange(child: &mut Child, input: &str) -> Result<Output, String> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // a process that ends without reading says why on its outputs
            let _ = stdin.write_all(input.as_bytes()).await;
            let _ = stdin.shutdown().await;
        }
    };
    let ((), stdout, stderr) = tokio::join!(write, read_all(stdout), read_all(stderr));
    let status = child.wait().await.map_err(|error| format!("the Claude CLI was lost: {error}"))?;
    Ok(Output { success: status.success(), stdout: stdout?, stderr: stderr? })
}

async fn read_all(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let read = pipe.take(LARGEST_OUTPUT + 1).read_to_end(&mut bytes).await;
        read.map_err(|error| format!("the Claude CLI's output broke off: {error}"))?;
    }
    if bytes.len() as u64 > LARGEST_OUTPUT {
        Err("the Claude CLI wrote too much".to_owned())
    } else {
        Ok(bytes)
    }
}

/// Reads the last word; a failed run mostly has one too.
fn outcome(output: &Output) -> Result<Outcome, ReviewError> {
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = [output.stderr.as_slice(), b" ", output.stdout.as_slice()].concat();
        let said = shorten(String::from_utf8_lossy(&said).trim(), 400);
        failure(&said, None)
            .unwrap_or_else(|| ReviewError::Unusable(format!("the Claude CLI failed: {said}")))
    })
}

/// Errors that are known by their words, as 2.1.197 says them.
fn failure(said: &str, status: Option<u16>) -> Option<ReviewError> {
    let text = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let reason = format!("the Claude CLI says: {}", shorten(said, 300));
    let login = ["not logged in", "/login", "invalid api key", "oauth token", "authentication_error"];
    Some(if has(&login) || status == Some(401) {
        ReviewError::denied(NOT_LOGGED_IN)
    } else if has(&["credit balance", "issue with the selected model"]) {
        ReviewError::denied(reason)
    } else if has(&["usage policy", "output token maximum", "spend limit", "enforced_spend_limit_reached"]) {
        ReviewError::NoReview(reason)
    } else if has(&["too long", "too large", "context window"]) || status == Some(413) {
        ReviewError::TooLarge(reason)
    } else if has(&["not your usage limit"]) {
        ReviewError::retry(reason)
    } else if has(&["usage limit", "hit your limit", "limit reached"]) {
        ReviewError::Retry { reason, after: Some(LIMITED_FOR) }
    } else {
        return None;
    })
}

fn answer(outcome: Outcome, model: &str, question: &Question<'_>) -> Result<Reply, Failed> {
    let said = outcome.result.as_str().unwrap_or_default();
    let text = outcome.structured_output.map_or_else(|| said.to_owned(), |value| value.to_string());
    let reply = Reply {
        text: text.replace(WIDE_AT, "@"),
        model: model.to_owned(),
        usage: outcome.usage,
        cost_usd: outcome.total_cost_usd,
    };
    if outcome.is_error {
        let reason = format!("the Claude CLI failed ({}): {}", outcome.subtype, shorten(said, 300));
        // what it tried before it gave up may have cost something, and is not tried without end
        let paid = (reply.usage != Usage::default()).then(|| Box::new(reply));
        let unknown = || match &paid {
            Some(_) => ReviewError::Unusable(reason),
            None => ReviewError::retry(reason),
        };
        let error = failure(said, outcome.api_error_status).unwrap_or_else(unknown);
        return Err(Failed { error, paid });
    }
    super::usable(reply, outcome.stop_reason.as_deref(), question)
}

#[async_trait]
impl Reviewer for ClaudeCli {
    fn name(&self) -> &'static str {
        "claude-cli"
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn most_tokens(&self) -> usize {
        MOST_TOKENS
    }

    fn cheaper(&self) -> Option<Arc<dyn Reviewer>> {
        self.cheaper.clone().map(|cheaper| cheaper as Arc<dyn Reviewer>)
    }

    /// Whether the command exists and `claude auth status` knows a login; it asks nobody, and takes half a second.
    async fn ready(&self) -> Result<(), String> {
        let mut command = self.command();
        command.args(["auth", "status"]);
        let output = self.run(command, "", PROBE_TIMEOUT).await.map_err(|error| error.to_string())?;
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        match status["loggedIn"].as_bool() {
            Some(false) => Err(NOT_LOGGED_IN.to_owned()),
            Some(true) => Ok(()),
            None if output.success => Ok(()),
            None => {
                Err(format!("`{} auth status` failed; is it a current Claude CLI?", self.program.display()))
            }
        }
    }

    async fn examine(&self, _offline: bool) -> Vec<Finding> {
        self.findings().await
    }

    async fn ask(&self, question: &Question<'_>) -> Result<Reply, Failed> {
        let input = question.user.replace('@', WIDE_AT);
        let mut attempt = 1;
        loop {
            let failed = match self.attempt(question, &input).await {
                Ok(reply) => return Ok(reply),
                Err(failed) => failed,
            };
            // what cost something, or asks for a wait of its own, is the queue's
            let is_passing =
                matches!(failed.error, ReviewError::Retry { after: None, .. }) && failed.paid.is_none();
            if !is_passing || attempt == ATTEMPTS {
                return Err(failed);
            }
            let wait = self.backoff.delay(attempt, fastrand::f64());
            tracing::warn!(error = %failed, attempt, wait_seconds = wait.as_secs_f64(), "asking again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }
}

#[cfg(test)]
#[path = "claude_cli_tests.rs"]
mod tests;
