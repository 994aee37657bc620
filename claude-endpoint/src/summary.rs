//! The one summary of a pull request: what stands, what was fixed, what was not reviewed; and the state of its reviews,
//! hidden and authenticated, for the next one. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::anchor::Kept;
use crate::earlier::{Standing, State, Told};
use crate::marker::{self, Bond, Marker};
use crate::prompt::LeftOut;
use crate::render;
use crate::text::{code_span, postable, postable_line, shorten};
use crate::verdict::{Review, Severity};

/// GitHub's limit on a body, in characters.
const LONGEST_BODY: usize = 65_536;
/// A state that is larger once it is packed is cut down to its findings.
const LARGEST_STATE: usize = 24_000;
/// Unpacked; nothing of ours is larger.
const LARGEST_UNPACKED: usize = 1024 * 1024;
const MOST_LISTED: usize = 30;
const LONGEST_SHOWN_PATH: usize = 200;
const MOST_LEFT_OUT: usize = 50;

/// What a summary says beside the review's own words.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The reviewed commit.
    pub head: &'a str,
    /// Who reviewed, for the last visible line.
    pub model: &'a str,
    /// Who it was instead of who usually does, and why.
    pub label: Option<&'a str>,
    /// What else a reader must know, each one sentence of ours.
    pub notes: &'a [String],
    /// What was not shown to the model.
    pub left_out: &'a [LeftOut],
    /// The hidden markers; they stand last.
    pub markers: &'a str,
}

/// The body of a review's first post, of later updates in its place, and of a comment on a commit. `state` is that after
/// this review, `news` are the findings of this review that have no comment of their own.
pub fn body(review: &Review, news: &[Kept], state: Option<&State>, frame: Frame<'_>) -> String {
    let mut head = postable(&review.summary);
    for note in frame.notes {
        head.push_str(&format!("\n\n**{note}**"));
    }
    // at first nothing else is open than what stands here and beside the code
    let told = state.filter(|state| state.rounds > 1).map(|state| standing(state, news)).unwrap_or_default();
    let tail = tail(frame);
    let room =
        LONGEST_BODY.saturating_sub([&head, &told, &tail].map(|text| text.chars().count()).iter().sum());
    let mut out = head;
    out.push_str(&render::findings(news, room));
    out.push_str(&told);
    // escaping can make text longer than what was counted on
    out = shorten(out.trim_end(), LONGEST_BODY - tail.chars().count().min(LONGEST_BODY));
    out.push_str(&tail);
    out
}

/// Where a notice begins: the next one takes its place.
const NOTICE: &str = "> [!IMPORTANT]\n> ";

/// The summary with a sentence of ours on top, such as that reviews are paused. What the last review said stays below, and
/// so do the markers, but for that with the state: `seal` is the new one. Without a summary `before` there is only the notice.
pub fn notice(text: &str, state: &State, before: Option<&str>, seal: &str) -> String {
    let Some(before) = before else { return format!("{NOTICE}{text}{}\n\n{seal}", standing(state, &[])) };
    let (said, markers) = before.split_at(before.find(marker::START).unwrap_or(before.len()));
    let said = said.strip_prefix(NOTICE).map_or(said, |old| old.split_once("\n\n").unwrap_or_default().1);
    // the state is all that a marker of a summary carries beside its own words
    let kept =
        markers.lines().filter(|marker| marker.starts_with(marker::START) && !marker.contains(" note="));
    let markers: String = kept.chain([seal]).collect::<Vec<_>>().join("\n");
    let room = LONGEST_BODY.saturating_sub(NOTICE.len() + text.chars().count() + markers.len() + 4);
    format!("{NOTICE}{text}\n\n{}\n\n{markers}", shorten(said.trim_end(), room))
}

