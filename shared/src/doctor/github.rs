//! What the headers of GitHub's answers say about the token that asked: its scopes, its end, its limit. Pure.
//! (docs.github.com: "Scopes for OAuth apps", "Rate limits for the REST API", "Managing your personal access tokens")

use http::HeaderMap;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::Finding;

/// A token that ends sooner is told of.
const SOON_DAYS: i64 = 14;
/// Scopes with which a token can do much more than any of our services.
const TOO_MUCH: [&str; 6] =
    ["admin:org", "delete_repo", "admin:enterprise", "site_admin", "admin:gpg_key", "admin:public_key"];

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A classic token's scopes. GitHub tells nothing of a fine-grained token's permissions: what it may do shows when it is tried.
/// `enough`: any one of these will do; `wanted`: what to tick; `tried`: how that is found out.
pub fn scopes(headers: &HeaderMap, enough: &[&str], wanted: &str, tried: &str) -> Finding {
    let check = "token scopes";
    let Some(scopes) = text(headers, "x-oauth-scopes").filter(|scopes| !scopes.trim().is_empty()) else {
        let says = format!("a fine-grained token: GitHub does not tell what it may do; {tried}");
        return Finding::skipped(check, says);
    };
    let held: Vec<&str> = scopes.split(',').map(str::trim).collect();
    if !enough.iter().any(|scope| held.contains(scope)) {
        let says = format!("a classic token with `{scopes}`, which is not enough");
        return Finding::fail(check, says, wanted);
    }
    match TOO_MUCH.iter().find(|scope| held.contains(scope) && !enough.contains(scope)) {
        Some(more) => Finding::warn(
            check,
            format!("a classic token with `{scopes}`: `{more}` is more than is needed"),
            format!("a fine-grained token for the repositories alone; {wanted}"),
        ),
        None => Finding::ok(check, format!("a classic token with `{scopes}`")),
    }
}

/// When the token ends, if GitHub says so.
pub fn expiry(headers: &HeaderMap, now: Timestamp) -> Option<Finding> {
    let check = "token's end";
    let written = text(headers, "github-authentication-token-expiration")?;
    // "2026-12-31 09:00:00 UTC", or with an offset for some.
    let (date, zone) = written.rsplit_once(' ')?;
    let date: DateTime = date.parse().ok()?;
    let ends = match zone {
        "UTC" => date.to_zoned(TimeZone::UTC).ok()?.timestamp(),
        offset => Timestamp::strptime(
            "%Y-%m-%d %H:%M:%S %z",
            format!("{} {offset}", date.strftime("%Y-%m-%d %H:%M:%S")),
        )
        .ok()?,
    };
    let days = (ends.as_second() - now.as_second()) / (24 * 60 * 60);
    let on = ends.strftime("%Y-%m-%d");
    Some(match days {
        ..SOON_DAYS => Finding::warn(
            check,
            format!("the token ends on {on}, in {days} days"),
            "make a new one (github.com, Settings, Developer settings), set GITHUB_TOKEN, and start the service again",
        ),
        _ => Finding::ok(check, format!("{on}")),
    })
}

/// How many calls are left in this hour.
pub fn limit(headers: &HeaderMap, now: Timestamp) -> Option<Finding> {
    let number = |name: &str| text(headers, name)?.trim().parse::<i64>().ok();
    let (left, of) = (number("x-ratelimit-remaining")?, number("x-ratelimit-limit")?);
    let check = "rate limit";
    let says = format!("{left} of {of} calls left");
    if left * 10 >= of {
        return Some(Finding::ok(check, says));
    }
    let minutes = number("x-ratelimit-reset").map_or(60, |reset| (reset - now.as_second()).max(0) / 60 + 1);
    Some(Finding::warn(
        check,
        says,
        format!(
            "it begins anew in {minutes} min; see what else uses this token, or set up a GitHub App, whose limit is its own"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::doctor::Status;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn of(scopes: &str) -> Finding {
        super::scopes(
            &headers(&[("x-oauth-scopes", scopes)]),
            &["repo", "admin:repo_hook"],
            "tick admin:repo_hook",
            "try it",
        )
    }

    #[test]
    fn a_classic_token_shows_what_it_may_do() {
        assert_eq!(of("admin:repo_hook, read:org").status, Status::Ok);
        let short = of("read:user");
        assert!(short.status == Status::Fail && short.says.contains("`read:user`"));
        let much = of("repo, delete_repo");
        assert!(much.status == Status::Warn && much.says.contains("`delete_repo` is more"));
        for unknown in [of(""), super::scopes(&HeaderMap::new(), &["repo"], "", "try it")] {
            assert_eq!(unknown.status, Status::Skipped);
            assert!(unknown.says.contains("fine-grained") && unknown.says.ends_with("try it"), "{unknown:?}");
        }
    }

    #[test]
    fn a_token_that_ends_soon_is_told_of() {
        let now = "2026-12-01T00:00:00Z".parse().unwrap();
        let end = |text: &str| expiry(&headers(&[("github-authentication-token-expiration", text)]), now);
        assert_eq!(end("2027-06-30 09:00:00 UTC").unwrap().says, "2027-06-30");
        let soon = end("2026-12-09 09:00:00 UTC").unwrap();
        assert!(soon.status == Status::Warn && soon.says.contains("in 8 days"), "{soon:?}");
        assert_eq!(end("2026-12-09 23:30:00 -0100").unwrap().says, "the token ends on 2026-12-10, in 9 days");
        assert_eq!((end("never"), expiry(&HeaderMap::new(), now)), (None, None));
    }

    #[test]
    fn a_limit_that_is_nearly_reached_is_told_with_its_end() {
        let now = Timestamp::from_second(1000).unwrap();
        let left = |left: &str| {
            let all = [
                ("x-ratelimit-remaining", left),
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-reset", "1600"),
            ];
            limit(&headers(&all), now).unwrap()
        };
        assert_eq!(left("500").says, "500 of 5000 calls left");
        let few = left("499");
        assert!(few.status == Status::Warn && few.mend.unwrap().contains("in 11 min"));
        assert_eq!(limit(&HeaderMap::new(), now), None);
    }
}
