//! From what is known about a change to findings that are worth telling: compose → ask → sift → second look → anchor.
//!
//! Nothing here knows GitHub, the queue or the memory: a webhook's review, a review of local changes and a replay all
//! come through here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::anchor::{self, Anchored, Kept};
use crate::desk::{Chosen, Desk, Errand, NotAsked};
use crate::diff::{Diff, File, Hunk, Line};
use crate::earlier::{State, Told};
use crate::fingerprint::HunkId;
use crate::project::Project;
use crate::prompt::{
    self, Background, Change, Commit, Composed, Issue, LeftOut, Material, Overhead, Prompt, Text,
};
use crate::redact::redact;
use crate::reviewer::{Question, ReviewError, Reviewer, Usage};
use crate::second_look::{SecondLook, second_look};
use crate::sift::{self, sift};
use crate::verdict::{self, Opinion, Review};

/// In tokens; a model that finds this too long is not asked with less.
const SMALLEST_BUDGET: usize = 8_000;
/// Room for fifty findings; an answer that is cut off is not a review.
const MOST_OUTPUT_TOKENS: u32 = 32_000;

/// Everything that a review is made from. What is recorded, and what a replay starts with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inputs {
    /// `owner/name`.
    pub repository: String,
    /// The reviewed commit.
    pub head: String,
    /// `pull request #7`, `push of 2 commits to main`.
    pub what: String,
    /// Login of the author.
    pub author: String,
    /// Title, or the first line of the newest commit's message.
    pub title: String,
    /// Description.
    pub body: String,
    /// The change.
    pub diff: Diff,
    /// What is known about it.
    pub background: Background,
    /// What earlier reviews said.
    pub state: State,
    /// The base branch's `.ai-relay.toml`.
    pub settings: Option<String>,
    /// How much is asked.
    pub limits: Extent,
}

/// How much one review may ask.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Extent {
    /// For one prompt, in tokens.
    pub token_budget: usize,
    /// Prompts.
    pub most_prompts: usize,
    /// Whether each finding is checked by a second question.
    pub second_look: bool,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Examined {
    /// Its findings are in `anchored`.
    pub review: Review,
    /// What is to be told, in its places.
    pub anchored: Anchored,
    /// The same, for the state: the inline ones, those on files, those in the body.
    pub told: Vec<Told>,
    /// Earlier findings that are gone, by their place in the state.
    pub fixed: Vec<usize>,
    /// The changed places that need no second review.
    pub hunks: BTreeSet<HunkId>,
    /// What the model did not see.
    pub left_out: Vec<LeftOut>,
    /// Findings that were told before.
    pub repeated: usize,
    /// Findings about code that was reviewed before.
    pub settled: usize,
    /// What the second look did.
    pub second_look: Option<SecondLook>,
    /// The back end.
    pub reviewer: String,
    /// The model that answered.
    pub model: String,
    /// Why it is not who usually does.
    pub label: Option<String>,
    /// Questions that were asked for the review itself.
    pub questions: usize,
    /// Their tokens.
    pub usage: Usage,
    /// Length of the shown change beside the raw one.
    pub overhead: Overhead,
    /// Milliseconds of the questions and of the second look.
    pub milliseconds: [u64; 2],
}

