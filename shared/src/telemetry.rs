//! Logs and metrics.

use std::{io::IsTerminal, time::Duration};

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `text` on a terminal, else `json`.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Starts logging to standard error; standard output belongs to what a command prints.
///
/// # Errors
/// `filter` is not a valid `RUST_LOG` directive, or logging was started before.
pub fn init(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = quieted(filter).context("RUST_LOG is not a valid filter, for example `info,relay=debug`")?;
    let json = format == LogFormat::Json || (format == LogFormat::Auto && !std::io::stderr().is_terminal());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry.with(lines.json().flatten_event(true).with_current_span(false)).try_init()?;
    } else {
        registry.with(lines.compact().with_target(false)).try_init()?;
    }
    Ok(())
}

/// `rmcp` writes three lines of `info` for each request; they are for its developers, who ask for them by name.
fn quieted(text: &str) -> anyhow::Result<EnvFilter> {
    let filter = EnvFilter::try_new(text)?;
    let narrates = filter.max_level_hint().is_none_or(|most| most >= LevelFilter::INFO);
    Ok(if narrates && !text.contains("rmcp") { filter.add_directive("rmcp=warn".parse()?) } else { filter })
}

const UPKEEP: Duration = Duration::from_secs(5);

/// Seconds; from a queue put, past the 10 that GitHub waits, to an event that waited for a Mac over the weekend.
const DURATION_BUCKETS: [f64; 20] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0,
    1800.0, 7200.0, 43_200.0, 172_800.0,
];

/// Bytes; up to the 25 MiB that GitHub sends at the most.
const SIZE_BUCKETS: [f64; 8] =
    [1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 26_214_400.0];

/// Starts the process-wide metrics recorder. In a process that has one already (tests run several services in one),
/// a recorder of its own is made whose text stays empty. Must be called within a tokio runtime.
///
/// # Errors
/// The bucket list is refused by the exporter.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &SIZE_BUCKETS)?
        .build_recorder();
    let handle = recorder.handle();
    let _ = metrics::set_global_recorder(recorder);
    // Without upkeep the samples of histograms pile up for as long as nobody scrapes.
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_narrates_is_heard_by_those_who_name_it() {
        let filter = |text: &str| quieted(text).unwrap().to_string();
        assert!(filter("info").contains("rmcp=warn") && filter("info,relay=debug").contains("rmcp=warn"));
        assert_eq!((filter("error"), filter("off")), ("error".to_owned(), "off".to_owned()));
        assert!(!filter("info,rmcp=debug").contains("rmcp=warn"));
        assert!(quieted("info,=").is_err());
    }
}
