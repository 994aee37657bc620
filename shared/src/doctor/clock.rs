//! Clocks that differ: a signature holds for [`TOLERANCE_SECONDS`], a GitHub App's token wants less. Pure.

use http::{HeaderMap, header::DATE};
use jiff::{Timestamp, fmt::rfc2822};

use super::Finding;
use crate::signature::TOLERANCE_SECONDS;

/// A date has whole seconds, and travels.
const HARMLESS: i64 = 5;
/// What sets a clock right, on either system.
const MEND: &str = "set the clock that is wrong by the network: `timedatectl set-ntp true` (Linux), `sudo sntp -sS time.apple.com` (macOS)";

/// Seconds that the sender of an answer is ahead of `now`, by its `Date`.
pub fn ahead(headers: &HeaderMap, now: Timestamp) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(date.as_second() - now.as_second())
}

/// What it means that `who` is so many seconds ahead.
pub fn judge(who: &str, ahead: Option<i64>) -> Finding {
    let Some(ahead) = ahead else { return Finding::skipped("clock", format!("{who} tells no time")) };
    let off = ahead.saturating_abs();
    let says = match ahead {
        0.. => format!("{who} is {off} s ahead of this machine"),
        _ => format!("{who} is {off} s behind this machine"),
    };
    match off {
        0..=HARMLESS => Finding::ok("clock", format!("{who} and this machine agree")),
        _ if off > TOLERANCE_SECONDS => Finding::fail(
            "clock",
            format!("{says}; signatures are refused from {TOLERANCE_SECONDS} s on"),
            MEND,
        ),
        _ => Finding::warn("clock", says, MEND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_clock_is_compared_by_the_date_of_an_answer() {
        let headers = HeaderMap::from_iter([(DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap())]);
        let now = "1994-11-06T08:49:30Z".parse().unwrap();
        assert_eq!(ahead(&headers, now), Some(7));
        assert_eq!(ahead(&HeaderMap::new(), now), None);
    }

    #[test]
    fn what_signatures_do_not_bear_is_a_failure() {
        let status = |seconds| judge("GitHub", Some(seconds)).status;
        assert_eq!([status(0), status(5), status(-5)], [Status::Ok; 3]);
        assert_eq!([status(6), status(300), status(-300)], [Status::Warn; 3]);
        assert_eq!([status(301), status(i64::MIN)], [Status::Fail; 2]);
        assert!(judge("GitHub", Some(-400)).says.starts_with("GitHub is 400 s behind"));
        assert_eq!(judge("GitHub", None).status, Status::Skipped);
    }
}
