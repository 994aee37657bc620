//! A queue whose file was damaged: the relay says so and names the way back, and a backup brings everything back.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    time::Duration,
};

use anyhow::ensure;
use fastrand::Rng;

use super::short;
use crate::crash::{
    bench::{Bench, Settings},
    book::UNKNOWN,
    process::until,
    row::Row,
    target::Mode,
};

/// SQLite's page, and where the first frame of its WAL begins.
const PAGE: u64 = 4096;
const WAL_HEADER: u64 = 32;
/// So few that the log is not moved into the database meanwhile: what is damaged there must still be needed.
const EVENTS: usize = 60;
/// Until the relay says what is wrong.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

/// What is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The beginning of `queue.db`.
    Header,
    /// Pages in its middle.
    Page,
    /// Frames in the middle of its write-ahead log.
    Wal,
}

pub(super) async fn run(name: &'static str, settings: &Settings, place: Place) -> anyhow::Result<Row> {
    let mut bench = Bench::new(settings)?;
    let backup = bench.file("backup.db").display().to_string();
    bench.set(Mode::Refused);
    bench.relay.start().await?;
    bench.send(EVENTS).await?;
    succeeds(&bench, &["backup", &backup]).await?;
    bench.relay.kill();
    if place != Place::Wal {
        // What is in the log as well is not read from the file. A backup has no log.
        succeeds(&bench, &["restore", &backup, "--replace"]).await?;
    }
    overwrite(&bench, place, settings.seed)?;
    let mut row = Row::new(name, "60 events, backup, random bytes written over it, start, restore, start");
    let said = refusal(&mut bench).await?;
    row.expect(said.contains("damaged"), "the damage is not said");
    row.expect(said.contains("relay restore"), "`relay restore` is not named");
    row.said = short(&said);
    if !bench.relay.has_ended()
        && let Ok(account) = bench.account().await
    {
        let unknown = account.lost.iter().filter(|lost| lost.ends_with(UNKNOWN)).count();
        row.expect(unknown == 0, &format!("{unknown} acknowledged events were gone until the restore"));
    }
    bench.relay.kill();
    succeeds(&bench, &["restore", &backup, "--replace"]).await?;
    bench.relay.start().await?;
    bench.set(Mode::Well);
    bench.send(20).await?;
    row.expect(bench.drained().await?, "not everything was handed over in time");
    row.settle(bench).await
}

async fn succeeds(bench: &Bench, verb: &[&str]) -> anyhow::Result<()> {
    let output = bench.relay.verb(verb).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "relay {}: {}", verb.join(" "), short(&said));
    Ok(())
}

/// What the relay says when it is started on it: its last words, or its health report if it runs.
async fn refusal(bench: &mut Bench) -> anyhow::Result<String> {
    bench.relay.spawn()?;
    let mut said = String::new();
    until(NOTICED_WITHIN, async || {
        if bench.relay.has_ended() {
            said = bench.relay.last_words();
            return true;
        }
        match bench.relay.health().await {
            Ok((503, report)) => {
                said = report;
                true
            }
            Ok((_, report)) => {
                said = report;
                false
            }
            Err(_) => false,
        }
    })
    .await;
    Ok(said)
}

fn overwrite(bench: &Bench, place: Place, seed: u64) -> anyhow::Result<()> {
    let mut rng = Rng::with_seed(seed);
    let name = if place == Place::Wal { "queue.db-wal" } else { "queue.db" };
    let path = bench.relay.data().join(name);
    let length = fs::metadata(&path)?.len();
    let (from, bytes) = match place {
        Place::Header => (0, 512),
        Place::Page => (length / PAGE / 2 * PAGE, 3 * PAGE),
        Place::Wal => (WAL_HEADER + length / 2, PAGE),
    };
    ensure!(length > from + bytes, "{name} has only {length} bytes");
    let noise: Vec<u8> = (0..bytes).map(|_| rng.u8(..)).collect();
    Ok(File::options().write(true).open(&path)?.write_all_at(&noise, from)?)
}
