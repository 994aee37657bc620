//! Which of Ollama's routes a caller may use. Pure.

/// What stands behind a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Generates, embeds or lists.
    Open,
    /// Changes which models there are.
    Admin,
    /// Nothing this build knows, so nothing it can vouch for.
    Unknown,
}

/// Looks at `path` as Ollama would, and stricter: decoded once, in lower case, without empty segments; a path with dot
/// segments is unknown. What is forwarded is the path as it came.
pub(super) fn classify(path: &str) -> Route {
    let Some(decoded) = decode(path) else { return Route::Unknown };
    let lower = decoded.to_lowercase();
    let segments: Vec<&str> = lower.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Route::Unknown;
    }
    match segments.as_slice() {
        ["api", "generate" | "chat" | "embed" | "embeddings" | "tags" | "ps" | "show" | "version"]
        | ["v1", "completions" | "embeddings" | "models" | "responses" | "messages"]
        | ["v1", "chat", "completions"]
        | ["v1", "messages", "count_tokens"]
        | ["v1", "images", "generations" | "edits"]
        // The name of a model may contain slashes.
        | ["v1", "models", ..] => Route::Open,
        ["api", "pull" | "push" | "create" | "copy" | "delete"] | ["api", "blobs", ..] => Route::Admin,
        _ => Route::Unknown,
    }
}

/// Percent-decodes (RFC 3986, section 2.1). `None` if the result is no UTF-8.
fn decode(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|hex| !hex.starts_with('+')).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_a_route_is_that_route() {
        let open = [
            "/api/generate",
            "/api/chat",
            "/api/embed",
            "/api/embeddings",
            "/api/tags",
            "/api/ps",
            "/api/show",
            "/api/version",
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/embeddings",
            "/v1/models",
            "/v1/models/a%2Fb:1",
            "/v1/responses",
            "/v1/messages",
            "/v1/messages/count_tokens",
            "//api//chat/",
            "/api/%63hat",
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
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "[/a-z%0-9.é+]{0,40}") {
            classify(&path);
        }
    }
}
