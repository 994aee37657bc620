//! What the prompt tells beside the diff. Pure.
//!
//! All of it is bounded, and every line of it starts with `| `, so that no text can end its block.

use super::{Background, Change, Commit, Material};
use crate::text::{quoted_block, readable, shorten, visible};

const LONGEST_TITLE: usize = 500;
const LONGEST_BODY: usize = 8_000;

const LONGEST_RULES: usize = 12_000;
const LONGEST_EARLIER: usize = 400;
const LONGEST_MEMORY: usize = 6_000;
const LONGEST_COMMIT: usize = 1_000;
const LONGEST_ISSUE: usize = 3_000;

/// Less than this of a section's texts is not worth its heading.
const LEAST_TEXT: usize = 40;

const MOST_RULES: usize = 8;
const MOST_EARLIER: usize = 100;
const MOST_MEMORIES: usize = 20;
const MOST_COMMITS: usize = 50;
const MOST_ISSUES: usize = 5;

/// A heading and the texts below it.
#[derive(Debug)]
pub(super) struct Section {
    heading: &'static str,
    texts: Vec<String>,
}

/// What is claimed about the change; its body may take so many bytes.
pub(super) fn about(change: &Change<'_>, room: usize) -> String {
    let Change { repository, what, author, title, body } = change;
    let head = format!("## Change\n| {} in {}, by {}\n", visible(what), visible(repository), visible(author));
    let title = shorten(&readable(title), LONGEST_TITLE);
    let body = shorten(&readable(body), LONGEST_BODY.min(room / 4));
    format!("{head}{}\n", quoted_block(format!("{title}\n\n{body}").trim()))
}

/// What every prompt of a review shares, the most useful first: the project's rules, what was told before, memories.
pub(super) fn shared(background: &Background) -> Vec<Section> {
    let rules = background.rules.iter().take(MOST_RULES).map(|rules| {
        let text = shorten(&readable(&rules.text), LONGEST_RULES);
        format!("From {}:\n{text}", visible(&rules.path))
    });
    let earlier = background.earlier.iter().take(MOST_EARLIER);
    let memories = background.memories.iter().take(MOST_MEMORIES);
    let one_line = |line: &String| shorten(&visible(&readable(line).replace('\n', " ")), LONGEST_EARLIER);
    let memory = |text: &String| shorten(&readable(text), LONGEST_MEMORY);
    vec![
        Section { heading: "## Project rules", texts: rules.collect() },
        Section { heading: "## Told before", texts: lines(earlier.map(one_line)) },
        Section { heading: "## Memory", texts: memories.map(memory).collect() },
    ]
}

/// What is told where there is room left: the commits' messages, then the issues.
pub(super) fn history(material: &Material<'_>) -> Vec<Section> {
    let Material { background, change, .. } = material;
    let claimed = format!("{}\n\n{}", readable(change.title), readable(change.body));
    let is_news = |commit: &&Commit| !claimed.contains(&readable(&commit.message));
    let commits = background.commits.iter().filter(is_news).take(MOST_COMMITS).map(|commit| {
        let sha = visible(commit.sha.get(..7).unwrap_or(&commit.sha));
        format!("{sha} {}", shorten(&readable(&commit.message), LONGEST_COMMIT))
    });
    let issues = background.issues.iter().take(MOST_ISSUES).map(|issue| {
        let title = shorten(&readable(&issue.title), LONGEST_TITLE);
        let text = format!("#{} {title}\n\n{}", issue.number, readable(&issue.body));
        shorten(text.trim_end(), LONGEST_ISSUE)
    });
    vec![
        Section { heading: "## Commits", texts: commits.collect() },
        Section { heading: "## Issues", texts: issues.collect() },
    ]
}

/// Short lines as one text, if there are any.
pub(super) fn lines(lines: impl Iterator<Item = String>) -> Vec<String> {
    let all: Vec<String> = lines.collect();
    if all.is_empty() { Vec::new() } else { vec![all.join("\n")] }
}

impl Section {
    pub(super) fn new(heading: &'static str, texts: Vec<String>) -> Self {
        Self { heading, texts }
    }

    /// The whole section; empty without any text.
    fn render(&self) -> String {
        let blocks: Vec<String> = self.texts.iter().map(|text| quoted_block(text)).collect();
        if blocks.is_empty() { String::new() } else { format!("{}\n{}\n", self.heading, blocks.join("\n")) }
    }

    /// As much of it as `room` bytes hold; a heading alone says nothing.
    fn within(&self, room: usize) -> String {
        let whole = self.render();
        if whole.len() <= room {
            return whole;
        }
        let end = "…\n\n";
        let least = self.heading.len() + LEAST_TEXT;
        let Some(most) = room.checked_sub(end.len()).filter(|most| *most >= least) else {
            return String::new();
        };
        format!("{}{end}", whole[..whole.floor_char_boundary(most)].trim_end())
    }
}

/// Bytes that all sections would take.
pub(super) fn len(sections: &[Section]) -> usize {
    sections.iter().map(|section| section.render().len()).sum()
}

/// The sections one after the other, as far as `room` bytes hold them.
pub(super) fn within(sections: &[Section], mut room: usize) -> String {
    let mut out = String::new();
    for section in sections {
        let text = section.within(room);
        room -= text.len();
        out.push_str(&text);
    }
    out
}
