//! Logs and metrics.

use std::{io::IsTerminal, sync::Mutex, time::Duration};

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::LevelFilter,
    fmt::{self, writer::BoxMakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::LogArgs;

mod file;

use file::LogFile;
pub(crate) use file::MOST_KEPT;

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

/// Starts logging to standard error, or to a file; standard output belongs to what a command prints.
///
/// # Errors
/// `RUST_LOG` is not a valid filter, the file cannot be written, or logging was started before.
pub fn init(args: &LogArgs) -> anyhow::Result<()> {
    let filter =
        quieted(&args.rust_log).context("RUST_LOG is not a valid filter, for example `info,relay=debug`")?;
    tracing_subscriber::registry().with(lines(args)?).with(filter).try_init()?;
    Ok(())
}

fn lines(args: &LogArgs) -> anyhow::Result<Box<dyn Layer<Registry> + Send + Sync>> {
    let (writer, on_terminal) = match &args.log_file {
        None => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
        Some(path) => {
            let file = LogFile::open(path, args.log_file_size << 20, args.log_files_kept);
            let file = file.with_context(|| format!("cannot write LOG_FILE {}", path.display()))?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        }
    };
    let json = args.log_format == LogFormat::Json || (args.log_format == LogFormat::Auto && !on_terminal);
    let mut lines = fmt::layer().with_writer(writer);
    if !on_terminal {
        lines.set_ansi(false);
    }
    Ok(if json {
        lines.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        lines.compact().with_target(false).boxed()
    })
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
    fn a_file_takes_whole_lines_of_json() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            log: LogArgs,
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/relay.log");
        let args = |more: &[&str]| {
            let start = ["relay", "--log-file", path.to_str().unwrap()];
            <Cli as clap::Parser>::parse_from(start.iter().chain(more)).log
        };
        let write = |args: &LogArgs| {
            let subscriber = tracing_subscriber::registry().with(lines(args).unwrap());
            tracing::subscriber::with_default(subscriber, || tracing::info!(port = 4200, "listens"));
        };
        write(&args(&[]));
        let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((&line["message"], &line["port"]), (&"listens".into(), &4200.into()));
        write(&args(&["--log-format", "text"]));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("listens port=4200\n") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let args = LogArgs {
            log_format: LogFormat::Auto,
            rust_log: "info".to_owned(),
            log_file: Some(folder.path().to_owned()),
            log_file_size: 1,
            log_files_kept: 1,
        };
        let error = lines(&args).err().unwrap();
        assert!(error.to_string().starts_with("cannot write LOG_FILE /"), "{error}");
    }

    #[test]
    fn a_library_that_narrates_is_heard_by_those_who_name_it() {
        let filter = |text: &str| quieted(text).unwrap().to_string();
        assert!(filter("info").contains("rmcp=warn") && filter("info,relay=debug").contains("rmcp=warn"));
        assert_eq!((filter("error"), filter("off")), ("error".to_owned(), "off".to_owned()));
        assert!(!filter("info,rmcp=debug").contains("rmcp=warn"));
        assert!(quieted("info,=").is_err());
    }
}
