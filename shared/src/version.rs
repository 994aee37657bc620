//! Which build this is.

#[cfg(test)]
mod date;

/// For `--version`, health reports and whoever compares two services: `0.1.0 (1a2b3c4d5e6f 2026-11-30)`, the day being the
/// commit's. A `+` after the commit: there were changes that are not in it. See `build.rs`.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("AI_RELAY_BUILD"), ")");

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_build_scripts_dates_are_those_of_the_calendar(seconds in -60_000_000_000_i64..250_000_000_000) {
            let date = Timestamp::from_second(seconds).unwrap().to_zoned(TimeZone::UTC).date();
            prop_assert_eq!(date::utc(seconds), date.to_string());
        }
    }

    #[test]
    fn a_version_begins_with_its_number() {
        let (number, build) = VERSION.split_once(" (").unwrap();
        assert_eq!(number, env!("CARGO_PKG_VERSION"));
        assert!(build.len() > 1 && build.ends_with(')'), "{VERSION}");
    }
}
