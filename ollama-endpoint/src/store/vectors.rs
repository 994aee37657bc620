//! The vectors in RAM, scanned exactly. Rebuilt from the stored rows on start, kept current on every write. Pure.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use jiff::Timestamp;

use super::Filter;
use crate::rank::Candidate;

/// All vectors, by model and repository.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    models: HashMap<String, Model>,
}

#[derive(Debug)]
struct Model {
    dimensions: usize,
    /// By repository in lower case.
    shelves: HashMap<String, Shelf>,
}

/// The vectors of one repository: entry `i` owns `data[i * dimensions..][..dimensions]`.
#[derive(Debug, Default)]
struct Shelf {
    entries: Vec<Entry>,
    data: Vec<f32>,
    places: HashMap<String, usize>,
}

/// What a filter looks at, kept beside the vector.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) created_at: Timestamp,
}

/// What a write did to the vectors.
#[derive(Debug)]
pub(super) enum Change {
    /// A memory was embedded.
    Added { model: String, repository: String, entry: Entry, vector: Vec<f32> },
    /// A memory was deleted.
    Removed { repository: String, id: String },
    /// All vectors of a model were deleted.
    Forgotten { model: String },
}

impl Vectors {
    /// Brings the vectors up to date with a write.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Added { model, repository, entry, vector } => {
                self.insert(&model, &repository, entry, &vector);
            }
            Change::Removed { repository, id } => self.remove(&repository, &id),
            Change::Forgotten { model } => drop(self.models.remove(&model)),
        }
    }

    /// Adds a vector; one of another length than the model's others is left out (its row stays, the scan cannot use
    /// it).
    fn insert(&mut self, model: &str, repository: &str, entry: Entry, vector: &[f32]) {
        let model = self
            .models
            .entry(model.to_owned())
            .or_insert_with(|| Model { dimensions: vector.len(), shelves: HashMap::new() });
        if vector.len() != model.dimensions || vector.is_empty() {
            return;
        }
        let shelf = model.shelves.entry(repository.to_lowercase()).or_default();
        shelf.remove(&entry.id, model.dimensions);
        shelf.places.insert(entry.id.clone(), shelf.entries.len());
        shelf.entries.push(entry);
        shelf.data.extend_from_slice(vector);
    }

    /// Removes the vectors of a memory.
    fn remove(&mut self, repository: &str, id: &str) {
        for model in self.models.values_mut() {
            if let Some(shelf) = model.shelves.get_mut(&repository.to_lowercase()) {
                shelf.remove(id, model.dimensions);
            }
            model.shelves.retain(|_, shelf| !shelf.entries.is_empty());
        }
        self.models.retain(|_, model| !model.shelves.is_empty());
    }

    /// Length of the vectors of `model`.
    pub(super) fn dimensions(&self, model: &str) -> Option<usize> {
        self.models.get(model).map(|model| model.dimensions)
    }

    /// The `limit` entries nearest to `query` by dot product (all vectors have norm 1), best first.
    pub(super) fn nearest(
        &self,
        model: &str,
        query: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Option<Vec<Candidate>> {
        let model = self.models.get(model).filter(|model| model.dimensions == query.len())?;
        let wanted = filter.repository.as_ref().map(|name| name.to_lowercase());
        let mut best = BinaryHeap::with_capacity(limit + 1);
        for (name, shelf) in &model.shelves {
            if wanted.as_ref().is_none_or(|wanted| wanted == name) {
                shelf.scan(query, filter, limit, &mut best);
            }
        }
        Some(best.into_sorted_vec().into_iter().map(|Reverse(scored)| scored.candidate()).collect())
    }
}

impl Shelf {
    fn remove(&mut self, id: &str, dimensions: usize) {
        let Some(at) = self.places.remove(id) else { return };
        self.entries.swap_remove(at);
        if let Some(moved) = self.entries.get(at) {
            self.places.insert(moved.id.clone(), at);
        }
        let last = self.data.len() - dimensions;
        self.data.copy_within(last.., at * dimensions);
        self.data.truncate(last);
    }

