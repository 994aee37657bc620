//! Where log lines go.

use std::path::PathBuf;

use clap::Args;

use crate::telemetry::{LogFormat, MOST_KEPT};

/// Where log lines go, and which of them.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// How log lines are written
    #[arg(long, env = "LOG_FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
    /// Which log lines are written
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub rust_log: String,
    /// File that takes the log lines instead of standard error; each service needs its own
    #[arg(long, env = "LOG_FILE", value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// MiB at which the log file is full and a new one begins
    #[arg(long, env = "LOG_FILE_SIZE", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub log_file_size: u64,
    /// Full log files that are kept, as FILE.1 (the newest), FILE.2 and so on
    #[arg(long, env = "LOG_FILES_KEPT", default_value = "4", value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_KEPT)))]
    pub log_files_kept: u32,
}
