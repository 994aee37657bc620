use proptest::prelude::*;

use super::*;

fn entry(position: i64) -> Entry {
    Entry { position, row: position + 100 }
}

fn filled() -> Vectors {
    let mut vectors = Vectors::default();
    vectors.insert("m", "o/r", entry(1), &[1.0, 0.0]);
    vectors.insert("m", "O/R", entry(2), &[0.0, 1.0]);
    vectors.insert("m", "o/r", entry(3), &[0.8, 0.6]);
    vectors.insert("m", "o/other", entry(4), &[1.0, 0.0]);
    vectors
}

fn found(
    vectors: &Vectors,
    repository: Option<&str>,
    wanted: Option<&HashSet<i64>>,
    limit: usize,
) -> Vec<i64> {
    let near = vectors.near("m", &[1.0, 0.0], repository, wanted, limit).unwrap();
    near.into_iter().map(|near| near.entry.position).collect()
}

#[test]
fn nearest_first_within_what_is_wanted() {
    let vectors = filled();
    assert_eq!(found(&vectors, Some("O/r"), None, 9), [1, 3, 2]);
    assert_eq!(found(&vectors, Some("O/r"), None, 1), [1]);
    assert_eq!(found(&vectors, Some("o/r"), Some(&HashSet::from([2, 3])), 9), [3, 2]);
    assert_eq!(found(&vectors, None, None, 2), [1, 4]);
    assert_eq!(found(&vectors, None, None, 0), [0; 0]);
}

#[test]
fn removal_moves_the_last_vector_and_forgets_an_empty_model() {
    let mut vectors = filled();
    vectors.remove("o/r", 1);
    assert_eq!(found(&vectors, Some("o/r"), None, 9), [3, 2]);
    for position in [2, 3] {
        vectors.remove("o/r", position);
    }
    assert_eq!(found(&vectors, Some("o/r"), None, 9), [0; 0]);
    vectors.remove("o/other", 4);
    assert!(vectors.models().is_empty());
    assert!(vectors.near("m", &[1.0, 0.0], None, None, 3).is_none());
}

#[test]
fn another_length_is_neither_kept_nor_searched() {
    let mut vectors = filled();
    vectors.insert("m", "o/r", entry(5), &[1.0, 0.0, 0.0]);
    assert_eq!(found(&vectors, Some("o/r"), None, 9).len(), 3);
    assert!(vectors.near("m", &[1.0, 0.0, 0.0], None, None, 3).is_none());
    assert!(vectors.near("unknown", &[1.0, 0.0], None, None, 3).is_none());
    assert_eq!(vectors.models(), [VectorModel { model: "m".into(), dimensions: 2, vectors: 4 }]);
}

#[test]
fn the_blocked_dot_product_agrees_with_the_plain_one() {
    let a: Vec<f32> = (0..19u8).map(f32::from).collect();
    let plain: f32 = a.iter().map(|x| x * x).sum();
    assert!((dot(&a, &a) - plain).abs() < 1e-3);
}

/// A vector of norm 1, of the numbers that a seed gives.
fn unit(seed: &[i16]) -> Vec<f32> {
    let norm = seed.iter().map(|x| f32::from(*x).powi(2)).sum::<f32>().sqrt().max(1.0);
    seed.iter().map(|x| f32::from(*x) / norm).collect()
}

proptest! {
    #[test]
    fn a_byte_a_number_tells_the_cosine_nearly(a in proptest::collection::vec(any::<i16>(), 96), b in proptest::collection::vec(any::<i16>(), 96)) {
        let (a, b) = (unit(&a), unit(&b));
        let mut vectors = Vectors::default();
        vectors.insert("m", "o/r", entry(1), &a);
        let about = vectors.near("m", &b, None, None, 1).unwrap()[0].about;
        prop_assert!((about - dot(&a, &b)).abs() < 0.02, "{about} {}", dot(&a, &b));
    }

    #[test]
    fn the_scan_holds_what_a_plain_list_would(steps in proptest::collection::vec((any::<bool>(), 0i64..20, 1i16..100), 1..80)) {
        let mut vectors = Vectors::default();
        let mut plain: HashMap<i64, Vec<f32>> = HashMap::new();
        for (add, position, value) in steps {
            if add {
                let vector = unit(&[value, 100 - value]);
                vectors.insert("m", "o/r", entry(position), &vector);
                plain.insert(position, vector);
            } else {
                vectors.remove("o/r", position);
                plain.remove(&position);
            }
        }
        let found: HashMap<i64, f32> = vectors.near("m", &[0.6, 0.8], None, None, 100).unwrap_or_default()
            .into_iter().map(|near| (near.entry.position, near.about)).collect();
        prop_assert_eq!(found.len(), plain.len());
        for (position, vector) in plain {
            prop_assert!((found[&position] - dot(&vector, &[0.6, 0.8])).abs() < 0.03);
        }
    }
}
