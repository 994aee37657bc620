//! Whether webhooks come over TLS. The relay itself speaks plain HTTP: TLS ends at a proxy before it, which says in
//! `X-Forwarded-Proto` how it was asked. Pure.

use std::sync::atomic::{AtomicU8, Ordering};

use shared::health::Check;

/// What `/health` says of webhooks in clear text.
const IN_CLEAR: &str = "the last webhook came without TLS: nobody can forge one, but whoever is on the way can read it. Let a proxy \
    end TLS in front of the relay, and give the hook at GitHub an https:// URL";

/// How a webhook came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Nobody says.
    Unknown,
    /// Over TLS, as far as the proxy.
    Tls,
    /// In clear text, as far as the proxy or all the way.
    Clear,
}

impl Arrival {
    /// How a webhook came that a proxy of ours brought, or somebody from elsewhere, with this `X-Forwarded-Proto`.
    pub fn of(by_our_proxy: bool, forwarded: Option<&str>) -> Self {
        // What others say of themselves does not count; where there are several proxies, the first was asked by GitHub.
        let first =
            forwarded.and_then(|list| list.split(',').next()).map(|word| word.trim().to_ascii_lowercase());
        match first.as_deref() {
            _ if !by_our_proxy => Self::Clear,
            Some("https") => Self::Tls,
            Some("http") => Self::Clear,
            _ => Self::Unknown,
        }
    }
}

/// How the last one came.
#[derive(Debug, Default)]
pub struct LastArrival(AtomicU8);

impl LastArrival {
    /// Remembers it, unless it tells nothing.
    pub fn note(&self, arrival: Arrival) {
        if arrival == Arrival::Unknown {
            return;
        }
        self.0.store(arrival as u8, Ordering::Relaxed);
    }

    /// For `/health`; nothing where nothing is known.
    pub fn check(&self) -> Option<Check> {
        match self.0.load(Ordering::Relaxed) {
            tls if tls == Arrival::Tls as u8 => Some(Check::pass()),
            clear if clear == Arrival::Clear as u8 => Some(Check::warn(IN_CLEAR)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::health::Status;

    use super::*;

    #[test]
    fn a_proxy_of_ours_says_how_it_was_asked() {
        for (by_our_proxy, forwarded, arrival) in [
            (true, Some("https"), Arrival::Tls),
            (true, Some("HTTPS, http"), Arrival::Tls),
            (true, Some("http"), Arrival::Clear),
            (true, None, Arrival::Unknown),
            (true, Some(""), Arrival::Unknown),
            (false, None, Arrival::Clear),
            (false, Some("https"), Arrival::Clear),
        ] {
            assert_eq!(Arrival::of(by_our_proxy, forwarded), arrival, "{by_our_proxy} {forwarded:?}");
        }
    }

    #[test]
    fn health_tells_of_what_is_known() {
        let last = LastArrival::default();
        assert!(last.check().is_none());
        last.note(Arrival::Clear);
        last.note(Arrival::Unknown);
        assert_eq!(last.check().unwrap().status, Status::Warn);
        last.note(Arrival::Tls);
        assert_eq!(last.check().unwrap().status, Status::Pass);
    }
}
