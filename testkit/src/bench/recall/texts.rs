//! Any number of memories that read like the corpus, and a vector for each: sentences of one project in another order, and
//! a number, which decides everything else. Pure.

use std::sync::OnceLock;

use super::corpus::Corpus;

/// Numbers in a vector, as of `nomic-embed-text`.
pub(super) const DIMENSIONS: usize = 768;
/// What vectors are gathered around, as the subjects of a real store are.
const CLUSTERS: u64 = 600;
/// How far from its cluster's middle a vector lies, in the middle's length.
const SPREAD: f32 = 0.9;
/// Vectors are written with so many parts of one, to keep JSON short.
const GRAIN: f32 = 10_000.0;
/// What stands before a text's number.
const MARK: &str = "ref-";
const SEED: u64 = 0x5EED_0F7E_2026_0131;

/// The sentences of the corpus, by project.
pub(super) struct Texts {
    projects: Vec<(String, Vec<String>)>,
}

impl Texts {
    pub(super) fn of(corpus: &Corpus) -> Self {
        let mut projects: Vec<(String, Vec<String>)> = Vec::new();
        for memory in &corpus.memories {
            if projects.last().is_none_or(|(name, _)| *name != memory.repository) {
                projects.push((memory.repository.clone(), Vec::new()));
            }
            if let Some((_, sentences)) = projects.last_mut() {
                let split = memory.context.split_inclusive(". ").map(|part| part.trim().to_owned());
                sentences.extend(split.filter(|part| part.split(' ').count() > 3));
            }
        }
        Self { projects }
    }

    /// Project and text of the memory with that number.
    pub(super) fn memory(&self, number: u64) -> (&str, String) {
        let mut random = fastrand::Rng::with_seed(SEED ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (project, sentences) = &self.projects[random.usize(..self.projects.len())];
        let mut text = String::new();
        for _ in 0..random.usize(2..=3) {
            text.push_str(&sentences[random.usize(..sentences.len())]);
            text.push(' ');
        }
        (project, format!("{text}{MARK}{number:07}"))
    }
}

/// The number at a text's end or in it; `None` for a text that is none of these.
pub(super) fn number_in(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(MARK)?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    digits.parse().ok()
}

/// The text with a number that no memory has, so that its vector is known whatever is put around it.
pub(super) fn marked(question: &str, number: u64) -> String {
    format!("{question} {MARK}{}", u64::from(u32::MAX) + number)
}

/// The vector of a text: that of its number, or one of its own where it has none.
pub(super) fn vector(text: &str) -> Vec<f32> {
    let seed = number_in(text).unwrap_or_else(|| {
        // FNV-1a
        text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        })
    });
    numbered(seed)
}

/// The vector that belongs to a number; of norm 1 up to rounding.
pub(super) fn numbered(seed: u64) -> Vec<f32> {
    static MIDDLES: OnceLock<Vec<Vec<f32>>> = OnceLock::new();
    let middles = MIDDLES.get_or_init(|| (0..CLUSTERS).map(|cluster| unit(direction(cluster))).collect());
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0xD1B5_4A32_D192_ED03) ^ SEED);
    let cluster = random.usize(..middles.len());
    let away = unit((0..DIMENSIONS).map(|_| random.f32() - 0.5).collect());
    let there = middles[cluster].iter().zip(away).map(|(middle, away)| middle + SPREAD * away);
    unit(there.collect()).into_iter().map(|number| (number * GRAIN).round() / GRAIN).collect()
}

fn direction(cluster: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(SEED.rotate_left(7) ^ cluster);
    (0..DIMENSIONS).map(|_| random.f32() - 0.5).collect()
}

/// The vector with norm 1.
pub(super) fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = dot(&vector, &vector).sqrt();
    vector.iter_mut().for_each(|number| *number /= norm);
    vector
}

/// In sixteen sums side by side, which a processor adds at once.
pub(super) fn dot(one: &[f32], other: &[f32]) -> f32 {
    let (ones, others) = (one.as_chunks::<16>(), other.as_chunks::<16>());
    let mut sums = [0.0_f32; 16];
    for (one, other) in ones.0.iter().zip(others.0) {
        for ((sum, one), other) in sums.iter_mut().zip(one).zip(other) {
            *sum += one * other;
        }
    }
    let rest: f32 = ones.1.iter().zip(others.1).map(|(one, other)| one * other).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_distinct_and_the_same_each_time() {
        let texts = Texts::of(&Corpus::read(2).unwrap());
        let made: std::collections::BTreeSet<String> =
            (0..2_000).map(|number| texts.memory(number).1).collect();
        assert_eq!(made.len(), 2_000);
        assert_eq!(texts.memory(7), texts.memory(7));
        assert_eq!(number_in(&texts.memory(7).1), Some(7));
        assert_eq!(number_in("search_query: why? ref-0000012 (cut)"), Some(12));
        assert_eq!(number_in("nothing ref-"), None);
    }

    #[test]
    fn a_vector_is_of_norm_one_and_belongs_to_its_text() {
        let one = vector("what? ref-0000012");
        assert_eq!(one.len(), DIMENSIONS);
        assert!((dot(&one, &one) - 1.0).abs() < 1e-3);
        assert_eq!(one, vector("search_document: what else? ref-0000012"));
        assert_ne!(one, vector("what? ref-0000013"));
        assert_ne!(vector("a"), vector("b"));
        assert_ne!(vector(&marked("a", 1)), vector(&marked("a", 2)));
    }

    #[test]
    fn some_vectors_are_near_each_other() {
        let first = numbered(0);
        let near = (1..3_000).filter(|seed| dot(&first, &numbered(*seed)) > 0.4).count();
        assert!((1..100).contains(&near), "{near}");
    }

    #[test]
    fn a_product_counts_what_is_left_over() {
        let ones = vec![1.0; 19];
        assert!((dot(&ones, &ones) - 19.0).abs() < 1e-6);
    }
}
