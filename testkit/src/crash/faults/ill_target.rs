//! A target that answers slowly, wrongly, or not at all: what was acknowledged meanwhile waits and is handed over once.

use std::time::Duration;

use super::{about, short};
use crate::crash::{
    bench::{Bench, Settings},
    process::until,
    row::Row,
    target::Mode,
};

/// How long it may take until the relay has noticed: one hand-over and one probe that time out, and some.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
/// What the health report says of a target that is away.
const AWAY: &str = "away; events wait and nothing is lost";

pub(super) async fn run(name: &'static str, settings: &Settings, mode: Mode) -> anyhow::Result<Row> {
    let mut bench = Bench::new(settings)?;
    bench.relay.start().await?;
    bench.send(20).await?;
    bench.set(mode);
    bench.send(60).await?;
    let mut row = Row::new(name, "20 events, 60 while both targets were ill, 20 when they were well again");
    let is_away = !matches!(mode, Mode::Slow(_) | Mode::Status(..) | Mode::LosesAnswer);
    if is_away {
        let said = until(NOTICED_WITHIN, async || {
            bench.relay.health().await.is_ok_and(|(status, said)| status == 200 && said.contains(AWAY))
        });
        row.expect(said.await, "the health report does not say that the targets are away");
    } else {
        for target in &bench.targets {
            row.expect(target.has_been_ill(5, NOTICED_WITHIN).await, "no event met the fault");
        }
    }
    row.said = said(&bench, is_away).await?;
    bench.set(Mode::Well);
    bench.send(20).await?;
    row.expect(bench.drained().await?, "not everything was handed over in time");
    let mut row = row.settle(bench).await?;
    // One attempt may have counted on the border between ill and well.
    row.expect(!is_away || row.attempts() <= 2, "a target that was away cost attempts");
    Ok(row)
}

/// The health report for one that is away, else the error of an attempt.
async fn said(bench: &Bench, is_away: bool) -> anyhow::Result<String> {
    if is_away {
        return Ok(about("target:", &bench.relay.health().await?.1));
    }
    let shown = bench.relay.shown().await?;
    let error = shown.values().flat_map(|parts| parts.values()).find_map(|part| part.error.clone());
    Ok(short(&error.unwrap_or_else(|| "nothing: the outcome was known before the next attempt".to_owned())))
}
