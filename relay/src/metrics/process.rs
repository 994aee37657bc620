//! The metrics that every process has, under the names that all exporters use
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>). What the kernel counts is known on
//! Linux alone.

use ::metrics::{describe_gauge, gauge};
use jiff::Timestamp;

pub(super) fn start() {
    describe_gauge!("process_start_time_seconds", "Start of the process, in seconds since 1970.");
    gauge!("process_start_time_seconds").set(Timestamp::now().as_duration().as_secs_f64());
    #[cfg(target_os = "linux")]
    linux::describe();
}

/// What cannot be read is left out.
pub(super) fn publish() {
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::publish() {
        tracing::debug!(%error, "the process's numbers are missing from the metrics");
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use ::metrics::{counter, describe_counter, describe_gauge, gauge};
    use procfs::{
        ProcResult, WithCurrentSystemInfo,
        process::{LimitValue, Process},
    };

    use crate::metrics::float;

    pub(super) fn describe() {
        describe_counter!("process_cpu_seconds_total", "Time spent on a CPU, in whole seconds.");
        describe_gauge!("process_resident_memory_bytes", "Resident memory, in bytes.");
        describe_gauge!("process_open_fds", "Open file descriptors.");
        describe_gauge!("process_max_fds", "The most file descriptors that may be open.");
    }

    pub(super) fn publish() -> ProcResult<()> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = stat.utime + stat.stime;
        counter!("process_cpu_seconds_total").absolute(ticks / procfs::ticks_per_second());
        gauge!("process_resident_memory_bytes").set(float(stat.rss_bytes().get()));
        gauge!("process_open_fds").set(float(process.fd_count()? as u64));
        if let LimitValue::Value(most) = process.limits()?.max_open_files.soft_limit {
            gauge!("process_max_fds").set(float(most));
        }
        Ok(())
    }
}
