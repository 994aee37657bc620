//! How two texts differ, in few lines. Pure.

use std::fmt::Write;
use std::time::Duration;

use similar::TextDiff;

/// Unchanged lines around a change.
const AROUND: usize = 1;
/// More lines are counted only.
const MOST_LINES: usize = 40;
/// Texts without a line in common are compared for no longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A unified diff without file names; empty if the texts are the same.
pub(crate) fn unified(then: &str, now: &str) -> String {
    if then == now {
        return String::new();
    }
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(then, now);
    let all = diff.unified_diff().context_radius(AROUND).missing_newline_hint(false).to_string();
    let count = all.lines().count();
    let mut shown = String::with_capacity(all.len());
    for line in all.lines().take(MOST_LINES) {
        let _ = writeln!(shown, "{line}");
    }
    if count > MOST_LINES {
        let _ = writeln!(shown, "… {} more lines", count - MOST_LINES);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        assert_eq!(unified("a\nb", "a\nb"), "");
        let lines: String = (0..100).map(|n| format!("{n}\n")).collect();
        let diff = unified(&lines, &lines.replace("\n50\n", "\nfifty\n"));
        assert_eq!(diff, "@@ -50,3 +50,3 @@\n 49\n-50\n+fifty\n 51\n");
        let diff = unified(&lines, "");
        assert_eq!((diff.lines().count(), diff.lines().last()), (41, Some("… 61 more lines")));
    }
}
