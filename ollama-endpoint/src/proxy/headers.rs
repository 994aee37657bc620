//! Which headers cross the proxy. Pure.

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, ORIGIN, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// RFC 9110, section 7.6.1, and what older agents send.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Asks for what the memory knows of a repository; in the answer it says what was added.
pub(super) const MEMORY: HeaderName = HeaderName::from_static("x-ai-relay-memory");

/// What speaks to us and not to Ollama: the caller's credentials, and what only this hop can answer. Ollama refuses a
/// foreign `Host` or `Origin`.
const OURS: [HeaderName; 7] =
    [AUTHORIZATION, COOKIE, HeaderName::from_static("x-api-key"), HOST, ORIGIN, EXPECT, MEMORY];

/// The headers of a request, as Ollama may see them.
pub(super) fn outbound(headers: HeaderMap) -> HeaderMap {
    let mut passed = end_to_end(headers);
    for name in OURS {
        passed.remove(name);
    }
    let signed: Vec<HeaderName> =
        passed.keys().filter(|name| name.as_str().starts_with("webhook-")).cloned().collect();
    for name in signed {
        passed.remove(name);
    }
    passed
}

/// All but the hop-by-hop headers, those that `Connection` names included.
pub(super) fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let names = named.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty());
    // What is no header name cannot have come as one.
    let named: Vec<HeaderName> = names.filter_map(|name| HeaderName::try_from(name).ok()).collect();
    for name in named.into_iter().chain(HOP_BY_HOP) {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_is_meant_for_ollama_passes() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "relay.example"),
            ("origin", "https://evil.example"),
            ("authorization", "Bearer t"),
            ("cookie", "a=b"),
            ("x-api-key", "k"),
            ("x-ai-relay-memory", "o/r"),
            ("webhook-id", "1"),
            ("webhook-signature", "v1,x"),
            ("connection", "close, X-Private , bad name"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("content-type", "application/json"),
            ("content-length", "3"),
            ("accept-encoding", "gzip"),
            ("x-request-id", "7"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let passed = outbound(headers);
        let mut names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "content-length", "content-type", "x-request-id"]);
    }

    #[test]
    fn repeated_headers_stay_repeated() {
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", HeaderValue::from_static("a"));
        headers.append("set-cookie", HeaderValue::from_static("b"));
        assert_eq!(end_to_end(headers).get_all("set-cookie").iter().count(), 2);
    }
}
