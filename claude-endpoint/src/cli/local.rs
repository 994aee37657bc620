//! `review`: local changes, without GitHub.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::config::Cli;
use crate::desk::{Desk, Errand, Purpose};
use crate::diff::{self, Diff};
use crate::earlier::State;
use crate::examine::{Examined, Extent, Inputs, NotExamined, examine};
use crate::project::{RULES, SETTINGS};
use crate::prompt::{Background, Commit, Text};
use crate::report;

/// A larger diff is no review.
const LARGEST_DIFF: u64 = 32 << 20;
/// A larger file is not shown whole anyway.
const LARGEST_FILE: usize = 512 << 10;
const MOST_FILES: usize = 60;
const MOST_COMMITS: &str = "--max-count=50";
/// What a diff that came without a repository is compared with.
const HEAD: &str = "HEAD";

/// What to review.
#[derive(Debug, Args)]
pub struct Local {
    /// A diff as git writes it; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "range", required_unless_present = "range")]
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
            println!("{}", report::nothing(&left_out));
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
    let errand = Errand {
        delivery: "local",
        repository: &inputs.repository,
        subject: "local",
        purpose: Purpose::Review,
    };
    examine(desk, &errand, inputs).await
}

impl Local {
    fn inputs(&self, limits: Extent) -> anyhow::Result<Inputs> {
        let repo = Repo(&self.repo);
        let (text, base, head) = match (&self.diff, &self.range) {
            (Some(file), _) => (read(file)?, HEAD.to_owned(), None),
            (None, Some(range)) => {
                let (base, head) = ends(range)?;
                let text = repo.git(&[
                    "diff",
                    "--no-color",
                    "--no-ext-diff",
                    "-M",
                    "--src-prefix=a/",
                    "--dst-prefix=b/",
                    "--end-of-options",
                    range,
                ])?;
                (text, base.to_owned(), Some(head.to_owned()))
            }
            (None, None) => bail!("give a diff (--diff FILE) or a range of commits (--range A..B)"),
        };
        let diff = diff::parse(&text).context("this is no diff as git writes it (`git diff`)")?;
        let commits = self.range.as_deref().map(|range| repo.commits(range)).unwrap_or_default();
        let title = commits.first().map(|commit| commit.message.clone()).unwrap_or_default();
        let (title, body) = title.split_once('\n').unwrap_or((&title, ""));
        let background = Background {
            rules: RULES.iter().filter_map(|name| repo.file(&base, name)).collect(),
            files: repo.files(head.as_deref(), &diff),
            commits: commits.clone(),
            ..Background::default()
        };
        Ok(Inputs {
            repository: self
                .repo
                .file_name()
                .map_or("local".into(), |name| name.to_string_lossy().into_owned()),
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
    let named = |end| if end == "" { HEAD } else { end };
    Ok((named(base), named(head)))
}

/// A repository on this machine, read with git.
struct Repo<'a>(&'a Path);

impl Repo<'_> {
    fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("git")
            .arg("-C")
            .arg(self.0)
            .args(arguments)
            .output()
            .context("cannot run git; install it, or give a diff with --diff")?;
        if !output.status.success() {
            bail!("git: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn file(&self, commit: &str, path: &str) -> Option<Text> {
        let text = self.git(&["show", "--end-of-options", &format!("{commit}:{path}")]).ok()?;
        (text.len() <= LARGEST_FILE).then(|| Text { path: path.to_owned(), text })
    }

    /// Changed files as they are after the change: at `head`, or as they lie in the folder.
    fn files(&self, head: Option<&str>, diff: &Diff) -> Vec<Text> {
        let paths = diff
            .files
            .iter()
            .filter(|file| file.unreadable.is_none())
            .filter_map(|file| file.new_path.as_deref());
        let text = |path: &str| match head {
            Some(head) => self.file(head, path),
            None => {
                // a diff names any path; nothing outside of the repository is read for it
                let inside =
                    Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
                let text = inside.then(|| std::fs::read_to_string(self.0.join(path)).ok())??;
                (text.len() <= LARGEST_FILE).then(|| Text { path: path.to_owned(), text })
            }
        };
        paths.take(MOST_FILES).filter_map(text).collect()
    }

    fn commits(&self, range: &str) -> Vec<Commit> {
        let log = self.git(&["log", MOST_COMMITS, "--format=%H%n%B%x00", "--end-of-options", range]);
        let log = log.unwrap_or_default();
        let entries = log.split('\0').filter_map(|entry| entry.trim_start().split_once('\n'));
        entries
            .map(|(sha, message)| Commit { sha: sha.to_owned(), message: message.trim().to_owned() })
            .collect()
    }
}
