//! Which of Ollama's routes a caller may use. Pure.

use std::borrow::Cow;

/// What stands behind a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Goes on with a conversation.
    Chat(Form),
    /// Generates otherwise, embeds or lists.
    Open,
    /// Changes which models there are.
    Admin,
    /// Nothing this build knows, so nothing it can vouch for.
    Unknown,
}

/// How a conversation is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `messages`, with those of the system among them: Ollama's own, and OpenAI's.
    Messages,
    /// Anthropic's: `messages`, and `system` beside them.
    Anthropic,
    /// OpenAI's newer one: `input`, and `instructions` beside it.
    Responses,
}

/// Looks at `path` as Ollama would, and stricter: decoded once, in lower case, without empty segments; a path with dot
/// segments is unknown. What is forwarded is the path as it came.
pub(super) fn classify(path: &str) -> Route {
    let Some(decoded) = decode(path) else { return Route::Unknown };
    let lower = lower(decoded);
    let segments: Vec<&str> = lower.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Route::Unknown;
    }
    match segments.as_slice() {
        ["api", "chat"] | ["v1", "chat", "completions"] => Route::Chat(Form::Messages),
        ["v1", "messages"] => Route::Chat(Form::Anthropic),
        ["v1", "responses"] => Route::Chat(Form::Responses),
        ["api", "generate" | "embed" | "embeddings" | "tags" | "ps" | "show" | "version"]
        | ["v1", "completions" | "embeddings" | "models"]
        | ["v1", "messages", "count_tokens"]
        | ["v1", "images", "generations" | "edits"]
        // The name of a model may contain slashes.
        | ["v1", "models", ..] => Route::Open,
        ["api", "pull" | "push" | "create" | "copy" | "delete"] | ["api", "blobs", ..] => Route::Admin,
        _ => Route::Unknown,
    }
}

/// Percent-decodes (RFC 3986, section 2.1). `None` if the result is no UTF-8.
fn decode(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(path.into());
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|hex| !hex.starts_with('+')).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn lower(path: Cow<'_, str>) -> Cow<'_, str> {
    let is_lower = path.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if is_lower { path } else { path.to_lowercase().into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_a_route_is_that_route() {
        let open = [
            "/api/generate",
            "/api/embed",
            "/api/embeddings",
            "/api/tags",
            "/api/ps",
            "/api/show",
            "/api/version",
            "/v1/completions",
            "/v1/embeddings",
            "/v1/models",
            "/v1/models/a%2Fb:1",
            "/v1/messages/count_tokens",
            "//api//embed/",
            "/api/%65mbed",
        ];
        let chats = [
            ("/api/chat", Form::Messages),
            ("//api//chat/", Form::Messages),
            ("/api/%63hat", Form::Messages),
            ("/v1/chat/completions", Form::Messages),
            ("/v1/messages", Form::Anthropic),
            ("/v1/responses", Form::Responses),
        ];
        let admin = [
            "/api/pull",
            "/api/push",
            "/api/create",
            "/api/copy",
            "/api/delete",
            "/api/blobs/sha256:0",
            "/api/blobs",
            "//api/pull",
            "/api//pull",
            "/api/pull/",
            "/API/Pull",
            "/api/%70ull",
            "/api%2Fpull",
            "/api/p%55ll",
            "/api/blobs//x",
        ];
        let unknown = [
            "/",
            "/api",
            "/v1",
            "/api/chat/../pull",
            "/api/chat/%2e%2E/pull",
            "/api/./pull",
            "/api/pull/x",
            "/api/chats",
            "/api/%2570ull",
            "/api/%ff",
            "/api/pull%",
            "/api/pull%2",
            "/api/experimental/x",
            "/v1/files",
            "/memory/search",
            "/api/signout",
            "/v1/models/../../api/pull",
        ];
        for (paths, route) in
            [(&open[..], Route::Open), (&admin[..], Route::Admin), (&unknown[..], Route::Unknown)]
        {
            for path in paths {
                assert_eq!(classify(path), route, "{path}");
            }
        }
        for (path, form) in chats {
            assert_eq!(classify(path), Route::Chat(form), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "[/a-z%0-9.é+]{0,40}") {
            classify(&path);
        }
    }
}
