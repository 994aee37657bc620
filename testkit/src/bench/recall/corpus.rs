//! The corpus with known answers, and how far its questions' words are those of the answers. Pure.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use serde::{Deserialize, Serialize};

const MEMORIES: &str = include_str!("../../../corpus/memories.jsonl");
const QUESTIONS: &str = include_str!("../../../corpus/questions.jsonl");

/// As much of two words' beginning as makes them one word, whatever their ends: payment and payments, render and renders.
const STEM: usize = 5;

/// Words that say nothing about a question.
const STOP_WORDS: &str = "a about after all also am an and any are as at be been being but by can could d did do does don \
    for from get gets had has have how i if in into is isn it its just made make may me more my no nobody not of on once \
    one or our out over own s shall should so some somebody someone such t than that the their them then there these they \
    this those to up us was we were what when where which while who whom whose why will with would you your";

/// One memory, in the words of an update but for its `id`, by which the questions name it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Memory {
    pub(super) id: String,
    pub(super) repository: String,
    pub(super) context: String,
    /// The other fields of an update.
    #[serde(flatten)]
    pub(super) rest: serde_json::Map<String, serde_json::Value>,
}

/// How a question is worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Style {
    /// By somebody who has not read the answer.
    Paraphrase,
    /// By somebody who remembers a word or two of it.
    Keyword,
    /// By a symbol, a path, an issue, a commit or a version.
    Identifier,
}

impl Style {
    pub(super) const ALL: [Self; 3] = [Self::Paraphrase, Self::Keyword, Self::Identifier];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Paraphrase => "paraphrase",
            Self::Keyword => "keyword",
            Self::Identifier => "identifier",
        }
    }
}

/// One question.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Question {
    pub(super) q: String,
    pub(super) repository: String,
    /// Ids of the memories that answer it.
    pub(super) relevant: Vec<String>,
    pub(super) style: Style,
}

/// Memories and questions of some projects.
#[derive(Debug)]
pub(super) struct Corpus {
    pub(super) memories: Vec<Memory>,
    pub(super) questions: Vec<Question>,
}

impl Corpus {
    /// That of the first `projects` projects.
    ///
    /// # Errors
    /// A file is not what `make.py` writes.
    pub(super) fn read(projects: usize) -> anyhow::Result<Self> {
        let mut memories: Vec<Memory> = lines(MEMORIES).context("memories.jsonl")?;
        let mut questions: Vec<Question> = lines(QUESTIONS).context("questions.jsonl")?;
        let names: BTreeSet<String> = memories.iter().map(|memory| memory.repository.clone()).collect();
        let names: BTreeSet<String> = names.into_iter().take(projects).collect();
        memories.retain(|memory| names.contains(&memory.repository));
        questions.retain(|question| names.contains(&question.repository));
        Ok(Self { memories, questions })
    }

    /// The mean share of a question's words that its answers have, too, of one style.
    pub(super) fn shared_words(&self, style: Style) -> f64 {
        let contexts: BTreeMap<&str, &str> =
            self.memories.iter().map(|memory| (memory.id.as_str(), memory.context.as_str())).collect();
        let shares: Vec<f64> = (self.questions.iter().filter(|question| question.style == style))
            .map(|question| {
                let answers = question.relevant.iter().filter_map(|id| contexts.get(id.as_str()));
                answers.map(|answer| shared(&question.q, answer)).fold(0.0, f64::max)
            })
            .collect();
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    }
}

fn lines<T: for<'a> Deserialize<'a>>(text: &str) -> serde_json::Result<Vec<T>> {
    text.lines().map(serde_json::from_str).collect()
}

/// The share of the question's words that the text has, too.
fn shared(question: &str, text: &str) -> f64 {
    let (asked, told) = (words(question), words(text));
    let hits = asked.iter().filter(|word| told.iter().any(|other| alike(word, other))).count();
    hits as f64 / asked.len().max(1) as f64
}

/// The words that say something, in lower case.
fn words(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|letter: char| !letter.is_alphanumeric());
    let telling = words.filter(|word| !word.is_empty() && !STOP_WORDS.split(' ').any(|stop| stop == *word));
    telling.map(str::to_owned).collect()
}

/// Generous, so that the share is not told too low.
fn alike(one: &str, other: &str) -> bool {
    let singular = |word: &'_ str| word.trim_end_matches('s').to_owned();
    let stem = |word: &str| word.chars().take(STEM).collect::<String>();
    singular(one) == singular(other)
        || (one.chars().count() >= STEM && other.chars().count() >= STEM && stem(one) == stem(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = usize::MAX;
    /// The share below which words "seldom match".
    const SELDOM: f64 = 0.25;

    #[test]
    fn the_corpus_is_large_enough_and_each_memory_is_there_once() {
        let Corpus { memories, questions } = Corpus::read(ALL).unwrap();
        assert!(memories.len() >= 3_000 && questions.len() >= 300, "{} {}", memories.len(), questions.len());
        let ids: BTreeSet<&String> = memories.iter().map(|memory| &memory.id).collect();
        let texts: BTreeSet<&String> = memories.iter().map(|memory| &memory.context).collect();
        assert_eq!((ids.len(), texts.len()), (memories.len(), memories.len()));
        let asked: BTreeSet<&String> = questions.iter().map(|question| &question.q).collect();
        assert_eq!(asked.len(), questions.len());
    }

    #[test]
    fn each_question_is_answered_by_memories_of_its_project() {
        let Corpus { memories, questions } = Corpus::read(ALL).unwrap();
        let of: BTreeMap<&str, &str> =
            memories.iter().map(|memory| (memory.id.as_str(), memory.repository.as_str())).collect();
        for question in &questions {
            assert!((1..=3).contains(&question.relevant.len()), "{}", question.q);
            for id in &question.relevant {
                assert_eq!(of.get(id.as_str()), Some(&question.repository.as_str()), "{}: {id}", question.q);
            }
        }
    }

    #[test]
    fn the_questions_words_seldom_match_those_of_the_answers() {
        let corpus = Corpus::read(ALL).unwrap();
        assert!(corpus.shared_words(Style::Paraphrase) <= SELDOM);
        let count = |style| corpus.questions.iter().filter(|question| question.style == style).count();
        let [paraphrases, keywords, identifiers] = Style::ALL.map(count);
        assert!(paraphrases * 2 > corpus.questions.len());
        assert!((0.15..0.25).contains(&(identifiers as f64 / corpus.questions.len() as f64)));
        let mean = corpus.shared_words(Style::Paraphrase) * paraphrases as f64
            + corpus.shared_words(Style::Keyword) * keywords as f64;
        assert!(mean / (paraphrases + keywords) as f64 <= SELDOM, "{mean}");
    }

    #[test]
    fn words_are_shared_whatever_their_ends() {
        assert!((shared("Which payments failed?", "A payment fails") - 2.0 / 3.0).abs() < 0.34);
        assert!((shared("rendering pages", "we render one page") - 1.0).abs() < 1e-9);
        assert!(shared("how do they pay?", "the payout") < 1e-9);
    }

    #[test]
    fn some_projects_are_a_smaller_corpus() {
        let one = Corpus::read(1).unwrap();
        assert!((300..500).contains(&one.memories.len()) && !one.questions.is_empty());
    }
}
