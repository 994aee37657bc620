//! What the stand-in knows and how a test changes it.

use std::fmt;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::answer::Failure;
use super::models::{Model, with_tag};
use crate::control::lock;
use crate::embedding::RealModel;
use crate::{instance, reviewer};

/// Decides the text of a chat or generation from the request's body.
pub type Writer = Arc<dyn Fn(&Value) -> String + Send + Sync>;

/// Mutable parts.
pub(super) struct Inner {
    pub(super) models: Vec<Model>,
    pub(super) loaded: Vec<Model>,
    pub(super) busy: bool,
    pub(super) breaks: usize,
    pub(super) poison: Option<String>,
    /// What makes the vectors of the model of its name.
    pub(super) real: Option<RealModel>,
    pub(super) writer: Writer,
    pub(super) requests: Vec<(String, Value)>,
}

/// What the routes share.
#[derive(Clone)]
pub(super) struct Site(pub(super) Arc<Mutex<Inner>>);

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").finish_non_exhaustive()
    }
}

impl Site {
    pub(super) fn new(models: Vec<Model>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            models,
            loaded: vec![],
            busy: false,
            breaks: 0,
            poison: None,
            real: None,
            writer: Arc::new(write),
            requests: vec![],
        })))
    }

    /// The model, if it is there.
    pub(super) fn find(&self, name: &str) -> Option<Model> {
        let tagged = with_tag(name);
        lock(&self.0).models.iter().find(|model| model.name == tagged).cloned()
    }

    /// Makes a model ready to run.
    pub(super) fn load(&self, name: &str) -> Result<Model, Failure> {
        if name.is_empty() {
            return Err(Failure::new(400, "model is required"));
        }
        let model = self.find(name).ok_or_else(|| Failure::new(404, format!("model '{name}' not found")))?;
        let mut inner = lock(&self.0);
        if inner.busy {
            let message = "server busy, please try again.  maximum pending requests exceeded";
            return Err(Failure::new(503, message));
        }
        inner.loaded.retain(|loaded| *loaded != model);
        inner.loaded.push(model.clone());
        Ok(model)
    }

    pub(super) fn unload(&self, model: &Model) {
        lock(&self.0).loaded.retain(|loaded| loaded != model);
    }

    /// What makes the vectors of `model`, if it is a real one.
    pub(super) fn real(&self, model: &Model) -> Option<RealModel> {
        lock(&self.0).real.clone().filter(|_| model.name == RealModel::NAME)
    }

    /// Whether `input` cannot be embedded.
    pub(super) fn is_poison(&self, input: &str) -> bool {
        lock(&self.0).poison.as_ref().is_some_and(|poison| input.contains(poison))
    }

    /// Whether this stream is to break off; each break happens once.
    pub(super) fn takes_break(&self) -> bool {
        let mut inner = lock(&self.0);
        let breaks = inner.breaks > 0;
        inner.breaks = inner.breaks.saturating_sub(1);
        breaks
    }

    pub(super) fn text_for(&self, body: &Value) -> String {
        let writer = Arc::clone(&lock(&self.0).writer);
        writer(body)
    }
}

/// A review if the schema asks for one, some object of another schema, else a sentence about the prompt.
fn write(body: &Value) -> String {
    let prompt = prompt_of(body);
    let format = if body["format"].is_null() {
        &body["response_format"]["json_schema"]["schema"]
    } else {
        &body["format"]
    };
    if !format["properties"]["findings"].is_null() {
        return reviewer::review(&prompt).to_string();
    }
    if format.is_object() {
        return instance::of(format, &prompt).to_string();
    }
    if format == "json" {
        return "{}".into();
    }
    let words: Vec<_> = prompt.split_whitespace().take(12).collect();
    format!("You wrote: {}", words.join(" "))
}

fn prompt_of(body: &Value) -> String {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let users = messages.iter().filter(|message| message["role"] == "user");
    let texts: Vec<_> = users.filter_map(|message| message["content"].as_str()).collect();
    if texts.is_empty() { body["prompt"].as_str().unwrap_or_default().to_owned() } else { texts.join("\n") }
}
