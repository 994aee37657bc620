//! Which memory comes first: reciprocal rank fusion over the union of two rankings, each place weighed by how much it tells,
//! with mild recency, and less for what does not hold any more. Pure.

use std::collections::HashMap;

use jiff::Timestamp;
use shared::memory::{Explanation, Found};

use crate::staleness::Level;

/// The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009). Their 60 is for rankings of a thousand;
/// with a few dozen it makes the first places count hardly more than the last, and finds less (`scripts/bench.sh memory`).
const K: f64 = 10.0;

/// The most that age can take from a score. Small on purpose: an old decision still beats recent chatter.
const MAX_AGE_PENALTY: f64 = 0.1;

/// Days after which half of [`MAX_AGE_PENALTY`] is taken.
const HALF_LIFE_DAYS: f64 = 180.0;

/// What is left of the score of a memory that a later one contradicts.
const SUPERSEDED: f64 = 0.4;

/// What is left of the score of a memory whose code has gone on without it.
fn staleness(level: Level) -> f64 {
    match level {
        Level::Changed => 0.9,
        Level::Thinned => 0.8,
        Level::Gone => 0.6,
        Level::Reverted => 0.5,
    }
}

/// A memory that one of the searches found.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Position of the memory that stands for it now: its own, or that of the one it was merged into.
    pub position: i64,
    /// When it was said.
    pub created_at: Timestamp,
    /// How it was found: BM25 (higher is better) or the cosine.
    pub measure: f64,
    /// How much that tells, from 0 to 1. A question whose words are in no memory finds one by the few that are.
    pub weight: f64,
    /// How stale it is, if it is.
    pub stale: Option<Level>,
    /// Whether a later memory says otherwise.
    pub superseded: bool,
}

/// A memory in the fused order.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Its position.
    pub position: i64,
    /// Fused score; comparable within one answer only.
    pub score: f64,
    /// How it came about.
    pub explanation: Explanation,
}

/// Fuses two rankings, each best first, into one. Every memory of either is in the answer once; among equals the newer
/// comes first. `now` is the moment the question is asked about.
pub fn fuse(lexical: &[Candidate], vector: &[Candidate], now: Timestamp) -> Vec<Ranked> {
    let mut union: HashMap<i64, (&Candidate, Option<Found>, Option<Found>)> = HashMap::new();
    for (rank, candidate) in (1..).zip(lexical) {
        let entry = union.entry(candidate.position).or_insert((candidate, None, None));
        entry.1.get_or_insert_with(|| found(rank, candidate));
    }
    for (rank, candidate) in (1..).zip(vector) {
        let entry = union.entry(candidate.position).or_insert((candidate, None, None));
        entry.2.get_or_insert_with(|| found(rank, candidate));
    }
    let mut fused: Vec<(Timestamp, Ranked)> = union
        .into_values()
        .map(|(candidate, lexical, vector)| (candidate.created_at, ranked(candidate, lexical, vector, now)))
        .collect();
    fused.sort_by(|(a_at, a), (b_at, b)| {
        b.score.total_cmp(&a.score).then_with(|| b_at.cmp(a_at)).then_with(|| a.position.cmp(&b.position))
    });
    fused.into_iter().map(|(_, ranked)| ranked).collect()
}

fn ranked(candidate: &Candidate, lexical: Option<Found>, vector: Option<Found>, now: Timestamp) -> Ranked {
    let contribution = |found: &Option<Found>| found.as_ref().map_or(0.0, |found| found.contribution);
    let (recency, validity) = (recency(candidate.created_at, now), validity(candidate));
    let score = (contribution(&lexical) + contribution(&vector)) * recency * validity;
    let explanation = Explanation { lexical, vector, recency, validity };
    Ranked { position: candidate.position, score, explanation }
}

fn found(rank: u32, candidate: &Candidate) -> Found {
    let Candidate { measure, weight, .. } = *candidate;
    Found { rank, measure, weight, contribution: weight / (K + f64::from(rank)) }
}

