//! `kill -9` at random moments under load, again and again, on the same data.

use std::time::Duration;

use anyhow::Context;
use fastrand::Rng;
use tokio::time::{Instant, sleep};

use super::{
    bench::{Bench, Settings},
    book::Book,
    row::{Row, milliseconds},
    say,
    target::Mode,
};

/// Connections that send, and the longest pause of each between two deliveries.
const SENDERS: u32 = 6;
const PACE: Duration = Duration::from_millis(12);
/// How long after the relay is ready it is ended.
const LIFE: std::ops::RangeInclusive<u64> = 5..=400;
/// How long after it was begun a start is cut off.
const START: std::ops::RangeInclusive<u64> = 0..=80;

/// How a round ends the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// SIGKILL while it works.
    Killed,
    /// SIGKILL while it starts.
    KilledAtStart,
    /// SIGKILL while its targets are away or ill.
    KilledWhileAway(Mode),
    /// SIGTERM.
    Stopped,
}

impl How {
    fn random(rng: &mut Rng) -> Self {
        let ill = [
            Mode::Refused,
            Mode::Never,
            Mode::Garbage,
            Mode::WrongSignature,
            Mode::LosesAnswer,
            Mode::Status(500, None),
        ];
        match rng.u8(..20) {
            0..2 => Self::Stopped,
            2..4 => Self::KilledAtStart,
            4..7 => Self::KilledWhileAway(ill[rng.usize(..ill.len())]),
            _ => Self::Killed,
        }
    }
}

/// What the rounds came to.
#[derive(Debug, Default)]
struct Tally {
    starts: Vec<Duration>,
    killed: u32,
    killed_at_start: u32,
    killed_while_away: u32,
    stopped: u32,
}

/// So many rounds, then the count.
pub(super) async fn run(settings: &Settings, rounds: u32) -> anyhow::Result<Row> {
    let mut bench = Bench::new(settings)?;
    let mut rng = Rng::with_seed(settings.seed);
    let (mut tally, began) = (Tally::default(), Instant::now());
    bench.load.start(SENDERS, PACE)?;
    for round in 1..=rounds {
        one(&mut bench, &mut rng, &mut tally).await.with_context(|| format!("round {round}"))?;
        if round % 10 == 0 {
            say(&progress(&bench, &tally, round, rounds, began))?;
        }
    }
    tally.starts.push(bench.relay.start().await?);
    bench.load.stop().await;
    let mut row = Row::new("kill -9", &tally.done());
    let drained = bench.drained().await?;
    row.expect(drained, "not everything had an end in time");
    row.said = tally.start_up_time();
    row.settle(bench).await
}

async fn one(bench: &mut Bench, rng: &mut Rng, tally: &mut Tally) -> anyhow::Result<()> {
    match How::random(rng) {
        How::Killed => {
            live(bench, rng, tally).await?;
            bench.relay.kill();
            tally.killed += 1;
        }
        How::KilledAtStart => {
            bench.relay.spawn()?;
            sleep(Duration::from_millis(rng.u64(START))).await;
            bench.relay.kill();
            tally.killed_at_start += 1;
        }
        How::KilledWhileAway(mode) => {
            bench.set(mode);
            live(bench, rng, tally).await?;
            bench.relay.kill();
            bench.set(Mode::Well);
            tally.killed_while_away += 1;
        }
        How::Stopped => {
            live(bench, rng, tally).await?;
            bench.relay.stop().await?;
            tally.stopped += 1;
        }
    }
    Ok(())
}

/// Starts the relay and lets it work for a random time.
async fn live(bench: &mut Bench, rng: &mut Rng, tally: &mut Tally) -> anyhow::Result<()> {
    tally.starts.push(bench.relay.start().await?);
    sleep(Duration::from_millis(rng.u64(LIFE))).await;
    Ok(())
}

fn progress(bench: &Bench, tally: &Tally, round: u32, rounds: u32, began: Instant) -> String {
    let acknowledged = bench.load.book(Book::taken);
    let handed_over: usize = bench.targets.iter().map(|target| target.ledger(|one| one.order().len())).sum();
    format!(
        "round {round:>4} of {rounds}: {acknowledged} acknowledged, {handed_over} handed over, {}, {} s",
        tally.start_up_time(),
        began.elapsed().as_secs()
    )
}

impl Tally {
    fn done(&self) -> String {
        let Self { killed, killed_at_start, killed_while_away, stopped, .. } = self;
        format!(
            "SIGKILL {killed} at work, {killed_at_start} at the start, {killed_while_away} with ill targets; SIGTERM {stopped}"
        )
    }

    fn start_up_time(&self) -> String {
        let mut starts = self.starts.clone();
        starts.sort();
        let (Some(median), Some(longest)) = (starts.get(starts.len() / 2), starts.last()) else {
            return "no start yet".to_owned();
        };
        format!("start-up p50 {} ms, max {} ms", milliseconds(*median), milliseconds(*longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_rounds() {
        let rounds = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..50).map(|_| How::random(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(rounds(7), rounds(7));
        assert_ne!(rounds(7), rounds(8));
    }
}
