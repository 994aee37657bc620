//! The recent history as resources, for clients that attach what a person picks.

use rmcp::ErrorData;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

use super::answers::Memory;
use super::calls::Calls;
use super::{Refusal, arguments};

const RECENT: &str = "memory://recent";
const MEMORY: &str = "memory://memory/";
const MARKDOWN: &str = "text/markdown";
const JSON: &str = "application/json";

/// How many memories a resource of the recent history has.
const HOW_MANY: usize = 20;

/// What there is without a name to fill in.
pub(super) fn list() -> Vec<Resource> {
    let recent = Resource::new(RECENT, "recent")
        .with_title("Recent memories")
        .with_description("The newest memories of all repositories, newest first")
        .with_mime_type(MARKDOWN);
    vec![recent]
}

/// What there is for a repository or an id.
pub(super) fn templates() -> Vec<ResourceTemplate> {
    let recent = ResourceTemplate::new("memory://recent/{owner}/{name}", "recent of a repository")
        .with_title("Recent memories of a repository")
        .with_description("The newest memories of owner/name, newest first")
        .with_mime_type(MARKDOWN);
    let memory = ResourceTemplate::new("memory://memory/{id}", "memory")
        .with_title("One memory")
        .with_description("A memory with all of its text, where it comes from, and whether it still holds")
        .with_mime_type(JSON);
    vec![recent, memory]
}

/// The resource of this address.
pub(super) async fn read(calls: &Calls, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let unknown = || {
        let message = format!(
            "there is no resource {uri:?}; resources/list and resources/templates/list name what there is"
        );
        ErrorData::resource_not_found(message, Some(json!({"uri": uri})))
    };
    let repository =
        uri.strip_prefix(RECENT).and_then(|rest| rest.strip_prefix('/')).filter(|name| name.contains('/'));
    let contents = if uri == RECENT || repository.is_some() {
        let text = recent(calls, repository.map(str::to_owned)).await.map_err(failed)?;
        ResourceContents::text(text, uri).with_mime_type(MARKDOWN)
    } else {
        let id = uri.strip_prefix(MEMORY).filter(|id| !id.is_empty()).ok_or_else(unknown)?;
        let memory = calls.find(id).await.map_err(failed)?.ok_or_else(unknown)?;
        ResourceContents::text(text_of(&memory)?, uri).with_mime_type(JSON)
    };
    Ok(ReadResourceResult::new(vec![contents]))
}

async fn recent(calls: &Calls, repository: Option<String>) -> Result<String, Refusal> {
    let limit = Some(HOW_MANY);
    let recent = arguments::Recent { repository, limit, ..arguments::Recent::default() };
    Ok(calls.recent(recent).await?.text())
}

fn text_of(memory: &Memory) -> Result<String, ErrorData> {
    serde_json::to_string_pretty(memory).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn failed(Refusal(why): Refusal) -> ErrorData {
    ErrorData::internal_error(why, None)
}
