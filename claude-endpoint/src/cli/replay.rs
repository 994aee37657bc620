//! `replay`: recorded reviews, made again offline.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::record;
use crate::replay::{is_review, name, replay};
use crate::text::visible;

/// What to make again.
#[derive(Debug, Args)]
pub struct Again {
    /// One recorded event's folder (RECORD_DIR/<delivery>), or RECORD_DIR itself
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The differences as JSON: an array with an object for each review
    #[arg(long)]
    json: bool,
}

/// Makes the reviews again, and prints what differs. `true`: nothing does.
///
/// # Errors
/// There is no recorded review, or one cannot be read; the others are made all the same.
pub(super) async fn run(again: &Again) -> anyhow::Result<bool> {
    let folders = reviews(&again.folder)?;
    let (mut is_same, mut broken, mut all) = (true, 0, Vec::new());
    for folder in &folders {
        let (text, value) = match replay(folder).await {
            Ok(replay) => {
                is_same &= replay.is_same();
                (replay.text(), serde_json::to_value(&replay)?)
            }
            Err(error) if folders.len() == 1 => return Err(error),
            Err(error) => {
                broken += 1;
                let (delivery, error) = (name(folder), format!("{error:#}"));
                let text = format!("{}: cannot be made again: {}\n", visible(&delivery), visible(&error));
                (text, json!({"delivery": delivery, "error": error}))
            }
        };
        match again.json {
            true => all.push(value),
            false => print!("{text}"),
        }
    }
    if again.json {
        println!("{:#}", Value::Array(all));
    }
    match broken {
        0 => Ok(is_same),
        _ => bail!("{broken} of {} recorded reviews cannot be made again", folders.len()),
    }
}

/// The folder itself, or those in it. What has answers to comments only is no review.
fn reviews(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let shown = folder.display();
    let has_question = || record::questions(folder).is_ok_and(|questions| !questions.is_empty());
    if is_review(folder) || has_question() {
        return Ok(vec![folder.to_owned()]);
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {shown}"))?;
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_review(path)).collect();
    folders.sort();
    match folders.is_empty() {
        true => bail!("no review is recorded in {shown}; RECORD_DIR says where reviews are recorded"),
        false => Ok(folders),
    }
}
