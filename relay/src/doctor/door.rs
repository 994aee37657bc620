//! The URL that GitHub knows, asked from outside as far as this machine can: TLS, its end, and a signed ping.

use jiff::Timestamp;
use shared::{config::without_password, doctor::Finding};
use url::Url;
use x509_cert::{Certificate, der::Decode};

use super::{Known, ping};

/// Certificates are renewed some 30 days before their end; by then something is wrong.
const SOON_DAYS: i64 = 14;
const RENEW: &str = "renew it: Caddy and Traefik do by themselves unless port 80 or the name's DNS is in the way; see their log";

/// Looks at `url`.
pub(super) async fn examine(url: Option<&Url>, known: &Known, offline: bool) -> Vec<Finding> {
    let Some(url) = url else {
        let says = "not known here: WEBHOOK_URL is not set, and GitHub was not asked";
        let mend = Some("WEBHOOK_URL=https://YOUR-HOST/github-webhook".to_owned());
        return vec![Finding { mend, ..Finding::skipped("url", says) }];
    };
    let mut found = vec![scheme(url)];
    if offline {
        found.push(Finding::skipped("signed ping", "the internet is not asked: --offline"));
        return found;
    }
    let (pong, certificate) = ping::send(url, &known.webhook).await;
    found.extend(certificate.map(|der| expiry(&der, Timestamp::now())));
    found.push(ping::judge_outside(url, &pong));
    found
}

fn scheme(url: &Url) -> Finding {
    let shown = without_password(url.as_str());
    match url.scheme() {
        "https" => Finding::ok("url", shown),
        _ => Finding::warn(
            "url",
            format!("{shown} is not https: what your repositories do travels in clear"),
            "put a TLS proxy before the relay (deploy/README.md), and change the webhook's URL at GitHub",
        ),
    }
}

/// When a certificate ends. One that cannot be trusted does not come as far as here.
fn expiry(der: &[u8], now: Timestamp) -> Finding {
    let check = "certificate";
    let Ok(certificate) = Certificate::from_der(der) else {
        return Finding::skipped(check, "it cannot be read");
    };
    let ends = certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs();
    let ends = i64::try_from(ends)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::MAX);
    let (days, on) = ((ends.as_second() - now.as_second()) / (24 * 60 * 60), ends.strftime("%Y-%m-%d"));
    match days {
        ..SOON_DAYS => Finding::warn(check, format!("it ends on {on}, in {days} days"), RENEW),
        _ => Finding::ok(check, format!("trusted, until {on}")),
    }
}