/// Of all findings so far: what is open, and what was fixed or dismissed. Those in `news` are counted, not listed again.
fn standing(state: &State, news: &[Kept]) -> String {
    let open: Vec<&Told> = state.open().collect();
    let (fixed, dismissed) = (state.with(Standing::Fixed).count(), state.with(Standing::Dismissed).count());
    if open.is_empty() && fixed + dismissed == 0 {
        return String::new();
    }
    let mut counts = vec![format!("{} open{}", open.len(), by_severity(&open))];
    counts.extend((fixed > 0).then(|| format!("{fixed} fixed")));
    counts.extend((dismissed > 0).then(|| format!("{dismissed} dismissed")));
    let mut out = format!("\n\n### Where it stands: {}\n", counts.join(", "));
    let is_news = |told: &Told| !told.has_comment && news.iter().any(|kept| kept.finding.title == told.title);
    let (listed, more): (Vec<_>, Vec<_>) =
        open.iter().filter(|told| !is_news(told)).enumerate().partition(|(nth, _)| *nth < MOST_LISTED);
    for (_, told) in &listed {
        out.push_str(&format!("\n- {} **{}** {}", place(told), told.severity, title(told)));
    }
    if !more.is_empty() {
        out.push_str(&format!("\n- and {} more", more.len()));
    }
    for told in state.with(Standing::Fixed).take(MOST_LISTED) {
        out.push_str(&format!("\n- {} ✓ fixed: {}", place(told), title(told)));
    }
    out
}

fn by_severity(open: &[&Told]) -> String {
    let all = [Severity::Blocker, Severity::Major, Severity::Minor, Severity::Nit];
    let counted =
        all.map(|severity| (open.iter().filter(|told| told.severity == severity).count(), severity));
    let words: Vec<_> =
        counted.iter().filter(|(n, _)| *n > 0).map(|(n, name)| format!("{n} {name}")).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

fn place(told: &Told) -> String {
    let path = shorten(&told.path, LONGEST_SHOWN_PATH);
    code_span(&if told.line == 0 { path } else { format!("{path}:{}", told.line) })
}

fn title(told: &Told) -> String {
    let text = postable_line(&told.title);
    match &told.url {
        // the address is GitHub's, the text is the model's: brackets would end the link
        Some(url) => format!("[{}]({url})", text.replace(['[', ']'], "")),
        None => text,
    }
}

fn tail(frame: Frame<'_>) -> String {
    let head = frame.head.get(..7).unwrap_or(frame.head);
    let mut out = String::new();
    if !frame.left_out.is_empty() {
        out.push_str(&format!("\n\n<details><summary>Not reviewed: {}</summary>\n\n", frame.left_out.len()));
        for left in frame.left_out.iter().take(MOST_LEFT_OUT) {
            let path = code_span(&shorten(&left.path, LONGEST_SHOWN_PATH));
            out.push_str(&format!("- {path}: {}\n", left.reason));
        }
        if let Some(more) = frame.left_out.len().checked_sub(MOST_LEFT_OUT).filter(|&more| more > 0) {
            out.push_str(&format!("- and {more} more\n"));
        }
        out.push_str("\n</details>");
    }
    let model = postable_line(frame.label.unwrap_or(frame.model));
    out.push_str(&format!("\n\n<sub>Reviewed {head} with {model}</sub>\n\n{}", frame.markers));
    out
}

/// The subject of a pull request's summary, as in [`Bond::subject`].
pub fn subject(number: u64) -> String {
    format!("pull/{number}/summary")
}

/// The hidden marker that makes a body the summary of a pull request, with the state in it.
pub fn seal(marker: &Marker, repository: &str, number: u64, delivery: &str, state: &State) -> String {
    let bond = Bond { repository, subject: &subject(number), head: &state.head };
    let packed = pack(state).filter(|packed| packed.len() <= LARGEST_STATE).or_else(|| {
        // all of the change is then reviewed again: dear, but nothing is told twice
        pack(&State { hunks: std::collections::BTreeSet::new(), ..state.clone() })
    });
    marker.make(bond, delivery, &packed.unwrap_or_default())
}

/// The state in a body of ours; `None` if it is no summary. One that cannot be read is empty: all is reviewed anew.
pub fn open(marker: &Marker, body: &str, repository: &str, number: u64) -> Option<State> {
    let mark = marker.find(body, repository, &subject(number))?;
    Some(unpack(&mark.note).unwrap_or_default())
}

fn pack(state: &State) -> Option<String> {
    let json = serde_json::to_vec(state).ok()?;
    Some(STANDARD.encode(zstd::bulk::compress(&json, 0).ok()?))
}

fn unpack(note: &str) -> Option<State> {
    let json = zstd::bulk::decompress(&STANDARD.decode(note).ok()?, LARGEST_UNPACKED).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
