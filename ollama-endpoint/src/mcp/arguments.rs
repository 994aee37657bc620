//! What each tool takes. One struct says it twice: to serde, and as the JSON Schema that a client is shown. Pure.

use jiff::Timestamp;
use rmcp::model::JsonObject;
use rmcp::schemars::transform::transform_subschemas;
use rmcp::schemars::{self, JsonSchema, Schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Refusal;
use crate::recall::{
    DEFAULT_BUDGET, DEFAULT_LIMIT, LARGEST_BUDGET, LONGEST_QUESTION, LONGEST_REASON, MOST, MOST_PATHS,
};
use crate::receive;

/// The least that a briefing may be allowed to cost, in tokens.
const LEAST_BUDGET: usize = 100;

/// Most ids to forget at once.
const MOST_IDS: usize = 100;

/// The longest id, or other short text.
const LONGEST_NAME: usize = 1_000;

/// `memory_search`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = plain)]
pub(super) struct Search {
    /// The question in your own words, or the exact names you know: symbols, paths, error texts, issue numbers, commit ids.
    #[schemars(length(min = 1, max = LONGEST_QUESTION))]
    pub(super) query: String,
    /// Only memories of this repository, as `owner/name`. Without it all repositories are searched.
    pub(super) repository: Option<String>,
    /// Only this kind: `change`, `decision`, `convention`, `review`, `discussion`, `incident`, `release`, `note`, or what
    /// an agent called it.
    pub(super) kind: Option<String>,
    /// Only what this agent or person said.
    pub(super) agent: Option<String>,
    /// Only memories about this file, or about files below this folder, from the root of the repository.
    pub(super) path: Option<String>,
    /// Only what was said at this time or later, as in 2026-11-22T10:00:00Z.
    #[schemars(extend("format" = "date-time"))]
    pub(super) since: Option<String>,
    /// Only what was said at this time or earlier.
    #[schemars(extend("format" = "date-time"))]
    pub(super) until: Option<String>,
    /// Answer as the memory would have answered at this time: what was said later does not count.
    #[schemars(extend("format" = "date-time"))]
    pub(super) as_of: Option<String>,
    /// Most memories to answer with; 10 if absent.
    #[schemars(range(min = 1, max = MOST))]
    pub(super) limit: Option<usize>,
}

/// `memory_briefing`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = plain)]
pub(super) struct Briefing {
    /// The repository you work in, as `owner/name`.
    pub(super) repository: String,
    /// Your task in your own words. Without it: what is known of the paths, or the most recent.
    #[schemars(length(max = LONGEST_QUESTION))]
    pub(super) query: Option<String>,
    /// The files you are about to read or change, from the root of the repository.
    #[schemars(length(max = MOST_PATHS), inner(length(min = 1, max = LONGEST_NAME)))]
    pub(super) paths: Option<Vec<String>>,
    /// What the briefing may cost you, in tokens; 1000 if absent.
    #[schemars(range(min = LEAST_BUDGET, max = LARGEST_BUDGET))]
    pub(super) budget: Option<usize>,
}

/// `memory_add`. Its limits are those of `POST /memory-update`, which checks them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = plain)]
pub(super) struct Add {
    /// The repository it is about, as `owner/name`.
    pub(super) repository: String,
    /// What to remember: one fact, in a sentence or a few that are understood without this conversation, with the reason
    /// and the names by which somebody will look for it. No secrets.
    #[schemars(length(min = 1))]
    pub(super) text: String,
    /// What it is: `decision`, `convention`, `incident`, `question`, or `note` (if absent).
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z0-9_-]+$"))]
    pub(super) kind: Option<String>,
    /// Who says it; your client's name if absent.
    #[schemars(length(min = 1, max = 200))]
    pub(super) agent: Option<String>,
    /// The branch it is about.
    #[schemars(length(min = 1, max = 250))]
    pub(super) branch: Option<String>,
    /// The files it is about, from the root of the repository. With them, the memory is marked stale when they change.
    #[schemars(length(max = receive::MOST_ABOUT), inner(length(min = 1, max = 4096)))]
    pub(super) paths: Option<Vec<String>>,
    /// The commits it is about, as full ids.
    #[schemars(length(max = receive::MOST_ABOUT), inner(regex(pattern = "^[0-9a-fA-F]{7,64}$")))]
    pub(super) commits: Option<Vec<String>>,
    /// The number of the pull request or issue it belongs to.
    #[schemars(range(min = 1))]
    pub(super) pull_request: Option<u64>,
    /// Where it can be read.
    #[schemars(length(min = 1, max = 2000), extend("format" = "uri"))]
    pub(super) url: Option<String>,
    /// An idempotency key of your own: the same key again changes nothing.
    #[schemars(length(min = 1, max = 200))]
    pub(super) id: Option<String>,
}

/// `memory_get`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = plain)]
pub(super) struct Get {
    /// The memory's id, as another tool answered it, or its first eight digits, as a briefing has them.
    #[schemars(length(min = 1, max = LONGEST_NAME))]
    pub(super) id: String,
}

