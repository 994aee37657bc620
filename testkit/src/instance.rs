//! Values that fit a JSON Schema, for stand-ins that must answer any question.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The plainest value of a schema; strings quote the prompt.
pub(crate) fn of(schema: &Value, prompt: &str) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let filled: BTreeMap<_, _> = fields.map(|(key, inner)| (key, of(inner, prompt))).collect();
            json!(filled)
        }
        Some("array") => json!([of(&schema["items"], prompt)]),
        Some("string") => prompt.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().into(),
        Some("integer" | "number") => 0.into(),
        Some("boolean") => false.into(),
        _ => Value::Null,
    }
}
