//! Where the vectors of the corpus come from.

use clap::ValueEnum;

use super::Recall;
use crate::{
    embedding::RealModel,
    ollama::{Model, Ollama},
    python::Python,
    server::ANY_PORT,
};

/// Which ones are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Source {
    /// Those of a real model where it is installed, else the stand-in's, and it says so.
    Auto,
    /// Those of a real model, or none.
    Real,
    /// The stand-in's: hashed words, which know no meaning.
    StandIn,
}

/// Something that speaks Ollama's wire format and embeds.
pub(super) enum Embeddings {
    /// One that runs already.
    Running { url: String, model: String },
    /// The stand-in with a real model behind it.
    Real(Ollama),
    /// The stand-in's own, and why.
    StandIn(Ollama, String),
}

impl Embeddings {
    /// What is asked for.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) async fn start(recall: &Recall) -> anyhow::Result<Self> {
        if let Some(url) = &recall.ollama_url {
            return Ok(Self::Running { url: url.clone(), model: recall.ollama_model.clone() });
        }
        // Without a model that writes: what is measured are the memories as they were sent.
        let ollama = Ollama::start_on(ANY_PORT, vec![Model::nomic_embed_text()]).await?;
        if recall.embeddings == Source::StandIn {
            return Ok(Self::StandIn(ollama, "as was asked for".to_owned()));
        }
        match Python::find(&recall.test_tools) {
            Ok(python) => {
                ollama.embed_with(RealModel::start(&python).await?);
                Ok(Self::Real(ollama))
            }
            Err(missing) if recall.embeddings == Source::Auto => {
                Ok(Self::StandIn(ollama, missing.to_string()))
            }
            Err(missing) => Err(missing.into()),
        }
    }

    pub(super) fn url(&self) -> String {
        match self {
            Self::Running { url, .. } => url.clone(),
            Self::Real(ollama) | Self::StandIn(ollama, _) => ollama.url(),
        }
    }

    pub(super) fn model(&self) -> &str {
        match self {
            Self::Running { model, .. } => model,
            Self::Real(_) => RealModel::NAME,
            Self::StandIn(..) => "nomic-embed-text",
        }
    }

    /// Whether they know meaning.
    pub(super) fn is_real(&self) -> bool {
        !matches!(self, Self::StandIn(..))
    }

    /// In one line, for the reader.
    pub(super) fn named(&self) -> String {
        match self {
            Self::Running { url, model } => format!("{model} at {url}"),
            Self::Real(_) => format!("real ones of {}, 384 dimensions, run by llama.cpp", RealModel::NAME),
            Self::StandIn(_, why) => {
                format!(
                    "FELL BACK to hashed words, which know no meaning; the vector and hybrid rows say nothing: {why}"
                )
            }
        }
    }
}
