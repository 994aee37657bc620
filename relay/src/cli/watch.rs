//! `relay deliveries watch`: the live stream as lines. It connects again by itself.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use http::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{sleep, timeout};

use super::admin::{Admin, Refused};
use crate::{
    sse::{self, Message},
    table,
    view::{DeliveryView, LaneView},
};

/// The stream shows a sign of life every 15 s; one without is broken, though nobody has said so.
const SILENCE: Duration = Duration::from_secs(45);
/// Between two tries to connect.
const PAUSES: [u64; 5] = [1, 2, 5, 10, 30];

/// What to watch.
#[derive(Debug, Args)]
pub struct Watch {
    /// Only this repository (owner/name)
    #[arg(long)]
    repository: Option<String>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Hello {
    targets: Vec<LaneView>,
}

/// Watches until the process is ended.
pub(super) async fn run(watch: &Watch, admin: &Admin) -> anyhow::Result<()> {
    let mut failures = 0;
    loop {
        let error = match follow(watch, admin, &mut failures).await {
            Ok(()) => anyhow::anyhow!("the relay ended the stream"),
            Err(error) => error,
        };
        if error.downcast_ref::<Refused>().is_some_and(|refused| !may_change(refused.status)) {
            return Err(error);
        }
        let pause = PAUSES[failures.min(PAUSES.len() - 1)];
        failures += 1;
        eprintln!("{error:#}; trying again in {pause} s");
        sleep(Duration::from_secs(pause)).await;
    }
}

fn may_change(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

async fn follow(watch: &Watch, admin: &Admin, failures: &mut usize) -> anyhow::Result<()> {
    let url = admin.url("/api/stream")?;
    let opened = timeout(SILENCE, admin.open(url)).await;
    let mut response = opened.context("the relay does not answer")??;
    let mut reader = sse::Reader::default();
    while let Some(chunk) = timeout(SILENCE, response.chunk()).await.context("the stream fell silent")?? {
        for message in reader.read(&chunk)? {
            tell(watch, &message)?;
            *failures = 0;
        }
    }
    Ok(())
}

fn tell(watch: &Watch, message: &Message) -> anyhow::Result<()> {
    match message.event.as_str() {
        "delivery" => {
            let delivery: DeliveryView = read(message)?;
            let is_wanted = watch.repository.is_none() || watch.repository == delivery.repository;
            match (is_wanted, watch.json) {
                (true, true) => println!("{}", message.data),
                (true, false) => println!("{}", table::row(&delivery)),
                (false, _) => {}
            }
        }
        "hello" => {
            let hello: Hello = read(message)?;
            eprintln!("{}", table::counts(&hello.targets));
        }
        "reset" => eprintln!("some changes were missed; `relay deliveries list` shows all"),
        // Of a newer relay.
        _ => {}
    }
    Ok(())
}

fn read<T: DeserializeOwned>(message: &Message) -> anyhow::Result<T> {
    serde_json::from_str(&message.data).context("the stream cannot be read; is the relay of another version?")
}
