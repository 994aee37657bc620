//! What GitHub knows about a pull request, as a review needs it.

use super::Review;
use super::made::{Topic, subject_of_pull};
use crate::diff::Diff;
use crate::earlier::{Seen, Standing, State, Told};
use crate::examine::Inputs;
use crate::github::{Context, GithubError, OwnReview, Thread, Want};
use crate::project::{Project, RULES, SETTINGS};
use crate::prompt::{Background, Text};
use crate::summary;
use crate::verdict::{Severity, Side};

/// Files of a change whose whole texts are asked for.
const MOST_FILES: usize = 60;

impl Review {
    /// All about a pull request that one question to GitHub can bring.
    pub(super) async fn context(
        &self,
        repository: &str,
        number: u64,
        (base, head): (&str, &str),
        diff: &Diff,
    ) -> Result<Context, GithubError> {
        let mut rules = RULES.to_vec();
        rules.push(SETTINGS);
        let readable = diff.files.iter().filter(|file| file.unreadable.is_none() && file.new_path.is_some());
        let paths: Vec<String> = readable.map(|file| file.path().to_owned()).take(MOST_FILES).collect();
        self.github.context(repository, &Want { number, head, base, rules: &rules, paths: &paths }).await
    }

    /// What earlier reviews said, as the summary keeps it and as the threads show it now.
    pub(super) fn earlier(&self, repository: &str, number: u64, context: &Context) -> State {
        let mut state = self.summary(repository, number, &context.reviews).map(|(_, state)| state);
        let state = state.get_or_insert_default();
        let subject = subject_of_pull(number);
        let seen = context.threads.iter().filter_map(|thread| {
            let first = thread.comments.first().filter(|comment| comment.is_ours)?;
            let mark = self.marker.find(&first.body, repository, &subject)?;
            seen(thread, &mark.note)
        });
        match context.has_all_threads {
            true => state.see(&seen.collect::<Vec<_>>()),
            // one that is not shown is not for that deleted
            false => tracing::warn!(repository, number, "GitHub does not show the review's threads"),
        }
        std::mem::take(state)
    }

    /// Our summary among our reviews, and the state in it.
    pub(super) fn summary<'a>(
        &self,
        repository: &str,
        number: u64,
        reviews: &'a [OwnReview],
    ) -> Option<(&'a OwnReview, State)> {
        reviews
            .iter()
            .find_map(|review| Some((review, summary::open(&self.marker, &review.body, repository, number)?)))
    }
}

/// In place of the side, for what stands on a file and no line of it.
const FILE: &str = "F";

/// What the marker of a finding's comment carries.
pub(super) fn note(told: &Told) -> String {
    let side = match (told.is_anchored, told.side) {
        (false, _) => FILE,
        (true, Side::Left) => "L",
        (true, Side::Right) => "R",
    };
    format!("{}:{}:{side}", told.fingerprint, told.severity)
}

/// A thread of ours as a finding; `None` if its first comment told none.
fn seen(thread: &Thread, note: &str) -> Option<Seen> {
    let first = thread.comments.first()?;
    let (rest, side) = note.rsplit_once(':')?;
    let (fingerprint, severity) = rest.rsplit_once(':')?;
    let severity: Severity = serde_json::from_value(severity.into()).ok()?;
    Some(Seen {
        told: Told {
            fingerprint: fingerprint.parse().ok()?,
            severity,
            path: thread.path.clone(),
            line: thread.line.unwrap_or_default(),
            side: if side == "L" { Side::Left } else { Side::Right },
            title: headline(&first.body),
            standing: Standing::Open,
            is_anchored: side != FILE,
            has_comment: true,
            url: Some(first.url.clone()),
        },
        is_resolved: thread.is_resolved,
    })
}

/// The title in the first line of a comment of ours: `**major · bug** Title`.
fn headline(body: &str) -> String {
    let line = body.lines().next().unwrap_or_default();
    line.rsplit_once("** ").map_or(line, |(_, title)| title).to_owned()
}

/// What a review of this pull request is made from.
pub(super) fn inputs(topic: &Topic, diff: Diff, context: Context, state: State, review: &Review) -> Inputs {
    let Context { commits, issues, rules, files, .. } = context;
    let (settings, rules): (Vec<Text>, Vec<Text>) = rules.into_iter().partition(|rule| rule.path == SETTINGS);
    let settings = settings.into_iter().next().map(|file| file.text);
    // what the project's settings ask to look for comes first: it is meant for this reader
    let asked = settings.as_deref().and_then(|text| Project::read(text).instructions);
    let asked = asked.map(|text| Text { path: SETTINGS.to_owned(), text });
    let rules = asked.into_iter().chain(rules).collect();
    let told = |told: &Told| {
        let Told { path, line, severity, title, .. } = told;
        // of a place that has moved GitHub tells no line
        let line = if *line == 0 { String::new() } else { format!(":{line}") };
        format!("{path}{line} ({severity}): {title}")
    };
    let unsettled = state.findings.iter().filter(|told| told.standing != Standing::Fixed);
    let earlier = unsettled.map(told).collect();
    let issues = issues.into_iter().map(Into::into).collect();
    let background = Background { rules, files, commits, issues, memories: vec![], earlier };
    topic.inputs(diff, background, state, settings, review.extent())
}
