//! Found memories → one text within a token budget, without repetitions, each line with its source. Pure.

use std::collections::HashSet;

use shared::memory::{Briefing, BriefingLine, Hit, Mode, Standing};

use crate::words::words;

/// What a line takes of the budget at the most, so that one long memory does not keep out all others.
const LARGEST_SHARE: usize = 3;

/// The longest text of one line, in bytes.
const LONGEST_LINE: usize = 700;

/// No line is worth less room than this, in bytes.
const SHORTEST_LINE: usize = 40;

/// A memory with this share of its words in a line that is there already repeats it.
const REPEATS: f64 = 0.8;

/// What a text costs. Code and names take about three bytes a token, prose four: this does not fall short.
pub fn tokens(text: &str) -> usize {
    text.len().div_ceil(3)
}

/// The lines that fit `budget` tokens, of `hits` best first.
pub fn compose(mode: Mode, hits: &[Hit], budget: usize) -> Briefing {
    let mut briefing =
        Briefing { mode, text: String::new(), tokens: 0, budget, lines: Vec::new(), left_out: 0 };
    let mut said: Vec<HashSet<String>> = Vec::new();
    for hit in hits {
        let own: HashSet<String> = words(&hit.text).into_iter().collect();
        let line = if said.iter().any(|other| repeats(&own, other)) { None } else { fitting(hit, &briefing) };
        match line {
            None => briefing.left_out += 1,
            Some(line) => {
                said.push(own);
                briefing.text.push_str(&line.line);
                briefing.text.push('\n');
                briefing.tokens = tokens(&briefing.text);
                briefing.lines.push(line);
            }
        }
    }
    briefing
}

fn repeats(own: &HashSet<String>, other: &HashSet<String>) -> bool {
    let common = own.intersection(other).count();
    #[expect(clippy::cast_precision_loss, reason = "counts of words")]
    let share = common as f64 / own.len().max(1) as f64;
    share >= REPEATS
}

/// The line of a memory, shortened to what room there is; `None` if that is too little.
fn fitting(hit: &Hit, briefing: &Briefing) -> Option<BriefingLine> {
    let about = about(hit);
    let trust = if hit.is_untrusted() { ", untrusted, from a fork" } else { "" };
    let (head, tail) = (format!("- [{about}{trust}] "), format!(" (memory {})", short(&hit.id)));
    // Counted in bytes, as `tokens` does; one for the end of the line.
    let left = (briefing.budget * 3).checked_sub(briefing.text.len() + 1)?;
    let share = (briefing.budget * 3 / LARGEST_SHARE).max(SHORTEST_LINE + head.len() + tail.len());
    let room = left.min(share).min(LONGEST_LINE + head.len()).checked_sub(head.len() + tail.len())?;
    let text = hit.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = match text.len() {
        length if length <= room => text,
        _ if room < SHORTEST_LINE => return None,
        _ => format!("{}…", cut(&text, room - '…'.len_utf8())),
    };
    let line = format!("{head}{text}{tail}");
    Some(BriefingLine { id: hit.id.clone(), line, about, text, source: hit.source.clone() })
}

/// `decision, 2026-11-20, jules, #7`, with what is to be known before one believes it.
fn about(hit: &Hit) -> String {
    let source = &hit.source;
    let mut parts = vec![hit.kind.clone(), hit.created_at.strftime("%Y-%m-%d").to_string()];
    parts.extend(source.agent.clone().or_else(|| source.author.clone()));
    parts.extend(source.pull_request.map(|number| format!("#{number}")));
    if source.pull_request.is_none() {
        parts.extend(source.commits.first().map(|commit| short(commit).to_owned()));
    }
    if hit.standing == Standing::Stale {
        parts.push(format!(
            "may be out of date: {}",
            hit.because.as_deref().unwrap_or("its code has changed")
        ));
    }
    let plain = parts.iter().map(|part| part.replace(['\n', '\r', ']'], " "));
    plain.collect::<Vec<_>>().join(", ")
}

/// The digits of an id that are enough to speak of it.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// At most `room` bytes, up to the end of a word if there is one.
fn cut(text: &str, room: usize) -> &str {
    let end = text.floor_char_boundary(room);
    let text = text.get(..end).unwrap_or_default();
    text.rfind(' ').and_then(|at| text.get(..at)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use shared::memory::{Source, Trust};

    use super::*;

    fn hit(id: &str, text: &str) -> Hit {
        Hit {
            id: format!("{id}0000000000"),
            text: text.into(),
            kind: "decision".into(),
            repository: "o/r".into(),
            score: 1.0,
            lexical_rank: Some(1),
            vector_rank: None,
            source: Source { agent: Some("jules".into()), pull_request: Some(7), ..Source::default() },
            created_at: Timestamp::from_second(1_795_341_600).unwrap(),
            standing: Standing::Current,
            because: None,
            explanation: None,
        }
    }

    #[test]
    fn each_line_has_its_source_and_what_is_to_be_known() {
        let mut forked = hit("b", "Use\nWAL");
        forked.source = Source { trust: Some(Trust::Fork), ..Source::default() };
        let mut stale = hit("c", "The retry limit is five");
        (stale.standing, stale.because) = (Standing::Stale, Some("src/a.rs changed in 1a2b3c4".into()));
        let briefing = compose(Mode::Hybrid, &[hit("a", "Money is kept in cents"), forked, stale], 1_000);
        insta::assert_snapshot!(briefing.text, @"
        - [decision, 2026-11-22, jules, #7] Money is kept in cents (memory a0000000)
        - [decision, 2026-11-22, untrusted, from a fork] Use WAL (memory b0000000)
        - [decision, 2026-11-22, jules, #7, may be out of date: src/a.rs changed in 1a2b3c4] The retry limit is five (memory c0000000)
        ");
        assert_eq!((briefing.lines.len(), briefing.left_out), (3, 0));
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let hits = [
            hit("a", "Money is kept in cents, never as floats"),
            hit("b", "money kept in cents never floats"),
            hit("c", "Another thing"),
        ];
        let briefing = compose(Mode::Lexical, &hits, 1_000);
        assert_eq!(briefing.lines.iter().map(|line| &line.id[..1]).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(briefing.left_out, 1);
    }

    #[test]
    fn a_long_memory_leaves_room_for_others() {
        let long = |word: &str| (0..400).map(|at| format!("{word}{at} ")).collect::<String>();
        let briefing =
            compose(Mode::Hybrid, &[hit("a", &long("a")), hit("b", &long("b")), hit("c", "short")], 150);
        assert!(briefing.lines.len() >= 3, "{}", briefing.text);
        assert!(briefing.tokens <= 150);
        assert!(compose(Mode::Hybrid, &[hit("a", "short")], 0).text.is_empty());
    }

    proptest! {
        #[test]
        fn the_budget_holds_and_nothing_goes_uncounted(
            texts in proptest::collection::vec(".{0,300}", 0..20), budget in 0usize..800,
        ) {
            let hits: Vec<Hit> = texts.iter().enumerate().map(|(at, text)| hit(&at.to_string(), text)).collect();
            let briefing = compose(Mode::Hybrid, &hits, budget);
            prop_assert!(tokens(&briefing.text) <= budget);
            prop_assert_eq!(briefing.tokens, tokens(&briefing.text));
            prop_assert_eq!(briefing.lines.len() + briefing.left_out, hits.len());
            let lines: String = briefing.lines.iter().map(|line| format!("{}\n", line.line)).collect();
            prop_assert_eq!(lines, briefing.text.as_str());
        }
    }
}
