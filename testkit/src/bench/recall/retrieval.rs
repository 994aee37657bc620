//! What is found of a corpus with known answers: by words, by vectors, and by both.

use std::{collections::HashMap, path::Path};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};
use shared::memory::Mode;

use super::{
    super::{
        Setup,
        report::{self, Bound, Goal},
    },
    Recall,
    corpus::{Corpus, Memory, Question, Style},
    measure::{self, Scores, difference},
    service::{Ask, Service},
    source::Embeddings,
};

const WRITERS: usize = 8;
/// In the order of the tables; the last one is compared with the two before.
const MODES: [(&str, Mode); 3] =
    [("lexical", Mode::Lexical), ("vector", Mode::Vector), ("hybrid", Mode::Hybrid)];
/// Shares are told in percent.
const PERCENT: f64 = 100.0;

/// The scores of every question, in the order of the questions, one list for each of [`MODES`].
type ByMode = [Vec<Scores>; 3];

/// One line of a table.
#[derive(Serialize)]
struct Row {
    among: &'static str,
    questions: &'static str,
    mode: &'static str,
    scores: Scores,
}

/// What came of it.
pub(super) struct Retrieval {
    pub(super) goals: Vec<Goal>,
    pub(super) numbers: Value,
    /// Why the numbers mean nothing, or not what they should.
    pub(super) failure: Option<String>,
}

/// Loads the corpus, asks everything, and prints the tables.
pub(super) async fn run(recall: &Recall, setup: &Setup, folder: &Path) -> anyhow::Result<Retrieval> {
    let corpus = Corpus::read(recall.projects)?;
    let embeddings = Embeddings::start(recall).await?;
    let (memories, questions) = (corpus.memories.len(), corpus.questions.len());
    println!("retrieval: {memories} memories, {questions} questions with known answers");
    println!("vectors: {}", embeddings.named());
    for style in Style::ALL {
        let count = corpus.questions.iter().filter(|question| question.style == style).count();
        let share = corpus.shared_words(style) * PERCENT;
        println!("{:>5} by {:<10} {share:>3.0} % of their words are the answer's, too", count, style.name());
    }
    let mut service = Service::start(setup, folder, embeddings.url(), embeddings.model()).await?;
    service.update(corpus.memories.iter().map(update), WRITERS, false).await?;
    service.until_embedded(memories as u64).await?;
    let (mut rows, mut goals, mut odd) = (Vec::new(), Vec::new(), 0);
    // Of a single project all memories are its own.
    let choices = if recall.projects > 1 { 2 } else { 1 };
    for (among, own) in [("its project's", true), ("all projects'", false)].into_iter().take(choices) {
        let asked = ask(&service, &corpus, own).await?;
        odd += asked.odd;
        rows.extend(table(among, &corpus.questions, &asked.scores));
        goals.extend(compared(among, &asked.scores, embeddings.is_real()));
    }
    print(&rows);
    service.stop()?;
    let failure = (odd > 0).then(|| {
        format!("{odd} searches were answered in another mode than asked: the columns mean nothing")
    });
    let numbers = json!({
        "memories": memories, "questions": questions, "vectors": embeddings.named(), "real": embeddings.is_real(),
        "rows": rows,
    });
    Ok(Retrieval { goals, numbers, failure })
}

fn update(memory: &Memory) -> Value {
    let mut update = memory.rest.clone();
    update.insert("repository".to_owned(), json!(memory.repository));
    update.insert("context".to_owned(), json!(memory.context));
    Value::Object(update)
}

struct Asked {
    scores: ByMode,
    /// Answers in another mode than asked for.
    odd: usize,
}

