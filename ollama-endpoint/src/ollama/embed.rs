//! `POST /api/embed`: vectors of texts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Ollama, OllamaError};

/// How often a text that is too long is halved. 8 KiB become 32 bytes, which any model takes.
const MOST_HALVINGS: usize = 8;

/// What a text is embedded for; some models want to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be found.
    Document,
    /// To find.
    Query,
}

/// What a model made of texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Embedded {
    /// One vector for each text, in order, as the model gave them.
    pub vectors: Vec<Vec<f32>>,
    /// Which of the texts were too long for the model, by their places: their vectors are of their beginnings.
    pub cut: Vec<usize>,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [String],
    truncate: bool,
}

#[derive(Deserialize)]
struct Answer {
    embeddings: Vec<Vec<f32>>,
}

impl Ollama {
    /// One vector for each text (`POST /api/embed`). Ollama would cut an over-long text in silence, so it is told not to,
    /// and the text is halved until it fits; a question is cut by Ollama, as it has to be answered in one call.
    /// `timeout` is that of one call to Ollama.
    ///
    /// # Errors
    /// [`OllamaError`]; of several texts one bad one fails them all.
    pub async fn embed(
        &self,
        texts: &[&str],
        purpose: Purpose,
        timeout: Duration,
    ) -> Result<Embedded, OllamaError> {
        let prefix = prefix(&self.embed_model, purpose);
        let input: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let mut embedded = Embedded::default();
        // Ollama does not say which text is too long: a batch is split until it is alone, and halved then.
        let mut parts = vec![input.as_slice()];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            match self.embed_once(part, purpose == Purpose::Query, timeout).await {
                Ok(vectors) => embedded.vectors.extend(vectors),
                Err(error) if !is_too_long(&error) => return Err(error),
                Err(_) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(_) => {
                    embedded.cut.push(embedded.vectors.len());
                    embedded.vectors.extend(self.embed_cut(&part[0], timeout).await?);
                }
            }
        }
        Ok(embedded)
    }

    /// The vector of the longest half, quarter, … of `text` that the model takes.
    async fn embed_cut(&self, text: &str, timeout: Duration) -> Result<Vec<Vec<f32>>, OllamaError> {
        let mut text = text;
        let mut result = Err(OllamaError::Refused("no text is short enough for the model".to_owned()));
        for _ in 0..MOST_HALVINGS {
            text = half(text);
            if text.is_empty() {
                break;
            }
            result = self.embed_once(&[text.to_owned()], false, timeout).await;
            if !result.as_ref().is_err_and(is_too_long) {
                break;
            }
        }
        result
    }

    async fn embed_once(
        &self,
        input: &[String],
        truncate: bool,
        timeout: Duration,
    ) -> Result<Vec<Vec<f32>>, OllamaError> {
        let body = Request { model: &self.embed_model, input, truncate };
        let request = self.http.post(self.url("/api/embed")).json(&body);
        let answer: Answer = self.call(request, &self.embed_model, timeout).await?;
        if answer.embeddings.len() != input.len() {
            let got = answer.embeddings.len();
            return Err(OllamaError::Refused(format!("{got} vectors for {} texts", input.len())));
        }
        Ok(answer.embeddings)
    }
}

/// Whether an input is longer than the model's context. Ollama: "the input length exceeds the context length"; its runner
/// (llama.cpp) by itself: "input is too large to process".
fn is_too_long(error: &OllamaError) -> bool {
    let OllamaError::Refused(text) = error else { return false };
    text.contains("exceeds") && text.contains("context length") || text.contains("too large to process")
}

/// The first half, or up to three bytes less so that no character is torn.
fn half(text: &str) -> &str {
    let middle = text.len() / 2;
    let end = (0..=middle).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// The task prefix that `nomic-embed-text` was trained with (its model card); other models take texts as they are.
fn prefix(model: &str, purpose: Purpose) -> &'static str {
    let name = model.rsplit('/').next().unwrap_or(model);
    match purpose {
        _ if !name.starts_with("nomic-embed-text") => "",
        Purpose::Document => "search_document: ",
        Purpose::Query => "search_query: ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nomics_family_wants_prefixes() {
        assert_eq!(prefix("nomic-embed-text:v1.5", Purpose::Document), "search_document: ");
        assert_eq!(prefix("someone/nomic-embed-text", Purpose::Query), "search_query: ");
        assert_eq!(prefix("all-minilm", Purpose::Query), "");
    }

    #[test]
    fn what_is_too_long_is_told_from_other_refusals_and_halved_between_characters() {
        let refused = |text: &str| OllamaError::Refused(text.to_owned());
        assert!(is_too_long(&refused("400 the input length exceeds the context length")));
        assert!(is_too_long(&refused("400 input length exceeds maximum context length")));
        assert!(is_too_long(&refused("500 input is too large to process. increase the physical batch size")));
        assert!(!is_too_long(&refused("500 runner crashed")));
        assert_eq!((half("ééé"), half("abc"), half("é"), half("")), ("é", "a", "", ""));
    }
}