    fn scan<'a>(
        &'a self,
        query: &[f32],
        filter: &Filter,
        limit: usize,
        best: &mut BinaryHeap<Reverse<Scored<'a>>>,
    ) {
        for (entry, vector) in self.entries.iter().zip(self.data.chunks_exact(query.len())) {
            let passes = filter.kind.as_ref().is_none_or(|kind| *kind == entry.kind)
                && filter.as_of.is_none_or(|as_of| entry.created_at <= as_of);
            if passes {
                best.push(Reverse(Scored { similarity: dot(query, vector), entry }));
                if best.len() > limit {
                    best.pop();
                }
            }
        }
    }
}

/// Eight running sums let the compiler use vector instructions; one sum would force it to add in order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0f32; 8];
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

/// A vector as it is stored: f32, little endian.
pub(super) fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The inverse of [`to_bytes`].
pub(super) fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect()
}

struct Scored<'a> {
    similarity: f32,
    entry: &'a Entry,
}

impl Scored<'_> {
    fn candidate(&self) -> Candidate {
        Candidate { id: self.entry.id.clone(), created_at: self.entry.created_at }
    }
}

impl Ord for Scored<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.similarity.total_cmp(&other.similarity).then_with(|| other.entry.id.cmp(&self.entry.id))
    }
}

impl PartialOrd for Scored<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scored<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, kind: &str, second: i64) -> Entry {
        Entry { id: id.into(), kind: kind.into(), created_at: Timestamp::from_second(second).unwrap() }
    }

    fn filled() -> Vectors {
        let mut vectors = Vectors::default();
        vectors.insert("m", "o/r", entry("east", "note", 1), &[1.0, 0.0]);
        vectors.insert("m", "O/R", entry("north", "change", 2), &[0.0, 1.0]);
        vectors.insert("m", "o/r", entry("between", "note", 3), &[0.8, 0.6]);
        vectors.insert("m", "o/other", entry("elsewhere", "note", 4), &[1.0, 0.0]);
        vectors
    }

    fn found(vectors: &Vectors, filter: &Filter, limit: usize) -> Vec<String> {
        vectors.nearest("m", &[1.0, 0.0], filter, limit).unwrap().into_iter().map(|c| c.id).collect()
    }

    fn in_repository() -> Filter {
        Filter { repository: Some("O/r".into()), ..Filter::default() }
    }

    #[test]
    fn nearest_first_within_the_filter() {
        let vectors = filled();
        assert_eq!(found(&vectors, &in_repository(), 9), ["east", "between", "north"]);
        assert_eq!(found(&vectors, &in_repository(), 1), ["east"]);
        assert_eq!(found(&vectors, &Filter { kind: Some("change".into()), ..in_repository() }, 9), ["north"]);
        let as_of = Timestamp::from_second(2).unwrap();
        assert_eq!(found(&vectors, &Filter { as_of: Some(as_of), ..in_repository() }, 9), ["east", "north"]);
        assert_eq!(found(&vectors, &Filter::default(), 2), ["east", "elsewhere"]);
    }

    #[test]
    fn removal_moves_the_last_vector_and_forgets_an_empty_model() {
        let mut vectors = filled();
        vectors.remove("o/r", "east");
        assert_eq!(found(&vectors, &in_repository(), 9), ["between", "north"]);
        for id in ["north", "between"] {
            vectors.remove("o/r", id);
        }
        assert_eq!(found(&vectors, &in_repository(), 9), [""; 0]);
        vectors.remove("o/other", "elsewhere");
        assert_eq!(vectors.dimensions("m"), None);
        assert_eq!(vectors.nearest("m", &[1.0, 0.0], &Filter::default(), 3), None);
    }

    #[test]
    fn another_length_is_neither_kept_nor_searched() {
        let mut vectors = filled();
        vectors.insert("m", "o/r", entry("long", "note", 5), &[1.0, 0.0, 0.0]);
        assert_eq!(found(&vectors, &in_repository(), 9).len(), 3);
        assert_eq!(vectors.nearest("m", &[1.0, 0.0, 0.0], &Filter::default(), 3), None);
        assert_eq!(vectors.nearest("unknown", &[1.0, 0.0], &Filter::default(), 3), None);
    }

    #[test]
    fn the_blocked_dot_product_agrees_with_the_plain_one() {
        let a: Vec<f32> = (0..19u8).map(f32::from).collect();
        let plain: f32 = a.iter().map(|x| x * x).sum();
        assert!((dot(&a, &a) - plain).abs() < 1e-3);
    }
}
