//! One of the endpoints at home, as a process.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, ensure};
use reqwest::Client;

use crate::{
    crash::child::{PATIENCE, Program, until},
    place::Place,
};

/// See the module. Killed when dropped.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) binary: PathBuf,
    /// As the namespace has it; a namespace that was made anew has the same.
    pub(super) place: Place,
    pub(super) port: u16,
    /// Its settings.
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) program: Program,
    pub(super) http: Client,
}

impl Service {
    /// Where it is.
    pub(super) fn url(&self) -> String {
        self.place.url(self.port)
    }

    fn command(&self) -> Command {
        let mut command = self.place.command(&self.binary);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("LISTEN", self.place.listen()).env("PORT", self.port.to_string());
        command.env("LOG_FORMAT", "text").env("RUST_LOG", "warn").env("NO_COLOR", "1");
        command
    }

    /// Starts it and does not wait for it.
    pub(super) fn spawn(&mut self) -> anyhow::Result<()> {
        let command = self.command();
        self.program.spawn(command)
    }

    /// Waits until it answers.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.url());
        let Self { program, http, name, .. } = self;
        let ready = until(PATIENCE, async || {
            program.has_ended() || http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        ensure!(ready && !program.has_ended(), "the {name} did not start: {}", program.last_words());
        Ok(())
    }

    /// Text of a `GET` with a bearer token.
    pub(super) async fn text(&self, path: &str, token: &str) -> anyhow::Result<String> {
        let request = self.http.get(format!("{}{path}", self.url())).bearer_auth(token);
        let answer = request.send().await.with_context(|| format!("{path} does not answer"))?;
        let answer = answer.error_for_status()?;
        answer.text().await.with_context(|| format!("{path} broke off"))
    }
}

/// For what is asked of a service: long enough for one that was stopped for a moment.
pub(super) const ASK: Duration = Duration::from_secs(10);