/// Why there is no review.
#[derive(Debug, Error)]
pub enum NotExamined {
    /// There is nothing that a model could read.
    #[error("there is nothing to review")]
    Nothing(Vec<LeftOut>),
    /// Nobody may or can be asked.
    #[error(transparent)]
    NotAsked(#[from] NotAsked),
    /// The model brought no review.
    #[error(transparent)]
    Ask(#[from] ReviewError),
}

impl Examined {
    /// Moves all but the first so many comments on lines and on files into the body.
    pub fn demote(&mut self, most_inline: usize, most_on_files: usize) {
        let Anchored { inline, file, body } = &mut self.anchored;
        let mut told = std::mem::take(&mut self.told);
        let mut of_files = told.split_off(inline.len());
        let mut of_body = of_files.split_off(file.len());
        let mut moved = Vec::new();
        let mut moved_told = told.split_off(most_inline.min(inline.len()));
        let lines = inline.split_off(most_inline.min(inline.len()));
        moved.extend(lines.into_iter().map(|comment| Kept { finding: comment.finding, reason: None }));
        moved_told.extend(of_files.split_off(most_on_files.min(file.len())));
        moved.extend(file.split_off(most_on_files.min(file.len())));
        for told in &mut moved_told {
            told.has_comment = false;
        }
        body.splice(0..0, moved);
        of_body.splice(0..0, moved_told);
        self.told = [told, of_files, of_body].concat();
    }
}

impl Inputs {
    /// The base branch's settings.
    pub fn project(&self) -> Project {
        self.settings.as_deref().map(Project::read).unwrap_or_default()
    }

    fn change(&self) -> Change<'_> {
        let Self { repository, what, author, title, body, .. } = self;
        Change { repository, what, author, title, body }
    }

    /// The same without secrets: what a model may see. The lines of the change keep their places.
    fn shown(&self) -> Self {
        let prose = |text: &String| redact(text).into_owned();
        let texts = |texts: &[Text]| {
            let shown = texts.iter().map(|it| Text { path: prose(&it.path), text: prose(&it.text) });
            shown.collect()
        };
        let Background { rules, files, commits, issues, memories, earlier } = &self.background;
        let commit = |it: &Commit| Commit { sha: it.sha.clone(), message: prose(&it.message) };
        let issue = |it: &Issue| Issue { number: it.number, title: prose(&it.title), body: prose(&it.body) };
        Self {
            title: prose(&self.title),
            body: prose(&self.body),
            author: prose(&self.author),
            diff: redacted(&self.diff),
            background: Background {
                rules: texts(rules),
                files: texts(files),
                commits: commits.iter().map(commit).collect(),
                issues: issues.iter().map(issue).collect(),
                memories: memories.iter().map(prose).collect(),
                earlier: earlier.iter().map(prose).collect(),
            },
            ..self.clone()
        }
    }

    fn compose(&self, project: &Project, budget: usize) -> Result<Composed, Vec<LeftOut>> {
        let material = Material {
            change: self.change(),
            diff: &self.diff,
            background: &self.background,
            is_reviewed: &|file, hunk| self.state.is_reviewed(HunkId::new(file, hunk)),
            ignored: &|path| project.ignores(path),
        };
        prompt::compose(&material, budget, self.limits.most_prompts)
    }

    /// The change and what is known of it in one prompt, for a question of another kind; `None` if there is nothing to
    /// be read.
    pub fn one_prompt(&self) -> Option<String> {
        let whole = Self { state: State::default(), ..self.shown() };
        let limits = Extent { most_prompts: 1, ..self.limits };
        let composed = Self { limits, ..whole }.compose(&self.project(), self.limits.token_budget);
        composed.ok()?.prompts.into_iter().next().map(|prompt| prompt.user)
    }

    /// Everything was reviewed before: a rebase, or a revert.
    fn is_old(&self) -> bool {
        let mut hunks =
            self.diff.files.iter().flat_map(|file| file.hunks.iter().map(|hunk| HunkId::new(file, hunk)));
        !self.state.head.is_empty() && hunks.any(|hunk| self.state.is_reviewed(hunk))
    }

    fn text(&self, path: &str) -> Option<&str> {
        let file = self.background.files.iter().find(|file| file.path == path)?;
        Some(&file.text)
    }
}

/// Reviews a change.
///
/// # Errors
/// [`NotExamined`].
pub async fn examine(desk: &Desk, errand: &Errand<'_>, inputs: &Inputs) -> Result<Examined, NotExamined> {
    let started = Instant::now();
    let shown = inputs.shown();
    let asked = match ask(desk, errand, &shown).await {
        Err(NotExamined::Nothing(left_out)) if shown.is_old() => return Ok(nothing_new(&shown, left_out)),
        asked => asked?,
    };
    let Asked { mut review, composed, chosen, model, usage } = asked;
    let asked = milliseconds(started);
    let sifted = sift(&shown.diff, &shown.state, std::mem::take(&mut review.findings));
    let started = Instant::now();
    let (news, second_look) = match inputs.limits.second_look && !sifted.news.is_empty() {
        true => {
            let code = |finding: &_| prompt::around(&shown.diff, finding);
            let (news, look) = second_look(desk, errand, &chosen.reviewer, sifted.news, code).await;
            (news, Some(look))
        }
        false => (sifted.news, None),
    };
    // quoted is what was shown, and what is known by its fingerprint is looked for in that
    let anchored = anchor::anchor(&shown.diff, news);
    let mut fixed = shown.state.gone(&shown.diff, |path| shown.text(path));
    fixed.retain(|&index| {
        shown.state.findings.get(index).is_some_and(|told| !sifted.again.contains(&told.fingerprint))
    });
    Ok(Examined {
        told: sift::told_all(&shown.diff, &anchored),
        fixed,
        hunks: seen(&shown.diff, &composed.left_out),
        questions: composed.prompts.len(),
        overhead: composed.overhead,
        left_out: composed.left_out,
        repeated: sifted.repeated,
        settled: sifted.settled,
        reviewer: chosen.reviewer.name().to_owned(),
        label: chosen.label,
        milliseconds: [asked, milliseconds(started)],
        review,
        anchored,
        second_look,
        model,
        usage,
    })
}

/// Nobody has to be asked about what was reviewed before. What is gone is fixed all the same.
fn nothing_new(inputs: &Inputs, left_out: Vec<LeftOut>) -> Examined {
    let before = inputs.state.head.get(..7).unwrap_or(&inputs.state.head);
    let is_news = |left: &LeftOut| left.reason != prompt::REVIEWED_BEFORE;
    Examined {
        review: Review {
            summary: format!("Nothing new since {before}: all that this change holds was reviewed then."),
            opinion: Opinion::Comment,
            findings: vec![],
            remember: vec![],
        },
        fixed: inputs.state.gone(&inputs.diff, |path| inputs.text(path)),
        hunks: seen(&inputs.diff, &left_out),
        left_out: left_out.into_iter().filter(is_news).collect(),
        anchored: Anchored::default(),
        told: vec![],
        repeated: 0,
        settled: 0,
        second_look: None,
        reviewer: "nobody".to_owned(),
        model: "nobody, since it was not needed".to_owned(),
        label: None,
        questions: 0,
        usage: Usage::default(),
        overhead: Overhead::default(),
        milliseconds: [0, 0],
    }
}

fn redacted(diff: &Diff) -> Diff {
    let hunk = |hunk: &Hunk| {
        let texts = redact_lines(hunk.lines.iter().map(|line| line.text.as_str()));
        let lines = hunk.lines.iter().zip(texts).map(|(line, text)| Line { text, ..line.clone() });
        Hunk { section: redact(&hunk.section).into_owned(), lines: lines.collect() }
    };
    let path = |path: &Option<String>| path.as_deref().map(|path| redact(path).into_owned());
    let file = |file: &File| File {
        old_path: path(&file.old_path),
        new_path: path(&file.new_path),
        hunks: file.hunks.iter().map(hunk).collect(),
        ..file.clone()
    };
    Diff { files: diff.files.iter().map(file).collect(), unlisted: diff.unlisted }
}

/// Together, because a private key has many lines.
fn redact_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let lines: Vec<&str> = lines.collect();
    redact(&lines.join("\n")).split('\n').map(str::to_owned).collect()
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The changed places of the files that a model saw whole.
fn seen(diff: &Diff, left_out: &[LeftOut]) -> BTreeSet<HunkId> {
    let is_gap = |path: &str| left_out.iter().any(|left| left.is_gap && left.path == path);
    let files = diff.files.iter().filter(|file| !is_gap(file.path()));
    files.flat_map(|file| file.hunks.iter().map(|hunk| HunkId::new(file, hunk))).collect()
}

/// The answers to all prompts, as one.
struct Asked {
    review: Review,
    composed: Composed,
    chosen: Chosen,
    model: String,
    usage: Usage,
}

/// Asks all prompts; with half the budget again where the model finds one too long.
async fn ask(desk: &Desk, errand: &Errand<'_>, inputs: &Inputs) -> Result<Asked, NotExamined> {
    let project = inputs.project();
    let mut budget = inputs.limits.token_budget;
    let compose = |budget| inputs.compose(&project, budget).map_err(NotExamined::Nothing);
    let mut composed = compose(budget)?;
    let chosen = desk.choose(errand, tokens(&composed)).await?;
    if chosen.reviewer.most_tokens() < budget {
        budget = chosen.reviewer.most_tokens();
        composed = compose(budget)?;
    }
    loop {
        match answers(desk, errand, &chosen.reviewer, &composed.prompts).await {
            Ok((reviews, model, usage)) => {
                return Ok(Asked { review: verdict::merge(reviews), composed, chosen, model, usage });
            }
            Err(ReviewError::TooLarge(_)) if budget > SMALLEST_BUDGET => {
                budget /= 2;
                composed = compose(budget)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn tokens(composed: &Composed) -> usize {
    composed.prompts.iter().map(|prompt| (prompt.system.len() + prompt.user.len()) / 4).sum()
}

async fn answers(
    desk: &Desk,
    errand: &Errand<'_>,
    reviewer: &Arc<dyn Reviewer>,
    prompts: &[Prompt],
) -> Result<(Vec<Review>, String, Usage), ReviewError> {
    let schema = verdict::schema();
    let (mut reviews, mut model, mut usage) = (Vec::new(), String::new(), Usage::default());
    for prompt in prompts {
        let question = Question {
            system: prompt.system,
            user: &prompt.user,
            schema: &schema,
            check: &|text| verdict::parse(text).map(drop),
            most_output_tokens: MOST_OUTPUT_TOKENS,
        };
        let reply = desk.ask(errand, reviewer.as_ref(), &question).await?;
        reviews.push(verdict::parse(&reply.text).map_err(ReviewError::Unusable)?);
        model = reply.model;
        usage += reply.usage;
    }
    Ok((reviews, model, usage))
}