/// Asks every question in every mode, among the memories of its own project or of all.
async fn ask(service: &Service, corpus: &Corpus, own: bool) -> anyhow::Result<Asked> {
    // Texts are distinct, and unlike ids they survive whatever the service does.
    let ids: HashMap<&str, &str> =
        corpus.memories.iter().map(|memory| (memory.context.as_str(), memory.id.as_str())).collect();
    let mut asked = Asked { scores: ByMode::default(), odd: 0 };
    for question in &corpus.questions {
        for (at, (name, mode)) in MODES.into_iter().enumerate() {
            let repository = own.then_some(question.repository.as_str());
            let ask = Ask { q: &question.q, mode: name, repository, limit: measure::DEPTH };
            let answer = service.search(&ask).await.with_context(|| format!("asked: {}", question.q))?;
            asked.odd += usize::from(answer.mode != mode);
            let found: Vec<&str> =
                answer.results.iter().map(|hit| ids.get(hit.text.as_str()).copied().unwrap_or("?")).collect();
            asked.scores[at].push(Scores::of(&found, &question.relevant));
        }
    }
    Ok(asked)
}

/// Of all questions, and of each style.
fn table(among: &'static str, questions: &[Question], scores: &ByMode) -> Vec<Row> {
    let mut rows = Vec::new();
    for style in std::iter::once(None).chain(Style::ALL.map(Some)) {
        for (at, (mode, _)) in MODES.into_iter().enumerate() {
            let asked = questions.iter().zip(&scores[at]);
            let of_style: Vec<Scores> = asked
                .filter(|(question, _)| style.is_none_or(|style| question.style == style))
                .map(|(_, scores)| *scores)
                .collect();
            let questions = style.map_or("all", Style::name);
            rows.push(Row { among, questions, mode, scores: Scores::mean(&of_style) });
        }
    }
    rows
}

fn print(rows: &[Row]) {
    let cells = |row: &Row| {
        let shown = row.scores.all().map(|score| format!("{score:.3}"));
        let names = [format!("{} memories, {}", row.among, row.questions), row.mode.to_owned()];
        names.into_iter().chain(shown).collect()
    };
    let head: Vec<&str> = ["asked among", "mode"].into_iter().chain(measure::NAMES).collect();
    println!();
    report::table(&head, &rows.iter().map(cells).collect::<Vec<Vec<String>>>());
}

/// Hybrid beside the better of the two, for each measure; a goal only where vectors know meaning.
fn compared(among: &str, [lexical, vector, hybrid]: &ByMode, real: bool) -> Vec<Goal> {
    let of = |scores: &[Scores], measure: usize| -> Vec<f64> {
        scores.iter().map(|score| score.all()[measure]).collect()
    };
    let names = measure::NAMES.into_iter().enumerate();
    names
        .map(|(at, name)| {
            let sum = |scores: &[Scores]| of(scores, at).iter().sum::<f64>();
            let (better, called) =
                if sum(lexical) > sum(vector) { (lexical, "lexical") } else { (vector, "vector") };
            let seen = difference(&of(hybrid, at), &of(better, at));
            // Rounded for the reader, and never to the reader's favour.
            let noise = (seen.noise * PERCENT * PERCENT).floor() / PERCENT;
            let what = format!("hybrid − {called}, {name}, {among} memories");
            let bound = if real { Bound::AtLeast(-noise) } else { Bound::None };
            Goal::new(what, seen.mean * PERCENT, "points", bound)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(recall: &[f64]) -> Vec<Scores> {
        recall.iter().map(|recall| Scores { recall_5: *recall, ..Scores::default() }).collect()
    }

    #[test]
    fn hybrid_may_be_below_the_better_one_by_noise_only() {
        let (low, mixed, high) = (scores(&[0.0; 40]), scores(&[0.0, 1.0].repeat(20)), scores(&[1.0; 40]));
        let goal =
            |hybrid: &Vec<Scores>| compared("", &[low.clone(), high.clone(), hybrid.clone()], true).remove(0);
        assert!(goal(&high).reached);
        assert!(!goal(&low).reached);
        assert!(!goal(&mixed).reached);
        let mut one_less = high.clone();
        one_less[0] = Scores::default();
        assert!(goal(&one_less).reached, "one question of forty is noise");
        assert!(goal(&one_less).what.contains("hybrid − vector"));
    }
}
