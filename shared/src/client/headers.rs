//! What an outgoing call says of itself.

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::{
    signature::{self, SigningKeys},
    trace,
};

/// The headers of a call of ours, signed.
pub(super) fn signed_headers(keys: &SigningKeys, id: &str, body: &[u8]) -> HeaderMap {
    let signed = keys.sign(id, Timestamp::now().as_second(), body);
    let values = [
        (signature::ID, signed.id),
        (signature::SIGNATURE, signed.signature),
        ("content-type", "application/json".to_owned()),
    ];
    let mut headers = trace_headers();
    for (name, value) in values {
        // An id that cannot be a header value leaves the header out; the other side then refuses the request.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    headers.insert(signature::TIMESTAMP, HeaderValue::from(signed.timestamp));
    headers
}

/// What an outgoing call says of the trace that it is made for: its `traceparent`, with a span id of its own.
pub fn trace_headers() -> HeaderMap {
    let value = trace::current().and_then(|trace| HeaderValue::from_str(&trace.child().to_string()).ok());
    value.map(|value| (HeaderName::from_static(trace::HEADER), value)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::TraceParent;

    #[tokio::test]
    async fn each_call_names_its_trace_with_a_span_of_its_own() {
        assert!(trace_headers().is_empty(), "no trace, no header");
        let trace = TraceParent::generate();
        let named = || TraceParent::of_headers(&trace_headers()).unwrap();
        let (first, second) = trace::within(Some(trace), async { (named(), named()) }).await;
        assert!(first != second && first != trace && second != trace);
        assert_eq!([first.trace_id(), second.trace_id()], [trace.trace_id(), trace.trace_id()]);
    }
}