/// 1 for something said now, falling towards `1 - MAX_AGE_PENALTY`.
fn recency(created_at: Timestamp, now: Timestamp) -> f64 {
    let days = now.duration_since(created_at).as_secs_f64().max(0.0) / 86_400.0;
    1.0 - MAX_AGE_PENALTY * (1.0 - (-days / HALF_LIFE_DAYS).exp2())
}

fn validity(candidate: &Candidate) -> f64 {
    let stale = candidate.stale.map_or(1.0, staleness);
    if candidate.superseded { stale * SUPERSEDED } else { stale }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_341_600;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn at(position: i64, days_ago: i64) -> Candidate {
        let created_at = Timestamp::from_second(NOW - days_ago * 86_400).unwrap();
        Candidate { position, created_at, measure: 1.0, weight: 1.0, stale: None, superseded: false }
    }

    fn positions(ranked: &[Ranked]) -> Vec<i64> {
        ranked.iter().map(|ranked| ranked.position).collect()
    }

    #[test]
    fn found_by_both_comes_first_and_nothing_is_dropped() {
        let fused = fuse(&[at(1, 0), at(3, 0)], &[at(2, 0), at(3, 0)], now());
        assert_eq!(positions(&fused), [3, 1, 2]);
        let rank = |found: &Option<Found>| found.as_ref().map(|found| found.rank);
        assert_eq!(
            (rank(&fused[0].explanation.lexical), rank(&fused[0].explanation.vector)),
            (Some(2), Some(2))
        );
        assert_eq!(
            (rank(&fused[1].explanation.lexical), rank(&fused[1].explanation.vector)),
            (Some(1), None)
        );
        assert!((fused[0].score - 2.0 / (K + 2.0)).abs() < 1e-12);
    }

    #[test]
    fn age_decides_between_neighbours_but_not_against_a_clear_lead() {
        assert_eq!(positions(&fuse(&[at(1, 1_000), at(2, 0)], &[], now())), [2, 1]);
        let mut lexical = vec![at(1, 3_650)];
        lexical.extend((2..22).map(|position| at(position, 0)));
        let fused = fuse(&lexical, &[], now());
        assert!(positions(&fused).iter().position(|position| *position == 1).unwrap() < 8);
    }

    #[test]
    fn what_does_not_hold_any_more_sinks() {
        let mut lexical: Vec<Candidate> = (1..=9).map(|position| at(position, 0)).collect();
        (lexical[0].superseded, lexical[1].stale, lexical[2].stale) =
            (true, Some(Level::Reverted), Some(Level::Changed));
        let order = positions(&fuse(&lexical, &[], now()));
        assert_eq!(order[0], 4, "nothing is known against it");
        assert_eq!(order[7..], [2, 1], "taken back, then contradicted");
        assert!(order.contains(&3));
    }

    #[test]
    fn a_date_in_the_future_gains_nothing() {
        assert!((recency(at(1, -400).created_at, now()) - 1.0).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn the_union_is_complete_sorted_and_explained(
            lexical in proptest::collection::vec((0i64..40, 0i64..4000), 0..60),
            vector in proptest::collection::vec((0i64..40, 0i64..4000), 0..60),
        ) {
            let place = |found: Vec<(i64, i64)>| found.into_iter().map(|(p, d)| at(p, d)).collect::<Vec<_>>();
            let (lexical, vector) = (place(lexical), place(vector));
            let fused = fuse(&lexical, &vector, now());
            let mut expected: Vec<i64> = lexical.iter().chain(&vector).map(|c| c.position).collect();
            expected.sort_unstable();
            expected.dedup();
            let mut found = positions(&fused);
            found.sort_unstable();
            prop_assert_eq!(found, expected);
            prop_assert!(fused.is_sorted_by(|a, b| a.score >= b.score));
            for Ranked { score, explanation, .. } in &fused {
                let Explanation { lexical, vector, recency, validity } = explanation;
                let sum: f64 = [lexical, vector].into_iter().flatten().map(|found| found.contribution).sum();
                prop_assert!((score - sum * recency * validity).abs() < 1e-12);
            }
        }
    }
}
