//! What the service manager starts: reads the settings, and becomes the service, or another verb of its program.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    process::Command,
};

use anyhow::{Context, bail};

use super::{config::Settings, plan::Name};

/// launchd lets the file of our standard error grow without end.
const LARGEST_START_LOG: u64 = 1024 * 1024;

/// Becomes the service, or what `words` ask of its program: the process stays the one that the manager watches.
///
/// # Errors
/// It cannot be run; otherwise this never returns.
pub(super) fn run(name: Name, words: &[String], settings: &Settings) -> anyhow::Result<()> {
    if name == Name::Tunnel {
        bail!("the tunnel needs no settings file; run: ai-relay-home tunnel run");
    }
    let mut command = command(name, settings);
    let program = settings.programs.join(name.program());
    if words.is_empty() {
        // A verb's output goes where somebody wants to keep it.
        shorten_start_log();
        command.arg("serve");
    }
    let error = command.args(words).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// A program with the settings of this machine: what the environment has goes first, then the file, then the defaults of
/// a machine that runs both endpoints.
pub(super) fn command(name: Name, settings: &Settings) -> Command {
    let mut command = Command::new(settings.programs.join(name.program()));
    command.current_dir(&settings.root);
    for (variable, value) in &settings.file {
        if !super::config::is_given(variable) {
            command.env(variable, value);
        }
    }
    if let Some((_, port)) = name.port(settings) {
        command.env("PORT", port.to_string());
    }
    command.env("DATA_DIR", settings.data_root.join(name.program()));
    let memory = settings.file.get("MEMORY_URL").is_some_and(|url| !url.is_empty());
    if !memory && !super::config::is_given("MEMORY_URL") {
        command.env("MEMORY_URL", format!("http://127.0.0.1:{}", settings.ollama_endpoint_port));
    }
    command
}

/// Empties the file that launchd makes of our standard error, if it has become long.
pub(crate) fn shorten_start_log() {
    if let Ok(start_log) = io::stderr().as_fd().try_clone_to_owned() {
        // A log that cannot be shortened is no reason not to serve.
        let _ = shorten(&File::from(start_log));
    }
}

/// Empties a file that is written to by appending; anything else is left alone. What fails again says so again.
fn shorten(log: &File) -> io::Result<()> {
    let about = log.metadata()?;
    if about.is_file() && about.len() > LARGEST_START_LOG { log.set_len(0) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_start_log_is_emptied_when_it_is_too_long() {
        let mut log = tempfile::tempfile().unwrap();
        log.write_all(&vec![b'x'; LARGEST_START_LOG as usize]).unwrap();
        shorten(&log).unwrap();
        assert_eq!(log.metadata().unwrap().len(), LARGEST_START_LOG);
        log.write_all(b"x").unwrap();
        shorten(&log).unwrap();
        assert_eq!(log.metadata().unwrap().len(), 0);
    }
}
