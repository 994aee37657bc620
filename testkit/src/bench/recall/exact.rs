//! The exact answer to "which vectors are nearest": every one is compared, in `f32`. Pure.

use super::texts::{dot, numbered, unit, vector};

/// For each question the numbers of the `most` memories, of those from 0 to `memories`, whose vectors are nearest.
pub(super) fn nearest(questions: &[String], memories: u64, most: usize) -> Vec<Vec<u64>> {
    let asked: Vec<Vec<f32>> = questions.iter().map(|question| unit(vector(question))).collect();
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let share = memories.div_ceil(threads);
    let parts: Vec<Vec<Best>> = std::thread::scope(|scope| {
        let part = |thread: u64| {
            let (asked, range) = (&asked, thread * share..((thread + 1) * share).min(memories));
            scope.spawn(move || scanned(asked, range, most))
        };
        let running: Vec<_> = (0..threads).map(part).collect();
        // A panic of a part is one of the whole.
        running.into_iter().filter_map(|part| part.join().ok()).collect()
    });
    let merged = |at: usize| {
        let mut best = Best::new(most);
        for (closeness, number) in parts.iter().flat_map(|part| &part[at].found) {
            best.offer(*closeness, *number);
        }
        best.found.into_iter().map(|(_, number)| number).collect()
    };
    (0..asked.len()).map(merged).collect()
}

/// The nearest so far, nearest first.
struct Best {
    most: usize,
    found: Vec<(f32, u64)>,
}

impl Best {
    fn new(most: usize) -> Self {
        Self { most, found: Vec::with_capacity(most + 1) }
    }

    fn offer(&mut self, closeness: f32, number: u64) {
        if self.found.len() == self.most && self.found.last().is_some_and(|(least, _)| closeness <= *least) {
            return;
        }
        let place = self.found.partition_point(|(other, _)| *other >= closeness);
        self.found.insert(place, (closeness, number));
        self.found.truncate(self.most);
    }
}

fn scanned(asked: &[Vec<f32>], numbers: std::ops::Range<u64>, most: usize) -> Vec<Best> {
    let mut all: Vec<Best> = asked.iter().map(|_| Best::new(most)).collect();
    for number in numbers {
        let vector = unit(numbered(number));
        for (best, asked) in all.iter_mut().zip(asked) {
            best.offer(dot(asked, &vector), number);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_those_with_the_largest_products() {
        let question = vec!["which one? ref-5".to_owned()];
        let found = nearest(&question, 40, 3).remove(0);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], 5, "a vector is nearest to itself");
        let asked = unit(vector(&question[0]));
        let mut all: Vec<u64> = (0..40).collect();
        all.sort_by(|one, other| {
            dot(&asked, &unit(numbered(*other))).total_cmp(&dot(&asked, &unit(numbered(*one))))
        });
        assert_eq!(found, all[..3]);
    }
}
