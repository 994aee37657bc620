//! Vectors of one byte a number: each is scaled so that its largest number becomes 127.

use pulp::{Arch, NullaryFnOnce};

/// The largest code; the smallest is its negative.
const LARGEST: f32 = 127.0;

/// Vectors of one length, one after the other.
#[derive(Debug)]
pub(super) struct Codes {
    dimensions: usize,
    codes: Vec<i8>,
    scales: Vec<f32>,
}

/// A question's vector, coded like those that it is compared with.
#[derive(Debug)]
pub(super) struct Probe {
    codes: Vec<i8>,
    scale: f32,
}

impl Probe {
    pub(super) fn new(vector: &[f32]) -> Self {
        let scale = scale(vector);
        Self { codes: coded(vector, scale).collect(), scale }
    }
}

impl Codes {
    pub(super) fn new(dimensions: usize) -> Self {
        Self { dimensions, codes: Vec::new(), scales: Vec::new() }
    }

    pub(super) fn push(&mut self, vector: &[f32]) {
        let scale = scale(vector);
        self.codes.extend(coded(vector, scale));
        self.scales.push(scale);
    }

    /// Removes the vector at `at`; the last one takes its place.
    pub(super) fn swap_remove(&mut self, at: usize) {
        let last = self.codes.len() - self.dimensions;
        self.codes.copy_within(last.., at * self.dimensions);
        self.codes.truncate(last);
        self.scales.swap_remove(at);
    }

    /// Calls `found` with the place and the dot product of each vector, in order.
    pub(super) fn scan(&self, probe: &Probe, found: impl FnMut(usize, f32)) {
        // The widest instructions that this machine has; the build asks for none of them.
        Arch::new().dispatch(Scan { codes: self, probe, found });
    }
}

struct Scan<'a, F> {
    codes: &'a Codes,
    probe: &'a Probe,
    found: F,
}

impl<F: FnMut(usize, f32)> NullaryFnOnce for Scan<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { codes, probe, mut found } = self;
        let vectors = codes.codes.chunks_exact(codes.dimensions);
        for (at, (vector, scale)) in vectors.zip(&codes.scales).enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "far below what a byte loses")]
            found(at, dot(&probe.codes, vector) as f32 * probe.scale * scale);
        }
    }
}

/// Exact for up to 133,000 numbers.
#[inline(always)]
fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(x, y)| i32::from(i16::from(*x) * i16::from(*y))).sum()
}

/// What one step of the code is worth.
fn scale(vector: &[f32]) -> f32 {
    let largest = vector.iter().fold(0.0f32, |largest, number| largest.max(number.abs()));
    if largest > 0.0 { largest / LARGEST } else { 1.0 }
}

fn coded(vector: &[f32], scale: f32) -> impl Iterator<Item = i8> {
    #[expect(clippy::cast_possible_truncation, reason = "it is between -127 and 127")]
    vector.iter().map(move |number| (number / scale).round() as i8)
}
