//! `review`: local changes, without GitHub.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{ArgGroup, Args};
use jiff::Timestamp;
use serde_json::json;

use crate::config::Cli;
use crate::desk::{Desk, Errand, Purpose};
use crate::diff;
use crate::earlier::State;
use crate::examine::{Examined, Extent, Inputs, NotExamined, examine};
use crate::project::{RULES, SETTINGS};
use crate::prompt::Background;
use crate::replay::{INPUTS, RESULT};
use crate::report;

mod repo;

use repo::Repo;

/// A larger diff is no review.
const LARGEST_DIFF: u64 = 32 << 20;
/// What a diff that came without a repository is compared with.
const HEAD: &str = "HEAD";

/// What to review.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").args(["diff", "range"]).required(true)))]
pub struct Local {
    /// A diff as git writes it; `-` is standard input
    #[arg(long, value_name = "FILE")]
    diff: Option<PathBuf>,
    /// Commits, as `git diff` takes them: A..B or A...B
    #[arg(long, value_name = "A..B")]
    range: Option<String>,
    /// The repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// The whole result as JSON
    #[arg(long)]
    json: bool,
}

/// Reviews, and prints what was found. `true`: nothing was found that counts as a failure (`FAIL_ON`).
///
/// # Errors
/// The change cannot be read, or nobody can be asked.
pub(super) async fn run(local: &Local, cli: &Cli) -> anyhow::Result<bool> {
    let desk = cli.desk()?;
    let limits = cli.limits()?;
    let extent = Extent {
        token_budget: limits.token_budget,
        most_prompts: limits.most_prompts,
        second_look: desk.takes_second_looks(),
    };
    let inputs = local.inputs(extent)?;
    let examined = match ask(&desk, &inputs).await {
        Ok(examined) => examined,
        Err(NotExamined::Nothing(left_out)) => {
            match local.json {
                true => println!("{:#}", json!({"review": null, "left_out": left_out})),
                false => println!("{}", report::nothing(&left_out)),
            }
            return Ok(true);
        }
        Err(error) => return Err(error.into()),
    };
    match local.json {
        true => println!("{}", serde_json::to_string_pretty(&examined)?),
        false => print!("{}", report::text(&examined)),
    }
    let fail_on = inputs.project().fail_on.unwrap_or(limits.fail_on);
    Ok(!examined.told.iter().any(|told| fail_on.is_met_by(told.severity)))
}

async fn ask(desk: &Desk, inputs: &Inputs) -> Result<Examined, NotExamined> {
    // a folder of its own in RECORD_DIR
    let delivery = format!("local-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S.%3f"));
    let errand = Errand {
        delivery: &delivery,
        repository: &inputs.repository,
        subject: "local",
        purpose: Purpose::Review,
    };
    desk.record(&delivery, INPUTS, inputs).await;
    let examined = examine(desk, &errand, inputs).await?;
    desk.record(&delivery, RESULT, &examined).await;
    Ok(examined)
}

impl Local {
    fn inputs(&self, limits: Extent) -> anyhow::Result<Inputs> {
        let repo = Repo::open(&self.repo)?;
        let (text, base, head) = match (&self.diff, &self.range) {
            (Some(file), _) => (read(file)?, HEAD.to_owned(), None),
            (None, Some(range)) => {
                let (base, head) = ends(range)?;
                let text = repo.diff(range)?;
                let length = text.len() as u64;
                ensure!(length <= LARGEST_DIFF, "{range} is larger than {} MiB", LARGEST_DIFF >> 20);
                (text, base.to_owned(), Some(head.to_owned()))
            }
            (None, None) => bail!("give a diff (--diff FILE) or a range of commits (--range A..B)"),
        };
        let diff = diff::parse(&text).context("this is no diff as git writes it (`git diff`)")?;
        let commits = head.as_deref().map(|head| repo.commits(&base, head)).unwrap_or_default();
        let title = commits.first().map(|commit| commit.message.clone()).unwrap_or_default();
        let (title, body) = title.split_once('\n').unwrap_or((&title, ""));
        let background = Background {
            rules: RULES.iter().filter_map(|name| repo.file(&base, name)).collect(),
            files: repo.files(head.as_deref(), &diff),
            commits: commits.clone(),
            ..Background::default()
        };
        Ok(Inputs {
            repository: repo.name(),
            head: head.unwrap_or_default(),
            what: self.range.clone().unwrap_or_else(|| "a diff".to_owned()),
            author: String::new(),
            title: title.to_owned(),
            body: body.trim().to_owned(),
            diff,
            background,
            state: State::default(),
            settings: repo.file(&base, SETTINGS).map(|file| file.text),
            limits,
        })
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let named = || format!("cannot read {}", file.display());
    match file == Path::new("-") {
        true => std::io::stdin().take(LARGEST_DIFF + 1).read_to_end(&mut bytes),
        false => {
            std::fs::File::open(file).with_context(named)?.take(LARGEST_DIFF + 1).read_to_end(&mut bytes)
        }
    }
    .with_context(named)?;
    ensure!(
        bytes.len() as u64 <= LARGEST_DIFF,
        "{} is larger than {} MiB",
        file.display(),
        LARGEST_DIFF >> 20
    );
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The two ends of `A..B` or `A...B`; an end that is left out is HEAD.
fn ends(range: &str) -> anyhow::Result<(&str, &str)> {
    let (base, head) = range
        .split_once("...")
        .or_else(|| range.split_once(".."))
        .with_context(|| format!("`{range}` is no range of commits: write it as A..B, such as main..HEAD"))?;
    Ok((named(base), named(head)))
}

fn named(end: &str) -> &str {
    if end.is_empty() { HEAD } else { end }
}
