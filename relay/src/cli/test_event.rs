//! `relay send-test`.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use http::Method;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::admin::Admin;
use crate::table;

/// How to send a test event.
#[derive(Debug, Args)]
pub struct SendTest {
    /// Seconds to wait for the outcomes
    #[arg(long, default_value = "30")]
    wait: u64,
}

pub(super) async fn run(options: &SendTest, admin: &Admin) -> anyhow::Result<()> {
    let answer: serde_json::Value = admin.call(Method::POST, admin.url("/test-webhook")?).await?;
    let id = answer["delivery"].as_str().context("the relay's answer names no delivery")?.to_owned();
    println!("sent {id}");
    let until = Instant::now() + Duration::from_secs(options.wait);
    loop {
        let delivery = admin.show(&id).await?;
        let is_open = ["pending", "leased", "handed_over"].contains(&delivery.state.as_str());
        if !is_open || Instant::now() > until {
            print!("{}", table::timeline(&delivery, Timestamp::now()));
            if is_open {
                bail!(
                    "not everywhere after {} s; `relay healthcheck` says which target is away. The event waits and is not lost",
                    options.wait
                );
            }
            return Ok(());
        }
        sleep(Duration::from_millis(200)).await;
    }
}
