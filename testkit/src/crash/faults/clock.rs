//! The relay's clock jumps while events are on their way and are being retried. First the relay's alone, so that its
//! signatures look stale to the targets; then theirs too: the new time is the right one.

use std::{fs, path::PathBuf, time::Duration};

use super::about;
use crate::crash::{
    bench::{Bench, Settings},
    process::until,
    row::Row,
    target::Mode,
};

/// How long it may take until the relay has noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
/// How long events under way may wait for their next attempt after the jump. Longer than any delay of these attempts.
const TRIED_WITHIN: Duration = Duration::from_secs(60);
/// So many failures after the jump: more than a lane has in hand at a time, so that those are among them that failed
/// before it.
const TRIED: u64 = 15;

pub(super) async fn run(name: &'static str, settings: &Settings, jump: i64) -> anyhow::Result<Row> {
    let Some(library) = library() else {
        return Ok(Row::skipped(name, "libfaketime is missing; on Debian: apt-get install faketime"));
    };
    let mut bench = Bench::new(settings)?;
    let clock = bench.file("clock");
    fs::write(&clock, "+0")?;
    bench.relay.surroundings = surroundings(&library, &clock);
    bench.relay.start().await?;
    let done =
        "clock of the relay moved while 60 events were retried, 40 more, then the targets' clocks moved too";
    let mut row = Row::new(name, done);
    bench.set(Mode::Status(500, None));
    bench.send(60).await?;
    for target in &bench.targets {
        row.expect(target.has_been_ill(20, NOTICED_WITHIN).await, "no event was retried");
    }
    // Another file in its place, so that nobody reads half of it.
    let next = bench.file("clock.next");
    fs::write(&next, format!("{jump:+}"))?;
    fs::rename(&next, &clock)?;
    bench.send(40).await?;
    let noticed = until(NOTICED_WITHIN, async || {
        bench.relay.health().await.is_ok_and(|(_, said)| said.contains("clock"))
    });
    row.expect(noticed.await, "the health report does not name the clock");
    row.said = about("target:", &bench.relay.health().await?.1);
    for target in &bench.targets {
        let before = target.ill();
        target.set_clock(jump);
        row.expect(target.has_been_ill(before + TRIED, TRIED_WITHIN).await, "few were tried after the jump");
    }
    bench.set(Mode::Well);
    row.expect(bench.drained().await?, "not everything was handed over in time");
    row.settle(bench).await
}

/// libfaketime for programs with threads.
fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib"];
    let paths = folders.iter().map(|folder| PathBuf::from(folder).join("faketime/libfaketimeMT.so.1"));
    paths.into_iter().find(|path| path.exists())
}

/// Only the wall clock is moved: time limits are kept by the monotonic one, which never jumps.
fn surroundings(library: &std::path::Path, clock: &std::path::Path) -> Vec<(String, String)> {
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_DISABLE_SHM", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}
