//! The vectors in RAM, one byte a number, scanned for what may be near; the stored ones then decide. Rebuilt from the
//! stored rows on start, kept current on every write. Pure.
//!
//! A scan of 768 numbers a vector reads a quarter of the memory that the vectors themselves would, and misses nearly
//! nothing when the exact order is made from some more candidates than were asked for.

mod quantised;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use self::quantised::{Codes, Probe};
use super::VectorModel;

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

/// The vectors of one repository: entry `i` owns the codes at `i`.
#[derive(Debug)]
struct Shelf {
    entries: Vec<Entry>,
    codes: Codes,
    places: HashMap<i64, usize>,
}

/// Whose vector it is, and where it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The memory's position.
    pub(super) position: i64,
    /// The stored vector's row.
    pub(super) row: i64,
}

/// What a scan found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Near {
    pub(super) entry: Entry,
    /// The cosine, as near as one byte a number can tell.
    pub(super) about: f32,
}

/// What a write did to the vectors.
#[derive(Debug)]
pub(super) enum Change {
    /// A memory was embedded.
    Added { model: String, repository: String, entry: Entry, vector: Vec<f32> },
    /// A memory was deleted, or says something else now.
    Removed { repository: String, position: i64 },
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
            Change::Removed { repository, position } => self.remove(&repository, position),
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
        let dimensions = model.dimensions;
        let shelf = model.shelves.entry(repository.to_lowercase()).or_insert_with(|| Shelf::new(dimensions));
        shelf.remove(entry.position);
        shelf.places.insert(entry.position, shelf.entries.len());
        shelf.entries.push(entry);
        shelf.codes.push(vector);
    }

    /// Removes the vectors of a memory.
    fn remove(&mut self, repository: &str, position: i64) {
        for model in self.models.values_mut() {
            if let Some(shelf) = model.shelves.get_mut(&repository.to_lowercase()) {
                shelf.remove(position);
            }
            model.shelves.retain(|_, shelf| !shelf.entries.is_empty());
        }
        self.models.retain(|_, model| !model.shelves.is_empty());
    }

    /// The models there are vectors of, by name.
    pub(super) fn models(&self) -> Vec<VectorModel> {
        let mut models: Vec<VectorModel> = self
            .models
            .iter()
            .map(|(name, model)| VectorModel {
                model: name.clone(),
                dimensions: model.dimensions,
                vectors: model.shelves.values().map(|shelf| shelf.entries.len()).sum(),
            })
            .collect();
        models.sort_by(|a, b| a.model.cmp(&b.model));
        models
    }

    /// About the `limit` entries nearest to `query` by dot product (all vectors have norm 1), best first; of one
    /// repository, and only of the memories at `wanted`, where that is given.
    pub(super) fn near(
        &self,
        model: &str,
        query: &[f32],
        repository: Option<&str>,
        wanted: Option<&HashSet<i64>>,
        limit: usize,
    ) -> Option<Vec<Near>> {
        let model = self.models.get(model).filter(|model| model.dimensions == query.len())?;
        let probe = Probe::new(query);
        let repository = repository.map(str::to_lowercase);
        let mut best = Best { limit, heap: BinaryHeap::with_capacity(limit + 1) };
        for (name, shelf) in &model.shelves {
            if repository.as_ref().is_none_or(|repository| repository == name) {
                shelf.scan(&probe, wanted, &mut best);
            }
        }
        Some(best.heap.into_sorted_vec().into_iter().map(|Reverse(scored)| scored.0).collect())
    }
}

impl Shelf {
    fn new(dimensions: usize) -> Self {
        Self { entries: Vec::new(), codes: Codes::new(dimensions), places: HashMap::new() }
    }

    fn remove(&mut self, position: i64) {
        let Some(at) = self.places.remove(&position) else { return };
        self.entries.swap_remove(at);
        self.codes.swap_remove(at);
        if let Some(moved) = self.entries.get(at) {
            self.places.insert(moved.position, at);
        }
    }

    fn scan(&self, probe: &Probe, wanted: Option<&HashSet<i64>>, best: &mut Best) {
        self.codes.scan(probe, |at, about| {
            if about > best.least()
                && let Some(entry) = self.entries.get(at)
                && wanted.is_none_or(|wanted| wanted.contains(&entry.position))
            {
                best.take(Near { entry: *entry, about });
            }
        });
    }
}

/// The best so far, the least of them on top.
struct Best {
    limit: usize,
    heap: BinaryHeap<Reverse<Scored>>,
}

impl Best {
    /// What the next one must be better than.
    fn least(&self) -> f32 {
        if self.heap.len() < self.limit {
            return f32::NEG_INFINITY;
        }
        self.heap.peek().map_or(f32::INFINITY, |Reverse(scored)| scored.0.about)
    }

    fn take(&mut self, near: Near) {
        self.heap.push(Reverse(Scored(near)));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }
}

#[derive(Debug)]
struct Scored(Near);

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0
            .about
            .total_cmp(&other.0.about)
            .then_with(|| other.0.entry.position.cmp(&self.0.entry.position))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scored {}

/// Eight running sums let the compiler use vector instructions; one sum would force it to add in order.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
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
