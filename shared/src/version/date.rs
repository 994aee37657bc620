//! A date for the build script, which is no place for a library: it would be compiled once more for it alone.

/// The day in UTC of so many seconds since 1970, as `2026-11-30`. After Howard Hinnant's `civil_from_days`.
pub(crate) fn utc(seconds: i64) -> String {
    // Years begin in March here, so that the leap day is the last day of one.
    let day = seconds.div_euclid(86_400) + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    format!("{:04}-{month:02}-{day:02}", year + era * 400)
}
