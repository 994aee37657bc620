//! The memory's file: `backup`, `restore`, `check`, `reindex`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::show;
use crate::store::sqlite::{back_up, check, reindex, restore};

/// The memory could not be looked at.
const FAILED: u8 = 2;

/// Where to.
#[derive(Debug, Args)]
pub struct Backup {
    /// The file to make; must not exist
    file: PathBuf,
}

impl Backup {
    pub(super) fn run(&self, memory: &Path) -> anyhow::Result<()> {
        let file = self.file.display();
        let held = back_up(memory, &self.file).with_context(|| format!("no backup in {file}"))?;
        println!("{}, in {file}", show::held(&held));
        Ok(())
    }
}

/// Where from.
#[derive(Debug, Args)]
pub struct Restore {
    /// A file that `backup` made
    file: PathBuf,
}

impl Restore {
    pub(super) fn run(&self, memory: &Path) -> anyhow::Result<()> {
        if let Some(folder) = memory.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create DATA_DIR {}", folder.display()))?;
        }
        let (held, aside) = restore(memory, &self.file)?;
        println!("{}, are the memory now; start the service", show::held(&held));
        if let Some(aside) = aside {
            println!("the former one is kept in {}", aside.display());
        }
        Ok(())
    }
}

/// How it is told.
#[derive(Debug, Args)]
pub struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    /// As with `diff`, 1 is an answer.
    pub(super) fn run(&self, memory: &Path) -> ExitCode {
        let checked = match check(memory) {
            Ok(checked) => checked,
            Err(error) => {
                eprintln!("error: {}", shared::error::chain(&error));
                return ExitCode::from(FAILED);
            }
        };
        match self.json {
            true => println!(
                "{:#}",
                json!({
                    "records": checked.records, "memories": checked.memories, "vectors": checked.vectors,
                    "differences": checked.differences,
                })
            ),
            false => print!("{}", show::checked(&checked)),
        }
        if checked.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Nothing to choose.
#[derive(Debug, Args)]
pub struct Reindex {}

impl Reindex {
    pub(super) fn run(&self, memory: &Path) -> anyhow::Result<()> {
        let held = reindex(memory)?;
        println!("{}, made anew; start the service, which embeds what is left", show::held(&held));
        Ok(())
    }
}
