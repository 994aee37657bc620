//! The memory: what it finds of a corpus with known answers, how fast it is at up to 300,000 memories, and how fast it takes
//! updates. The real ollama-endpoint as a process, asked over HTTP.

mod corpus;
mod double;
mod exact;
mod measure;
mod retrieval;
mod scale;
mod service;
mod source;
mod texts;
mod writes;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use self::source::Source;
use super::{Part, Setup, remove};

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// What is found.
    Retrieval,
    /// How fast, at which size, and what the fast scan misses.
    Latency,
    /// How many updates a second.
    Writes,
}

/// How much is measured, and with which vectors.
#[derive(Debug, Args)]
pub(super) struct Recall {
    /// Only these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
    /// Where the vectors of the corpus come from.
    #[arg(long, default_value = "auto")]
    embeddings: Source,
    /// Folder in which scripts/real-model.sh installed the real model.
    #[arg(long, default_value = Self::TEST_TOOLS)]
    test_tools: PathBuf,
    /// An Ollama that runs already and embeds the corpus instead, such as http://127.0.0.1:11434.
    #[arg(long)]
    ollama_url: Option<String>,
    /// Its embedding model.
    #[arg(long, default_value = "nomic-embed-text")]
    ollama_model: String,
    /// Projects of the corpus that are loaded and asked about, of eight.
    #[arg(long, default_value_t = Self::default().projects, value_parser = Self::at_least_one())]
    projects: usize,
    /// Numbers of memories at which latency is measured, ascending.
    #[arg(long, value_delimiter = ',', default_values_t = Self::default().sizes)]
    sizes: Vec<u64>,
    /// Distinct questions at each size.
    #[arg(long, default_value_t = Self::default().questions, value_parser = Self::at_least_one())]
    questions: usize,
    /// Updates of the writers.
    #[arg(long, default_value_t = Self::default().updates)]
    updates: u64,
}

impl Default for Recall {
    fn default() -> Self {
        Self {
            only: Vec::new(),
            embeddings: Source::Auto,
            test_tools: Self::TEST_TOOLS.into(),
            ollama_url: None,
            ollama_model: String::new(),
            projects: 8,
            sizes: vec![10_000, 100_000, 300_000],
            questions: 360,
            updates: 40_000,
        }
    }
}

impl Recall {
    const TEST_TOOLS: &str = "target/test-tools";

    fn at_least_one() -> clap::builder::RangedU64ValueParser<usize> {
        clap::builder::RangedU64ValueParser::new().range(1..=10_000)
    }

    /// Shows that it runs.
    pub(super) fn quick() -> Self {
        Self { projects: 1, sizes: vec![2_000], questions: 50, updates: 2_000, ..Self::default() }
    }

    /// Measures and prints.
    pub(super) fn run(&self, setup: &Setup) -> anyhow::Result<Part> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.measure(setup))
    }

    async fn measure(&self, setup: &Setup) -> anyhow::Result<Part> {
        let (mut goals, mut numbers, mut failure) = (Vec::new(), Map::new(), None);
        let wanted = |section| self.only.is_empty() || self.only.contains(&section);
        let mut keep = |name: &str, (more, seen): (Vec<_>, Value)| {
            goals.extend(more);
            numbers.insert(name.to_owned(), seen);
        };
        let folder = setup.folder("memory")?;
        if wanted(Section::Retrieval) {
            let retrieval = retrieval::run(self, setup, &setup.folder("memory/retrieval")?).await?;
            failure = retrieval.failure;
            keep("retrieval", (retrieval.goals, retrieval.numbers));
        }
        if wanted(Section::Writes) {
            println!();
            keep("writes", writes::run(self, setup, &setup.folder("memory/writes")?).await?);
        }
        if wanted(Section::Latency) {
            println!();
            keep("latency", scale::run(self, setup, &setup.folder("memory/latency")?).await?);
        }
        remove(&folder)?;
        numbers.insert("goals".to_owned(), serde_json::to_value(&goals)?);
        Ok(Part { name: "memory", goals, numbers: Value::Object(numbers), failure })
    }
}
