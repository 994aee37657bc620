//! A request to the Messages API, and what current models refuse about it.

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::reply::ApiError;

/// The tool by which the Claude CLI asks for structured output.
pub const STRUCTURED_OUTPUT: &str = "StructuredOutput";

/// A request that reached the stand-in.
#[derive(Debug, Clone)]
pub struct Request {
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Value,
}

impl Request {
    /// The model asked for.
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    /// Whether server-sent events are wanted.
    pub fn stream(&self) -> bool {
        self.body["stream"] == true
    }

    /// All text of the user's messages.
    pub fn prompt(&self) -> String {
        let messages = self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let users = messages.iter().filter(|message| message["role"] == "user");
        users.map(|message| text_of(&message["content"])).collect::<Vec<_>>().join("\n")
    }

    /// All text of the system prompt.
    pub fn system(&self) -> String {
        text_of(&self.body["system"])
    }

    /// The JSON Schema the answer must follow: of `output_config.format`, or of the CLI's tool.
    pub fn schema(&self) -> Option<&Value> {
        let format = &self.body["output_config"]["format"];
        if format.is_object() {
            format.get("schema")
        } else {
            self.structured_output_tool()?.get("input_schema")
        }
    }

    /// Whether the answer must have this field, which tells one kind of question from another.
    pub fn asks_for(&self, field: &str) -> bool {
        self.schema().is_some_and(|schema| !schema["properties"][field].is_null())
    }

    /// The Claude CLI's tool, if it is offered.
    pub fn structured_output_tool(&self) -> Option<&Value> {
        self.body["tools"].as_array()?.iter().find(|tool| tool["name"] == STRUCTURED_OUTPUT)
    }

    /// Whether the last message brings a tool's result.
    pub fn brings_tool_result(&self) -> bool {
        self.tool_result().is_some()
    }

    /// The text of the tool's result that the last message brings.
    pub fn tool_result(&self) -> Option<String> {
        let last = self.body["messages"].as_array()?.last()?;
        let result = last["content"].as_array()?.iter().find(|block| block["type"] == "tool_result")?;
        Some(text_of(&result["content"]))
    }

    /// Names of the tools that are offered.
    pub fn tools(&self) -> Vec<&str> {
        let tools = self.body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
        tools.iter().filter_map(|tool| tool["name"].as_str()).collect()
    }

    /// Roughly, at four characters a token.
    pub(super) fn input_tokens(&self) -> usize {
        (self.system().len() + self.prompt().len()) / 4
    }
}

/// Text of a string or of content blocks.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// The key, as `x-api-key` or bearer token.
pub(super) fn check_credentials(headers: &HeaderMap) -> Result<(), ApiError> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    match header("x-api-key").or(bearer) {
        None => Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            "x-api-key header is required",
        )),
        Some(key) if !key.starts_with("sk-") => {
            Err(ApiError::new(StatusCode::UNAUTHORIZED, "authentication_error", "invalid x-api-key"))
        }
        Some(_) if header("anthropic-version").is_none() => {
            Err(invalid("anthropic-version: header is required"))
        }
        Some(_) => Ok(()),
    }
}

/// Everything a current model refuses before it reads the prompt.
pub(super) fn check(body: &Value, models: &[String], counting: bool) -> Result<(), ApiError> {
    let Some(model) = body["model"].as_str() else { return Err(invalid("model: Field required")) };
    if !counting && body["max_tokens"].as_u64().is_none_or(|tokens| tokens == 0) {
        return Err(invalid("max_tokens: Field required"));
    }
    let Some(last) = body["messages"].as_array().and_then(|messages| messages.last()) else {
        return Err(invalid("messages: at least one message is required"));
    };
    if !models.iter().any(|known| known == model) {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found_error", format!("model: {model}")));
    }
    if last["role"] == "assistant" {
        let message = "This model does not support assistant message prefill. The conversation must end with a \
                       user message.";
        return Err(invalid(message));
    }
    for name in ["temperature", "top_p", "top_k"] {
        if !body[name].is_null() {
            return Err(invalid(format!("`{name}` is deprecated for this model.")));
        }
    }
    if ["any", "tool"].iter().any(|forced| body["tool_choice"]["type"] == *forced) {
        return Err(invalid("tool_choice: forcing a tool is not supported by this model."));
    }
    check_format(&body["output_config"]["format"])
}

fn check_format(format: &Value) -> Result<(), ApiError> {
    if format.is_null() {
        return Ok(());
    }
    if format["type"] != "json_schema" {
        return Err(invalid("output_config.format.type: Input should be 'json_schema'"));
    }
    if !format["schema"].is_object() {
        return Err(invalid("output_config.format.schema: Field required"));
    }
    check_schema(&format["schema"])
}

/// Keywords that structured output does not take (vendor documentation, "JSON Schema limitations").
const UNSUPPORTED: [&str; 11] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

fn check_schema(schema: &Value) -> Result<(), ApiError> {
    let Some(fields) = schema.as_object() else { return Ok(()) };
    let kind = schema["type"].as_str().unwrap_or("any");
    if let Some(keyword) = UNSUPPORTED.iter().find(|keyword| fields.contains_key(**keyword)) {
        let message = format!("For '{kind}' type, property '{keyword}' is not supported");
        return Err(invalid(format!("output_config.format.schema: {message}")));
    }
    if schema["minItems"].as_u64().is_some_and(|least| least > 1) {
        let message = "output_config.format.schema: For 'array' type, 'minItems' values other than 0 or 1 are not \
                       supported";
        return Err(invalid(message));
    }
    if (kind == "object" || fields.contains_key("properties")) && schema["additionalProperties"] != false {
        let message = "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly \
                       set to false";
        return Err(invalid(message));
    }
    let maps = ["properties", "$defs", "definitions"].iter().filter_map(|key| schema[*key].as_object());
    let lists = ["anyOf", "allOf"].iter().filter_map(|key| schema[*key].as_array());
    let inner = maps.flat_map(serde_json::Map::values).chain(lists.flatten());
    inner.chain(schema.get("items")).try_for_each(check_schema)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
}
