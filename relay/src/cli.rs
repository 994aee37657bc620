//! The operator's commands. They talk to the running relay's admin routes, so that they see what it sees.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use http::Method;
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use shared::{client, service::Verb};
use url::Url;

use crate::{
    admin::ListAnswer,
    config::{RelayArgs, admin_token},
    table,
    view::DeliveryView,
};

/// What the relay's program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What every service can.
    #[command(flatten)]
    Service(Verb),
    /// Look at deliveries, or send them again
    #[command(subcommand)]
    Deliveries(DeliveriesVerb),
    /// Send a test event through the whole journey and wait for its outcomes
    SendTest(SendTest),
}

/// What can be done with deliveries.
#[derive(Debug, Subcommand)]
pub enum DeliveriesVerb {
    /// The newest deliveries, as a table
    List(List),
    /// One delivery's journey, as a timeline
    Show {
        /// The delivery id
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Send a finished or dead delivery again
    Redeliver {
        /// The delivery id
        id: String,
    },
}

/// Which deliveries to list.
#[derive(Debug, Args)]
pub struct List {
    /// pending, leased, handed_over, completed, partial, skipped, superseded, dead or ignored
    #[arg(long)]
    state: Option<String>,
    /// claude or ollama
    #[arg(long)]
    target: Option<String>,
    /// owner/name
    #[arg(long)]
    repository: Option<String>,
    /// How many
    #[arg(long, default_value = "20")]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How to send a test event.
#[derive(Debug, Args)]
pub struct SendTest {
    /// Seconds to wait for the outcomes
    #[arg(long, default_value = "30")]
    wait: u64,
}

/// Carries out `relay deliveries …`.
///
/// # Errors
/// The relay does not answer, or refuses; the text says what to do.
pub async fn deliveries(verb: DeliveriesVerb, args: &RelayArgs) -> anyhow::Result<()> {
    let admin = Admin::new(args)?;
    match verb {
        DeliveriesVerb::List(list) => {
            let mut url = admin.url("/api/deliveries")?;
            let filters = [("state", list.state), ("target", list.target), ("repository", list.repository)];
            for (name, value) in filters {
                url.query_pairs_mut().extend_pairs(value.map(|value| (name, value)));
            }
            url.query_pairs_mut().append_pair("limit", &list.limit.to_string());
            let answer: ListAnswer = admin.call(Method::GET, url).await?;
            match list.json {
                true => println!("{}", serde_json::to_string_pretty(&answer)?),
                false => print!("{}", table::list(&answer.deliveries)),
            }
        }
        DeliveriesVerb::Show { id, json } => {
            let delivery = admin.show(&id).await?;
            match json {
                true => println!("{}", serde_json::to_string_pretty(&delivery)?),
                false => print!("{}", table::timeline(&delivery)),
            }
        }
        DeliveriesVerb::Redeliver { id } => {
            let _: serde_json::Value =
                admin.call(Method::POST, admin.delivery_url(&id, Some("redeliver"))?).await?;
            println!("sent again; `relay deliveries show {id}` shows how it goes");
        }
    }
    Ok(())
}

/// Carries out `relay send-test`.
///
/// # Errors
/// The relay does not answer, or the event does not arrive everywhere in time.
pub async fn send_test(options: &SendTest, args: &RelayArgs) -> anyhow::Result<()> {
    let admin = Admin::new(args)?;
    let answer: serde_json::Value = admin.call(Method::POST, admin.url("/test-webhook")?).await?;
    let id = answer["delivery"].as_str().context("the relay's answer names no delivery")?.to_owned();
    println!("sent {id}");
    let until = tokio::time::Instant::now() + Duration::from_secs(options.wait);
    loop {
        let delivery = admin.show(&id).await?;
        let open = ["pending", "leased", "handed_over"].contains(&delivery.state.as_str());
        if !open || tokio::time::Instant::now() > until {
            print!("{}", table::timeline(&delivery));
            if open {
                bail!(
                    "not everywhere after {} s; `relay healthcheck` says which target is away. The event waits and is not lost",
                    options.wait
                );
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The admin routes of the running relay.
struct Admin {
    http: reqwest::Client,
    base: Url,
    token: secrecy::SecretString,
}

impl Admin {
    fn new(args: &RelayArgs) -> anyhow::Result<Self> {
        let token = admin_token(args)?
            .context("RELAY_ADMIN_TOKEN is not set here; it must be the one that the relay runs with")?;
        Ok(Self { http: client::http(Some(Duration::from_secs(15)))?, base: args.base_url()?, token })
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        self.base.join(path).context("RELAY_URL")
    }

    /// The id becomes one segment of the path, whatever it contains.
    fn delivery_url(&self, id: &str, verb: Option<&str>) -> anyhow::Result<Url> {
        let mut url = self.url("/api/deliveries")?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(id).extend(verb);
        }
        Ok(url)
    }

    async fn show(&self, id: &str) -> anyhow::Result<DeliveryView> {
        self.call(Method::GET, self.delivery_url(id, None)?).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, url: Url) -> anyhow::Result<T> {
        let request = self.http.request(method, url).bearer_auth(self.token.expose_secret());
        let response = request.send().await.with_context(|| {
            format!("nothing answers at {}; is the relay running? RELAY_URL or --port say where", self.base)
        })?;
        let status = response.status();
        let body = response.bytes().await?;
        if !status.is_success() {
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            bail!(
                "{}",
                json.pointer("/error/message")
                    .and_then(|message| message.as_str())
                    .unwrap_or(status.as_str())
            );
        }
        serde_json::from_slice(&body).context("the relay's answer cannot be read; is it of another version?")
    }
}
