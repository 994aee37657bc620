//! Events that both targets want and that have nothing to do with each other: each of its own branch or pull request,
//! so that none waits for another one and none takes another one's place.

use std::{cell::RefCell, fs, net::SocketAddr, path::Path};

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::{WEBHOOK_SECRET, payload, servers::PATH, wire::Connection};
use crate::webhook::{ContentType, Delivery};

/// One event, ready to be sent.
pub(super) struct Event {
    pub(super) id: String,
    pub(super) request: Vec<u8>,
}

/// The events, pushes and pull requests in turn.
pub(super) struct Distinct {
    push: Value,
    pull_request: Value,
    made: u64,
}

impl Distinct {
    /// Made of the examples that the script wrote down.
    pub(super) fn new(tools: &Path) -> anyhow::Result<Self> {
        let example = |event: &str| -> anyhow::Result<Value> {
            let file = tools.join(format!("{event}.json"));
            let text = fs::read(&file)
                .with_context(|| format!("cannot read {}; scripts/bench.sh makes it", file.display()))?;
            Ok(serde_json::from_slice(&text)?)
        };
        Ok(Self { push: example("push")?, pull_request: example("pull_request")?, made: 0 })
    }

    /// The next one.
    pub(super) fn event(&mut self) -> Event {
        self.made += 1;
        let (event, body) = if self.made.is_multiple_of(2) {
            self.pull_request["number"] = json!(self.made);
            self.pull_request["pull_request"]["number"] = json!(self.made);
            ("pull_request", &self.pull_request)
        } else {
            // Only the default branch's pushes go to both, and a repository has one.
            self.push["ref"] = json!("refs/heads/master");
            self.push["repository"]["full_name"] = json!(format!("Codertocat/Hello-World-{}", self.made));
            ("push", &self.push)
        };
        let id = uuid::Uuid::new_v4().to_string();
        let delivery = Delivery {
            id: id.clone(),
            event: event.to_owned(),
            body: body.to_string().into_bytes(),
            content_type: ContentType::Json,
        };
        Event { id, request: payload::request(&delivery, PATH, WEBHOOK_SECRET) }
    }
}

/// Sends that many events on so many connections; `sent` hears each id before it goes out.
///
/// # Errors
/// An event was not taken.
pub(super) async fn send_all(
    address: SocketAddr,
    source: &mut Distinct,
    count: u64,
    connections: usize,
    sent: impl Fn(&str),
) -> anyhow::Result<()> {
    let waiting = RefCell::new((source, count));
    let next = || {
        let mut waiting = waiting.borrow_mut();
        waiting.1 = waiting.1.checked_sub(1)?;
        Some(waiting.0.event())
    };
    let one = async || {
        let mut connection = Connection::new(address);
        while let Some(event) = next() {
            sent(&event.id);
            send(&mut connection, &event).await?;
        }
        anyhow::Ok(())
    };
    try_join_all((0..connections).map(|_| one())).await?;
    Ok(())
}

/// Sends one event.
///
/// # Errors
/// It was not taken.
pub(super) async fn send(connection: &mut Connection, event: &Event) -> anyhow::Result<()> {
    let status = connection.exchange(&event.request).await.context("the relay does not answer")?;
    if status != 202 {
        bail!("the relay answered an event with {}", connection.said());
    }
    Ok(())
}
