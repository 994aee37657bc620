//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): one trace ties together what all services log and call for
//! an event. The relay makes it, or takes the webhook's own; the envelope keeps it; each call between our services names
//! it with a span id of its own.

use std::{fmt, str::FromStr};

use http::HeaderMap;
use serde::Deserialize;
use uuid::Uuid;

/// The header that carries a [`TraceParent`].
pub const HEADER: &str = "traceparent";

/// The trace that something belongs to, and the span that caused it: `00-<trace id>-<span id>-<flags>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of W3C Trace Context")]
pub struct Malformed;

impl TraceParent {
    /// A new trace, marked as recorded.
    pub fn generate() -> Self {
        Self { trace: Uuid::new_v4().as_u128(), span: new_span(), flags: 1 }
    }

    /// The same trace with a span id of its own, for an outgoing call (section 3.2.2.4).
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: new_span(), ..self }
    }

    /// The id that all log lines of a trace share: 32 hex digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The trace that a request names, if it does.
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        headers.get(HEADER)?.to_str().ok()?.parse().ok()
    }

    /// The trace that a stored envelope names, without reading the rest of it.
    pub fn of_envelope(envelope: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Named {
            traceparent: String,
        }
        serde_json::from_slice::<Named>(envelope).ok()?.traceparent.parse().ok()
    }
}

impl FromStr for TraceParent {
    type Err = Malformed;

    /// Reads version 00, and of later versions what version 00 knows (section 3.2.4). Zeros are no ids.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split('-');
        let mut hex = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits);
            let part = part.filter(|part| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
            part.and_then(|part| u128::from_str_radix(part, 16).ok()).ok_or(Malformed)
        };
        let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let has_more = parts.next().is_some();
        if version == 0xff || (version == 0 && has_more) || trace == 0 || span == 0 {
            return Err(Malformed);
        }
        let (span, flags) = (u64::try_from(span), u8::try_from(flags));
        Ok(Self { trace, span: span.map_err(|_| Malformed)?, flags: flags.map_err(|_| Malformed)? })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// Not zero, which would be no id: of a random UUID's second half the first bit is always set (RFC 9562, section 4.1).
fn new_span() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

tokio::task_local! {
    static CURRENT: TraceParent;
}

/// The trace that the running task works for.
pub fn current() -> Option<TraceParent> {
    CURRENT.try_with(|trace| *trace).ok()
}

/// Does `work` for a trace: calls of our clients name it, and so does the span that this is called in, if that has a
/// field `trace_id`.
pub async fn within<F: Future>(trace: Option<TraceParent>, work: F) -> F::Output {
    let Some(trace) = trace else { return work.await };
    tracing::Span::current().record("trace_id", trace.trace_id());
    CURRENT.scope(trace, work).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_is_read_and_written() {
        let trace: TraceParent = EXAMPLE.parse().unwrap();
        assert_eq!(trace.to_string(), EXAMPLE);
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let child = trace.child();
        assert!(child.trace_id() == trace.trace_id() && child != trace);
        assert_eq!(child.to_string().parse(), Ok(child));
    }

    #[test]
    fn what_is_no_trace_is_refused_and_a_later_version_is_read() {
        let zeros = EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let upper = EXAMPLE.to_uppercase();
        let more = format!("{EXAMPLE}-00");
        let forbidden = EXAMPLE.replacen("00", "ff", 1);
        for wrong in ["", "00", "00-1-2-3", &zeros, &upper, &more, &forbidden, &EXAMPLE[..54]] {
            assert_eq!(wrong.parse::<TraceParent>(), Err(Malformed), "{wrong}");
        }
        let later = format!("{}-what-comes", EXAMPLE.replacen("00", "01", 1));
        assert_eq!(later.parse::<TraceParent>().unwrap().to_string(), EXAMPLE);
    }

    #[test]
    fn an_envelope_names_its_trace() {
        let envelope = format!(r#"{{"version":1,"traceparent":"{EXAMPLE}","payload":{{"traceparent":3}}}}"#);
        assert_eq!(TraceParent::of_envelope(envelope.as_bytes()), EXAMPLE.parse().ok());
        assert_eq!(TraceParent::of_envelope(b"{}"), None);
    }

    #[tokio::test]
    async fn work_knows_its_trace_and_nobody_else_does() {
        let trace = TraceParent::generate();
        assert_eq!(within(Some(trace), async { current() }).await, Some(trace));
        assert_eq!(within(None, async { current() }).await, None);
        assert_eq!(current(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = text.parse::<TraceParent>();
        }
    }
}
