//! What the commands print for people, and the times that people type.

use jiff::{Span, SpanRelativeTo, Timestamp};

/// Names, titles and errors hold what strangers wrote: nothing in them may steer a terminal, or begin a line of its own.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Rows with their columns under each other, two blanks apart, a line each. The columns from the `numbers`-th on (from 0)
/// stand at the right.
pub fn aligned(rows: &[Vec<String>], numbers: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells =
            row.iter().zip(&widths).enumerate().map(|(column, (text, width))| match column < numbers {
                true => format!("{text:<width$}"),
                false => format!("{text:>width$}"),
            });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// A time as people type it: how long ago (`90m`, `2h`, `3d`), or a time in RFC 3339. For clap's `value_parser`.
///
/// # Errors
/// It is neither; the text says what to type.
pub fn time(text: &str) -> Result<Timestamp, String> {
    before(Timestamp::now(), text).ok_or_else(|| {
        "give a time ago, such as 90m, 2h or 3d, or a time such as 2026-11-22T10:00:00Z".to_owned()
    })
}

/// A day is 24 hours.
fn before(now: Timestamp, text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let span: Span = text.parse().ok()?;
    let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    now.checked_sub(ago.abs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [
            vec!["a".to_owned(), "é".to_owned(), "1".to_owned()],
            vec!["bcd".into(), "f".into(), "22".into()],
        ];
        assert_eq!(aligned(&rows, 2), "a    é   1\nbcd  f  22\n");
        assert_eq!(aligned(&rows, 3), "a    é  1\nbcd  f  22\n");
        assert_eq!(printable("a\u{1b}[31m\nb"), "a [31m b");
    }

    #[test]
    fn a_time_is_given_as_a_distance_or_as_itself() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2h", "2026-11-22T08:00:00Z"),
            ("90m", "2026-11-22T08:30:00Z"),
            ("3d", "2026-11-19T10:00:00Z"),
            ("1w", "2026-11-15T10:00:00Z"),
            ("1h 30m", "2026-11-22T08:30:00Z"),
            ("2026-11-22T09:59:00+01:00", "2026-11-22T08:59:00Z"),
        ] {
            assert_eq!(before(now, text), time.parse().ok(), "{text}");
        }
        for wrong in ["", "2", "yesterday", "2026-11-22", "1y 3x", "99999999999d"] {
            assert_eq!(before(now, wrong), None, "{wrong}");
        }
    }
}
