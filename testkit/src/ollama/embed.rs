//! Vectors: of a real model, or without one a hashed bag of words, so that texts with common words are near each other.

use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::answer::{Dialect, Failure, json_answer};
use super::models::{Model, text};
use super::site::Site;
use crate::embedding::{Embedded as Vectors, Refused};

/// Numbers one word adds to.
const FEATURES: usize = 8;
/// What every vector has in common; too small to make texts look alike.
const NOISE: f32 = 0.01;

#[derive(Serialize)]
struct Embedded<'a> {
    model: &'a str,
    embeddings: Vec<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<usize>,
}

#[derive(Serialize)]
struct OldEmbedded {
    embedding: Vec<f64>,
}

#[derive(Serialize)]
struct OpenAiEmbedded<'a> {
    object: &'a str,
    data: Vec<OpenAiVector<'a>>,
    model: &'a str,
    usage: OpenAiUsage,
}

#[derive(Serialize)]
struct OpenAiVector<'a> {
    object: &'a str,
    embedding: Numbers,
    index: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers {
    Plain(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct OpenAiUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// `POST /api/embed`.
pub(super) async fn embed(site: Site, body: Value) -> Result<Response, Failure> {
    let name = body["model"].as_str().unwrap_or_default();
    let inputs = inputs(&body["input"])?;
    let model = site.load(name)?;
    if inputs.is_empty() {
        let nothing = Embedded {
            model: name,
            embeddings: vec![],
            total_duration: None,
            load_duration: None,
            prompt_eval_count: None,
        };
        return Ok(json_answer(Dialect::Ollama, text(&nothing)));
    }
    let Vectors { mut vectors, tokens } = vectors(&site, &model, &inputs, body["truncate"] != false).await?;
    if let Some(dimensions) = body["dimensions"].as_u64() {
        for vector in &mut vectors {
            vector.truncate((dimensions as usize).max(1));
            normalize(vector);
        }
    }
    let embedded = Embedded {
        model: name,
        embeddings: vectors,
        total_duration: Some(11_791_559),
        load_duration: Some(1_200_441),
        prompt_eval_count: Some(tokens),
    };
    Ok(json_answer(Dialect::Ollama, text(&embedded)))
}

/// `POST /api/embeddings`, the older call.
pub(super) async fn old_embeddings(site: Site, body: Value) -> Result<Response, Failure> {
    let model = site.load(body["model"].as_str().unwrap_or_default())?;
    let prompt = body["prompt"].as_str().unwrap_or_default();
    let one = if prompt.is_empty() { &[][..] } else { &[prompt] };
    let Vectors { vectors, .. } = vectors(&site, &model, one, true).await?;
    let embedding = vectors.into_iter().flatten().map(f64::from).collect();
    Ok(json_answer(Dialect::Ollama, text(&OldEmbedded { embedding })))
}

/// `POST /v1/embeddings`.
pub(super) async fn openai(site: Site, body: Value) -> Result<Response, Failure> {
    let name = body["model"].as_str().unwrap_or_default();
    let inputs = inputs(&body["input"])?;
    if inputs.is_empty() {
        return Err(Failure::new(400, "invalid input"));
    }
    let model = site.load(name)?;
    let base64 = body["encoding_format"] == "base64";
    let numbers = |vector: Vec<f32>| {
        if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            Numbers::Base64(BASE64_STANDARD.encode(bytes))
        } else {
            Numbers::Plain(vector)
        }
    };
    let Vectors { vectors, tokens } = vectors(&site, &model, &inputs, true).await?;
    let data = vectors.into_iter().enumerate().map(|(index, vector)| OpenAiVector {
        object: "embedding",
        embedding: numbers(vector),
        index,
    });
    let usage = OpenAiUsage { prompt_tokens: tokens, total_tokens: tokens };
    let answer = OpenAiEmbedded { object: "list", data: data.collect(), model: name, usage };
    Ok(json_answer(Dialect::OpenAi, text(&answer)))
}

/// The vectors of `inputs` and what they took: those of the real model where there is one.
async fn vectors(site: &Site, model: &Model, inputs: &[&str], truncate: bool) -> Result<Vectors, Failure> {
    if inputs.iter().any(|input| site.is_poison(input)) {
        return Err(Failure::new(500, "failed to encode response: json: unsupported value: NaN"));
    }
    let too_long = || Failure::new(400, "the input length exceeds the context length");
    let Some(real) = site.real(model) else {
        if !truncate && inputs.iter().any(|input| tokens(input) > model.context) {
            return Err(too_long());
        }
        let vectors = inputs.iter().map(|input| vector(&cut(input, model), model.dimensions)).collect();
        return Ok(Vectors { vectors, tokens: inputs.iter().map(|input| tokens(input)).sum() });
    };
    real.embed(inputs, truncate).await.map_err(|refused| match refused {
        Refused::TooLong => too_long(),
        Refused::Failed(error) => Failure::new(500, shared::error::chain(&error)),
    })
}

/// The words of `input` that fit the model's context.
fn cut(input: &str, model: &Model) -> String {
    input.split_whitespace().take(model.context - 2).collect::<Vec<_>>().join(" ")
}

fn inputs(input: &Value) -> Result<Vec<&str>, Failure> {
    let invalid = || Failure::new(400, "invalid input type");
    match input {
        Value::Null => Ok(vec![]),
        Value::String(text) if text.is_empty() => Ok(vec![]),
        Value::String(text) => Ok(vec![text]),
        Value::Array(texts) => texts.iter().map(|text| text.as_str().ok_or_else(invalid)).collect(),
        _ => Err(invalid()),
    }
}

/// Words, and the marks at both ends.
pub(super) fn tokens(text: &str) -> usize {
    text.split_whitespace().count() + 2
}

/// A vector of norm 1 that depends on the words of `text` alone. No number is zero, as in real ones.
pub(super) fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut sum: Vec<f32> =
        (0..dimensions.max(1)).map(|index| NOISE * (index as f32 * 1.7 + 1.0).sin()).collect();
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    for word in words {
        let hash = Sha256::digest(word);
        for feature in hash.chunks_exact(4).take(FEATURES) {
            let index = usize::from(u16::from_be_bytes([feature[0], feature[1]])) % sum.len();
            sum[index] += if feature[2] % 2 == 0 { 1.0 } else { -1.0 };
        }
    }
    normalize(&mut sum);
    sum
}

fn normalize(vector: &mut [f32]) {
    let norm = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|number| *number /= norm);
}
