//! Disks that are full or read-only.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use super::{about, short};
use crate::crash::{
    bench::{Bench, Settings},
    book::Heard,
    process::until,
    row::Row,
    target::Mode,
    volume::Volume,
};

/// Until the relay says what is wrong, or ends.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
/// KiB of the disks, and of what is left on the full one: some dozens of events.
const DISK: u64 = 16 * 1024;
const LEFT: u64 = 700;

/// Fills the disk under load and makes room again.
pub(super) async fn full(name: &'static str, settings: &Settings) -> anyhow::Result<Row> {
    let volume = Volume::in_memory(DISK).ok();
    let mut bench = match &volume {
        Some(volume) => Bench::with_data(settings, &volume.path().join("relay"))?,
        None => Bench::new(settings)?,
    };
    if volume.is_none() {
        bench.relay.largest_file = Some(LEFT);
    }
    bench.set(Mode::Refused);
    bench.relay.start().await?;
    if let Some(volume) = &volume {
        volume.fill(LEFT)?;
    }
    let disk = if volume.is_some() { "a tmpfs" } else { "a limit on files" };
    let mut row = Row::new(name, &format!("{disk} filled under load, then room was made"));
    bench.load.start(3, Duration::from_millis(4))?;
    row.expect(refuses(&bench).await, "no event was answered 503 with Retry-After");
    row.expect(bench.relay.status("/readyz").await == Some(503), "/readyz is not 503");
    let (status, said) = bench.relay.health().await?;
    row.expect(status == 503, "/health is not 503");
    row.said = about("store", &said);
    match &volume {
        Some(volume) => volume.make_room()?,
        None => bench.relay.make_room()?,
    }
    let well = until(NOTICED_WITHIN, async || bench.relay.status("/readyz").await == Some(200)).await;
    row.expect(well, "it did not recover by itself");
    bench.load.stop().await;
    bench.set(Mode::Well);
    bench.send(20).await?;
    row.expect(bench.drained().await?, "not everything was handed over in time");
    row.settle(bench).await
}

/// A data folder that cannot be written, from the start.
pub(super) async fn read_only_at_start(name: &'static str, settings: &Settings) -> anyhow::Result<Row> {
    let volume = Volume::in_memory(DISK).ok();
    let mut bench = match &volume {
        Some(volume) => Bench::with_data(settings, &volume.path().join("relay"))?,
        None => Bench::new(settings)?,
    };
    let data = bench.relay.data().to_owned();
    let lock = |read_only: bool| match &volume {
        Some(volume) => volume.set_read_only(read_only),
        None => permit(&data, if read_only { 0o500 } else { 0o700 }),
    };
    bench.set(Mode::Refused);
    bench.relay.start().await?;
    bench.send(30).await?;
    bench.relay.stop().await?;
    let mut row = Row::new(name, "30 events, stopped, started on a read-only disk, then on a writable one");
    lock(true)?;
    bench.relay.spawn()?;
    let ended = bench.relay.ended(NOTICED_WITHIN).await;
    row.expect(ended.is_ok_and(|status| status.code() == Some(1)), "the start did not fail with code 1");
    let said = bench.relay.last_words();
    row.expect(said.contains(&data.display().to_string()), "the error does not name the folder");
    row.expect(said.contains("DATA_DIR") || said.contains("writable"), "the error does not say what to do");
    row.said = short(&said);
    lock(false)?;
    bench.relay.start().await?;
    bench.set(Mode::Well);
    row.expect(bench.drained().await?, "not everything was handed over in time");
    row.settle(bench).await
}

/// A disk that becomes read-only under the running relay, as Linux does it when it meets an error. It is mounted again
/// only after the relay was stopped: the kernel asks for that.
pub(super) async fn read_only_at_work(name: &'static str, settings: &Settings) -> anyhow::Result<Row> {
    let mut volume = match Volume::in_file(DISK) {
        Ok(volume) => volume,
        Err(error) => return Ok(Row::skipped(name, &format!("{error:#}"))),
    };
    let mut bench = Bench::with_data(settings, &volume.path().join("relay"))?;
    bench.set(Mode::Refused);
    bench.relay.start().await?;
    bench.send(30).await?;
    let mut row = Row::new(name, "an ext4 met an error under load, then it was mounted again");
    row.allow_unconfirmed();
    bench.load.start(3, Duration::from_millis(4))?;
    volume.break_down()?;
    row.expect(refuses(&bench).await, "no event was answered 503 with Retry-After");
    row.expect(bench.relay.status("/readyz").await == Some(503), "/readyz is not 503");
    let (status, said) = bench.relay.health().await?;
    row.expect(status == 503, "/health is not 503");
    row.said = about("store", &said);
    row.expect(!bench.relay.has_ended(), "the relay ended");
    bench.load.stop().await;
    bench.relay.kill();
    volume.unmount()?;
    volume.mount()?;
    bench.relay.start().await?;
    bench.set(Mode::Well);
    bench.send(20).await?;
    row.expect(bench.drained().await?, "not everything was handed over in time");
    row.settle(bench).await
}

/// Waits until events are answered 503; one without `Retry-After` is a problem that the load notes itself.
async fn refuses(bench: &Bench) -> bool {
    let refused = || bench.load.book(|book| book.count(|heard| *heard == Heard::Refused));
    until(NOTICED_WITHIN, async || refused() >= 5).await
}

fn permit(folder: &Path, mode: u32) -> anyhow::Result<()> {
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(mode))?)
}
