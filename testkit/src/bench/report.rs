//! Tables and goals, for a person and as JSON.

use std::{fmt, fs, path::Path};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;
use shared::terminal::aligned;

/// The middle of some numbers.
pub(super) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A percentile in milliseconds of a histogram in nanoseconds.
pub(super) fn milliseconds(times: &Histogram<u64>, percentile: f64) -> f64 {
    times.value_at_percentile(percentile) as f64 / 1e6
}

/// A number that should be on one side of another.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Goal {
    pub(super) what: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) goal: Bound,
    pub(super) reached: bool,
}

/// The side.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// Shown only.
    None,
}

impl Goal {
    pub(super) fn new(what: impl Into<String>, value: f64, unit: &'static str, goal: Bound) -> Self {
        let reached = match goal {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
            Bound::None => true,
        };
        Self { what: what.into(), value, unit, goal, reached }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = format!("{:.2} {}", self.value, self.unit);
        let word = if self.reached { "reached" } else { "missed" };
        write!(f, "{:<52} {:>16}", self.what, value.trim_end())?;
        match self.goal {
            Bound::AtLeast(bound) => write!(f, "   goal ≥ {bound} {}: {word}", self.unit),
            Bound::AtMost(bound) => write!(f, "   goal ≤ {bound} {}: {word}", self.unit),
            Bound::None => Ok(()),
        }
    }
}

/// Prints rows under their head, the first two columns to the left and the others to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) {
    let head = head.iter().map(|&text| text.to_owned()).collect();
    print!("{}", aligned(&[&[head], rows].concat(), 2));
}

/// Writes what was measured to `path`, if there is one.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(path: Option<&Path>, numbers: &impl Serialize) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(numbers)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_goal_is_reached_at_its_bound() {
        assert!(Goal::new("a", 3.0, "", Bound::AtLeast(3.0)).reached);
        assert!(!Goal::new("a", 2.9, "", Bound::AtLeast(3.0)).reached);
        let missed = Goal::new("p99", 26.0, "ms", Bound::AtMost(25.0));
        assert!(missed.to_string().ends_with("26.00 ms   goal ≤ 25 ms: missed"), "{missed}");
    }
}