/// `memory_forget`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = plain)]
pub(super) struct Forget {
    /// The memories to forget. Either these or `query`.
    #[schemars(length(min = 1, max = MOST_IDS), inner(length(min = 1, max = LONGEST_NAME)))]
    pub(super) ids: Option<Vec<String>>,
    /// Forget the memories that contain all of these words. Look at the dry run before you say `"dry_run": false`.
    #[schemars(length(min = 1, max = LONGEST_QUESTION))]
    pub(super) query: Option<String>,
    /// With `query`: only memories of this repository, as `owner/name`.
    pub(super) repository: Option<String>,
    /// With `query`: most memories to forget at once; 50 if absent.
    #[schemars(range(min = 1, max = MOST))]
    pub(super) limit: Option<usize>,
    /// Whether only to tell what would be forgotten. If absent: true with `query`, false with `ids`.
    pub(super) dry_run: Option<bool>,
    /// Why it should be forgotten; it is kept for those who ask later.
    #[schemars(length(min = 1, max = LONGEST_REASON))]
    pub(super) reason: String,
}

/// `memory_recent`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = plain)]
pub(super) struct Recent {
    /// Only memories of this repository, as `owner/name`.
    pub(super) repository: Option<String>,
    /// Only this kind.
    pub(super) kind: Option<String>,
    /// Only what this agent or person said.
    pub(super) agent: Option<String>,
    /// Only memories about this file, or about files below this folder.
    pub(super) path: Option<String>,
    /// Only what was said at this time or later, as in 2026-11-22T10:00:00Z.
    #[schemars(extend("format" = "date-time"))]
    pub(super) since: Option<String>,
    /// Only what was said at this time or earlier.
    #[schemars(extend("format" = "date-time"))]
    pub(super) until: Option<String>,
    /// Most memories to answer with; 10 if absent.
    #[schemars(range(min = 1, max = MOST))]
    pub(super) limit: Option<usize>,
}

/// The arguments of a call, or which of them cannot be read.
pub(super) fn read<T: DeserializeOwned>(arguments: Option<JsonObject>) -> Result<T, Refusal> {
    let arguments = Value::Object(arguments.unwrap_or_default());
    serde_path_to_error::deserialize(arguments).map_err(|error| match error.path().to_string().as_str() {
        "." => Refusal(format!("the arguments cannot be read: {}", error.inner())),
        path => Refusal(format!("`{path}` cannot be read: {}", error.inner())),
    })
}

/// How many memories are asked for.
pub(super) fn limit(limit: Option<usize>) -> Result<usize, Refusal> {
    within("limit", limit.unwrap_or(DEFAULT_LIMIT), 1, MOST)
}

/// How many memories are to be forgotten at once.
pub(super) fn forgettable(limit: Option<usize>) -> Result<usize, Refusal> {
    within("limit", limit.unwrap_or(MOST), 1, MOST)
}

/// What a briefing may cost.
pub(super) fn budget(budget: Option<usize>) -> Result<usize, Refusal> {
    within("budget", budget.unwrap_or(DEFAULT_BUDGET), LEAST_BUDGET, LARGEST_BUDGET)
}

fn within(name: &str, value: usize, least: usize, most: usize) -> Result<usize, Refusal> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Refusal(format!("`{name}` must be a number from {least} to {most}")))
    }
}

/// A point in time.
pub(super) fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Refusal> {
    let parse = |text: &str| {
        text.parse().map_err(|_| Refusal(format!("`{name}` must be a time like 2026-11-22T10:00:00Z")))
    };
    text.filter(|text| !text.is_empty()).map(parse).transpose()
}

/// A question that has words.
pub(super) fn question(query: &str) -> Result<&str, Refusal> {
    if query.trim().is_empty() {
        return Err(Refusal("`query` is empty; memory_recent lists the newest memories".to_owned()));
    }
    not_longer("query", query, LONGEST_QUESTION)
}

/// What a task is about; may be empty.
pub(super) fn task(query: &str) -> Result<&str, Refusal> {
    not_longer("query", query, LONGEST_QUESTION)
}

/// Why something should be forgotten.
pub(super) fn reason(reason: &str) -> Result<&str, Refusal> {
    if reason.trim().is_empty() {
        return Err(Refusal("`reason` is empty: say why it should be forgotten".to_owned()));
    }
    if reason.chars().count() > LONGEST_REASON {
        return Err(Refusal(format!("`reason` is longer than {LONGEST_REASON} characters")));
    }
    Ok(reason.trim())
}

fn not_longer<'a>(name: &str, text: &'a str, most: usize) -> Result<&'a str, Refusal> {
    if text.len() > most {
        return Err(Refusal(format!("`{name}` is longer than {most} bytes")));
    }
    Ok(text)
}

/// The ids of memories.
pub(super) fn ids(ids: Vec<String>) -> Result<Vec<String>, Refusal> {
    list("ids", ids, 1, MOST_IDS)
}

/// The files of a question.
pub(super) fn paths(paths: Vec<String>) -> Result<Vec<String>, Refusal> {
    list("paths", paths, 0, MOST_PATHS)
}

fn list(name: &str, items: Vec<String>, least: usize, most: usize) -> Result<Vec<String>, Refusal> {
    if !(least..=most).contains(&items.len()) {
        return Err(Refusal(format!("`{name}` must have {least} to {most} items")));
    }
    if let Some(at) = items.iter().position(|item| item.is_empty() || item.len() > LONGEST_NAME) {
        return Err(Refusal(format!("`{name}[{at}]` must have 1 to {LONGEST_NAME} bytes")));
    }
    Ok(items)
}

/// Says it in the words that all clients know: what may be left out is not also `null`, a number has no Rust type, and a
/// description has no line breaks of the source.
pub(super) fn plain(schema: &mut Schema) {
    transform_subschemas(&mut plain, schema);
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if schema
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| format.starts_with("uint") || format == "double")
    {
        schema.remove("format");
    }
}
