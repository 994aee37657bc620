//! Whether a request names this machine as its target and, if a web page sent it, as its origin. Pure.
//!
//! A page's own name cannot be hidden by its author: a browser says in `Origin` whose page sends, and in `Host` the name
//! that was asked for, which is still the page's when DNS is made to point here.

use std::net::IpAddr;

use http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use http::uri::Authority;
use http::{HeaderName, Uri};

/// The first header that names another machine. A request without `Host` names none.
pub(super) fn foreign(uri: &Uri, headers: &HeaderMap) -> Option<HeaderName> {
    let named = |value: &HeaderValue| Authority::try_from(value.as_bytes()).is_ok_and(|at| is_loopback(&at));
    let target = headers.contains_key(HOST)
        && headers.get_all(HOST).iter().all(named)
        && uri.authority().is_none_or(is_loopback);
    if !target {
        return Some(HOST);
    }
    let page = |value: &HeaderValue| {
        Uri::try_from(value.as_bytes()).is_ok_and(|origin| origin.authority().is_some_and(is_loopback))
    };
    (!headers.get_all(ORIGIN).iter().all(page)).then_some(ORIGIN)
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(target: &str, hosts: &[&'static str], origin: Option<&'static str>) -> Option<HeaderName> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
        foreign(&target.parse().unwrap(), &headers)
    }

    #[test]
    fn only_loopback_is_here() {
        for host in ["127.0.0.1", "127.0.0.1:8090", "localhost", "LocalHost:1", "[::1]", "[::1]:8090"] {
            assert_eq!(refused("/api/chat", &[host], None), None, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8090",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "192.168.0.7",
            "0.0.0.0",
            "[::2]",
            "",
        ] {
            assert_eq!(refused("/api/chat", &[host], None), Some(HOST), "{host}");
        }
        assert_eq!(refused("/api/chat", &[], None), Some(HOST));
        assert_eq!(refused("/api/chat", &["localhost", "evil.example"], None), Some(HOST));
        assert_eq!(refused("http://evil.example/api/chat", &["localhost"], None), Some(HOST));
    }

    #[test]
    fn only_pages_of_this_machine_may_ask() {
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"] {
            assert_eq!(refused("/", &["localhost"], Some(origin)), None, "{origin}");
        }
        for origin in ["https://evil.example", "null", "", "file://", "http://localhost.evil.example"] {
            assert_eq!(refused("/", &["localhost"], Some(origin)), Some(ORIGIN), "{origin}");
        }
    }
}
