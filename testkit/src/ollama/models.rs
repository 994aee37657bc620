//! The models a stand-in has, and how it shows them. Field order follows the captures.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A model that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Name with tag.
    pub name: String,
    /// Architecture, such as `llama` or `bert`.
    pub family: String,
    /// As shown: `134.52M`.
    pub parameter_size: String,
    /// As shown: `Q4_1`.
    pub quantization: String,
    /// Bytes on disk.
    pub size: u64,
    /// Tokens of context it takes.
    pub context: usize,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// Whether lists show context and dimensions (they do not for embedding models).
    pub lists_lengths: bool,
}

impl Model {
    /// A model with this name and vector length; the rest is as of a small Llama.
    pub fn new(name: &str, dimensions: usize) -> Self {
        Self {
            name: with_tag(name),
            family: "llama".into(),
            parameter_size: "134.52M".into(),
            quantization: "Q4_1".into(),
            size: 98_362_745,
            context: 8_192,
            dimensions,
            lists_lengths: true,
        }
    }

    /// The chat model of the captures.
    pub fn smollm2() -> Self {
        Self::new("smollm2:135m", 576)
    }

    /// The embedding model of the captures.
    pub fn all_minilm() -> Self {
        Self {
            family: "bert".into(),
            parameter_size: "22.57M".into(),
            quantization: "F16".into(),
            size: 45_949_364,
            context: 512,
            lists_lengths: false,
            ..Self::new("all-minilm", 384)
        }
    }

    /// The project's chat model.
    pub fn llama3_2() -> Self {
        let (parameter_size, quantization) = ("3.2B".into(), "Q4_K_M".into());
        Self {
            parameter_size,
            quantization,
            size: 2_019_393_189,
            context: 131_072,
            ..Self::new("llama3.2", 3_072)
        }
    }

    /// The project's embedding model.
    pub fn nomic_embed_text() -> Self {
        Self {
            family: "nomic-bert".into(),
            parameter_size: "137M".into(),
            quantization: "F16".into(),
            size: 274_302_450,
            context: 2_048,
            lists_lengths: false,
            ..Self::new("nomic-embed-text", 768)
        }
    }

    fn digest(&self) -> String {
        hex::encode(Sha256::digest(&self.name))
    }

    fn details(&self, lengths: bool) -> Details<'_> {
        Details {
            parent_model: "",
            format: "gguf",
            family: &self.family,
            families: [&self.family],
            parameter_size: &self.parameter_size,
            quantization_level: &self.quantization,
            context_length: Some(self.context).filter(|_| lengths),
            embedding_length: Some(self.dimensions).filter(|_| lengths),
        }
    }
}

/// `name:latest` for a name without a tag.
pub(super) fn with_tag(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

/// When every model was pulled.
const MODIFIED_AT: &str = "2026-11-22T11:06:23.910183336Z";
/// The same in Unix seconds.
const MODIFIED_AT_SECONDS: u64 = 1_795_345_583;

#[derive(Serialize)]
struct Details<'a> {
    parent_model: &'a str,
    format: &'a str,
    family: &'a str,
    families: [&'a str; 1],
    parameter_size: &'a str,
    quantization_level: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_length: Option<usize>,
}

#[derive(Serialize)]
struct List<T> {
    models: Vec<T>,
}

#[derive(Serialize)]
struct Tag<'a> {
    name: &'a str,
    model: &'a str,
    modified_at: &'a str,
    size: u64,
    digest: String,
    details: Details<'a>,
    capabilities: [&'a str; 1],
}

#[derive(Serialize)]
struct Loaded<'a> {
    name: &'a str,
    model: &'a str,
    size: u64,
    digest: String,
    details: Details<'a>,
    expires_at: String,
    size_vram: u64,
    context_length: usize,
}

#[derive(Serialize)]
struct Shown<'a> {
    modelfile: String,
    parameters: &'a str,
    template: &'a str,
    details: Details<'a>,
    model_info: BTreeMap<String, Value>,
    tensors: Value,
    capabilities: [&'a str; 1],
    modified_at: &'a str,
}

#[derive(Serialize)]
struct OpenAiList<'a> {
    object: &'a str,
    data: Vec<OpenAiModel<'a>>,
}

#[derive(Serialize)]
struct OpenAiModel<'a> {
    id: &'a str,
    object: &'a str,
    created: u64,
    owned_by: &'a str,
}

/// `GET /api/tags`.
pub(super) fn tags(models: &[Model]) -> String {
    let models = models.iter().map(|model| Tag {
        name: &model.name,
        model: &model.name,
        modified_at: MODIFIED_AT,
        size: model.size,
        digest: model.digest(),
        details: model.details(model.lists_lengths),
        capabilities: ["completion"],
    });
    text(&List { models: models.collect() })
}

/// `GET /api/ps`; newest first.
pub(super) fn running(loaded: &[Model], expires_at: &str) -> String {
    let models = loaded.iter().rev().map(|model| Loaded {
        name: &model.name,
        model: &model.name,
        size: model.size * 2,
        digest: model.digest(),
        details: model.details(false),
        expires_at: expires_at.to_owned(),
        size_vram: 0,
        context_length: model.context.min(4_096),
    });
    text(&List { models: models.collect() })
}

/// `POST /api/show`.
pub(super) fn show(model: &Model) -> String {
    let family = &model.family;
    let info = [
        ("general.architecture".to_owned(), json!(family)),
        ("general.parameter_count".to_owned(), json!(134_515_008)),
        ("general.type".to_owned(), json!("model")),
        (format!("{family}.context_length"), json!(model.context)),
        (format!("{family}.embedding_length"), json!(model.dimensions)),
    ];
    text(&Shown {
        modelfile: format!("# Modelfile generated by \"ollama show\"\nFROM {}\n", model.name),
        parameters: "stop                           \"<|im_end|>\"",
        template: "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}",
        details: model.details(false),
        model_info: info.into_iter().collect(),
        tensors: json!([]),
        capabilities: ["completion"],
        modified_at: MODIFIED_AT,
    })
}

/// `GET /v1/models`.
pub(super) fn openai_list(models: &[Model]) -> String {
    let one = |id| OpenAiModel { id, object: "model", created: MODIFIED_AT_SECONDS, owned_by: "library" };
    text(&OpenAiList { object: "list", data: models.iter().map(|model| one(&model.name)).collect() })
}

/// JSON in the order of the fields.
pub(super) fn text(body: &impl Serialize) -> String {
    // These types have string keys and finite numbers only: there is nothing serde_json could refuse.
    serde_json::to_string(body).unwrap_or_default()
}
