//! How good a ranking is, and whether two differ by more than chance. Pure.

use serde::Serialize;

/// How deep a ranking is looked at.
pub(super) const DEPTH: usize = 10;
/// Samples of the bootstrap.
const SAMPLES: usize = 4_000;
/// So that the same answers give the same interval.
const SEED: u64 = 20_260_131;

/// What one ranking is worth for one question; each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Scores {
    /// Share of the known answers among the first five.
    pub(super) recall_5: f64,
    /// The same among the first ten.
    pub(super) recall_10: f64,
    /// One divided by the place of the first known answer among the first ten.
    pub(super) mrr: f64,
    /// Discounted gain among the first ten, as a share of the best possible.
    pub(super) ndcg_10: f64,
}

/// Names of the measures, in the order of [`Scores::all`].
pub(super) const NAMES: [&str; 4] = ["recall@5", "recall@10", "MRR@10", "nDCG@10"];

impl Scores {
    /// Of the ids that were found, best first, against those that answer the question.
    pub(super) fn of(found: &[&str], relevant: &[String]) -> Self {
        let is_relevant = |id: &&str| relevant.iter().any(|known| known == id);
        let share = |depth: usize| {
            let hits = found.iter().take(depth).filter(|id| is_relevant(id)).count();
            hits as f64 / relevant.len().max(1) as f64
        };
        let places = || {
            let ranked = found.iter().take(DEPTH).enumerate();
            ranked.filter(|(_, id)| is_relevant(id)).map(|(place, _)| place as f64 + 1.0)
        };
        let gain = |place: f64| 1.0 / (place + 1.0).log2();
        let best: f64 = (1..=relevant.len().min(DEPTH)).map(|place| gain(place as f64)).sum();
        Self {
            recall_5: share(5),
            recall_10: share(DEPTH),
            mrr: places().next().map_or(0.0, |place| 1.0 / place),
            ndcg_10: if best > 0.0 { places().map(gain).sum::<f64>() / best } else { 0.0 },
        }
    }

    /// All four, in the order of [`NAMES`].
    pub(super) fn all(self) -> [f64; 4] {
        [self.recall_5, self.recall_10, self.mrr, self.ndcg_10]
    }

    /// The mean of many.
    pub(super) fn mean(scores: &[Self]) -> Self {
        let mean = |pick: fn(&Self) -> f64| mean(&scores.iter().map(pick).collect::<Vec<_>>());
        Self {
            recall_5: mean(|score| score.recall_5),
            recall_10: mean(|score| score.recall_10),
            mrr: mean(|score| score.mrr),
            ndcg_10: mean(|score| score.ndcg_10),
        }
    }
}

/// Of two ways to answer the same questions: by how much the first is better on average, and how much of that may be chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) mean: f64,
    /// How far the lower end of the mean's 95 % interval lies below it.
    pub(super) noise: f64,
}

/// A paired bootstrap over the questions: they are drawn anew with replacement, both answers to one always together.
pub(super) fn difference(first: &[f64], second: &[f64]) -> Difference {
    let pairs: Vec<f64> = first.iter().zip(second).map(|(first, second)| first - second).collect();
    let seen = mean(&pairs);
    if pairs.is_empty() {
        return Difference { mean: seen, noise: 0.0 };
    }
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut draw = || {
        let sum: f64 = (0..pairs.len()).map(|_| pairs[random.usize(..pairs.len())]).sum();
        sum / pairs.len() as f64
    };
    let mut means: Vec<f64> = (0..SAMPLES).map(|_| draw()).collect();
    means.sort_unstable_by(f64::total_cmp);
    Difference { mean: seen, noise: (seen - means[SAMPLES / 40]).max(0.0) }
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn one_answer_in_third_place() {
        let scores = Scores::of(&["x", "y", "a", "z"], &known(&["a"]));
        assert!(close(scores.recall_5, 1.0) && close(scores.recall_10, 1.0));
        assert!(close(scores.mrr, 1.0 / 3.0));
        assert!(close(scores.ndcg_10, 0.5));
    }

    #[test]
    fn of_two_answers_one_is_found_late() {
        let found = ["a", "1", "2", "3", "4", "5", "b", "6", "7", "8"];
        let scores = Scores::of(&found, &known(&["a", "b"]));
        assert!(close(scores.recall_5, 0.5) && close(scores.recall_10, 1.0) && close(scores.mrr, 1.0));
        assert!(close(scores.ndcg_10, (1.0 + 1.0 / 3.0) / (1.0 + 1.0 / 3.0_f64.log2())));
    }

    #[test]
    fn what_is_below_the_tenth_place_is_not_found() {
        let found: Vec<String> = (0..10).map(|place| place.to_string()).chain(["a".to_owned()]).collect();
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(Scores::of(&found, &known(&["a"])), Scores::default());
        assert_eq!(Scores::of(&[], &known(&["a"])), Scores::default());
    }

    #[test]
    fn equal_answers_differ_by_nothing() {
        let same = [0.0, 1.0, 0.5, 1.0];
        assert_eq!(difference(&same, &same), Difference { mean: 0.0, noise: 0.0 });
        assert_eq!(difference(&[], &[]), Difference { mean: 0.0, noise: 0.0 });
    }

    #[test]
    fn the_noise_is_that_of_the_means_distribution() {
        // half of the differences are 1 and half -1, so the mean of n has the standard error 1/√n
        let first: Vec<f64> = (0..400).map(|at| f64::from(at % 2)).collect();
        let second: Vec<f64> = first.iter().map(|value| 1.0 - value).collect();
        let seen = difference(&first, &second);
        assert!(close(seen.mean, 0.0));
        assert!((seen.noise - 1.96 / 20.0).abs() < 0.01, "{seen:?}");
        assert_eq!(seen, difference(&first, &second), "the same every time");
    }
}
