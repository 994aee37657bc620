//! Which memory comes first: reciprocal rank fusion over the union of two rankings, with mild recency. Pure.

use std::collections::HashMap;

use jiff::Timestamp;

/// The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).
const K: f64 = 60.0;

/// The most that age can take from a score. Small on purpose: an old decision still beats recent chatter.
const MAX_AGE_PENALTY: f64 = 0.1;

/// Days after which half of [`MAX_AGE_PENALTY`] is taken.
const HALF_LIFE_DAYS: f64 = 180.0;

/// A memory that one of the searches found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Id of the memory.
    pub id: String,
    /// When it was said.
    pub created_at: Timestamp,
}

/// A memory in the fused order.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Id of the memory.
    pub id: String,
    /// Fused score; comparable within one answer only.
    pub score: f64,
    /// Rank among the full-text candidates, from 1.
    pub lexical: Option<u32>,
    /// Rank among the vector candidates, from 1.
    pub vector: Option<u32>,
}

/// Fuses two rankings, each best first, into one. Every candidate of either is in the answer once; among equals the
/// newer comes first. `now` is the moment the question is asked about.
pub fn fuse(lexical: &[Candidate], vector: &[Candidate], now: Timestamp) -> Vec<Ranked> {
    let mut union: HashMap<&str, (Timestamp, Option<u32>, Option<u32>)> = HashMap::new();
    for (rank, candidate) in (1..).zip(lexical) {
        union.entry(&candidate.id).or_insert((candidate.created_at, None, None)).1.get_or_insert(rank);
    }
    for (rank, candidate) in (1..).zip(vector) {
        union.entry(&candidate.id).or_insert((candidate.created_at, None, None)).2.get_or_insert(rank);
    }
    let mut fused: Vec<(Timestamp, Ranked)> = union
        .into_iter()
        .map(|(id, (created_at, lexical, vector))| {
            let score = (reciprocal(lexical) + reciprocal(vector)) * recency(created_at, now);
            (created_at, Ranked { id: id.to_owned(), score, lexical, vector })
        })
        .collect();
    fused.sort_by(|(a_at, a), (b_at, b)| {
        b.score.total_cmp(&a.score).then_with(|| b_at.cmp(a_at)).then_with(|| a.id.cmp(&b.id))
    });
    fused.into_iter().map(|(_, ranked)| ranked).collect()
}

fn reciprocal(rank: Option<u32>) -> f64 {
    rank.map_or(0.0, |rank| 1.0 / (K + f64::from(rank)))
}

/// 1 for something said now, falling towards `1 - MAX_AGE_PENALTY`.
fn recency(created_at: Timestamp, now: Timestamp) -> f64 {
    let days = now.duration_since(created_at).as_secs_f64().max(0.0) / 86_400.0;
    1.0 - MAX_AGE_PENALTY * (1.0 - (-days / HALF_LIFE_DAYS).exp2())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_341_600;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn at(id: &str, days_ago: i64) -> Candidate {
        Candidate { id: id.into(), created_at: Timestamp::from_second(NOW - days_ago * 86_400).unwrap() }
    }

    fn ids(ranked: &[Ranked]) -> Vec<&str> {
        ranked.iter().map(|r| r.id.as_str()).collect()
    }

    #[test]
    fn found_by_both_comes_first_and_nothing_is_dropped() {
        let fused = fuse(&[at("a", 0), at("both", 0)], &[at("b", 0), at("both", 0)], now());
        assert_eq!(ids(&fused), ["both", "a", "b"]);
        assert_eq!((fused[0].lexical, fused[0].vector), (Some(2), Some(2)));
        assert_eq!((fused[1].lexical, fused[1].vector), (Some(1), None));
        assert!((fused[0].score - 2.0 / 62.0).abs() < 1e-12);
    }

    #[test]
    fn age_decides_between_neighbours_but_not_against_a_clear_lead() {
        assert_eq!(ids(&fuse(&[at("old", 365), at("new", 0)], &[], now())), ["new", "old"]);
        let mut lexical = vec![at("old", 3_650)];
        lexical.extend((0..20).map(|i| at(&format!("new{i}"), 0)));
        let fused = fuse(&lexical, &[], now());
        assert!(ids(&fused).iter().position(|id| *id == "old").unwrap() < 8);
    }

    #[test]
    fn a_date_in_the_future_gains_nothing() {
        assert!((recency(at("x", -400).created_at, now()) - 1.0).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn the_union_is_complete_and_sorted(
            lexical in proptest::collection::vec((0u8..40, 0i64..4000), 0..60),
            vector in proptest::collection::vec((0u8..40, 0i64..4000), 0..60),
        ) {
            let name = |v: Vec<(u8, i64)>| v.into_iter().map(|(i, d)| at(&i.to_string(), d)).collect::<Vec<_>>();
            let (lexical, vector) = (name(lexical), name(vector));
            let fused = fuse(&lexical, &vector, now());
            let mut expected: Vec<&str> = lexical.iter().chain(&vector).map(|c| c.id.as_str()).collect();
            expected.sort_unstable();
            expected.dedup();
            let mut found = ids(&fused);
            found.sort_unstable();
            prop_assert_eq!(found, expected);
            prop_assert!(fused.is_sorted_by(|a, b| a.score >= b.score));
        }
    }
}
