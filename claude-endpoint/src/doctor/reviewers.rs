//! Who reviews: each that `REVIEWER` allows, until one can be asked.

use shared::doctor::{Finding, Status};

use crate::reviewer::Reviewers;

/// What is wrong with one that is not in use is worth no more than a warning.
pub(super) async fn examine(reviewers: &Reviewers, offline: bool) -> Vec<Finding> {
    let (mut found, mut is_chosen) = (Vec::new(), false);
    for candidate in reviewers.candidates() {
        let name = candidate.name();
        let looked = candidate.examine(offline).await;
        is_chosen = looked.iter().all(|one| one.status != Status::Fail);
        found
            .extend(looked.into_iter().map(|one| Finding { check: format!("{name}: {}", one.check), ..one }));
        if is_chosen {
            found.push(Finding::ok("in use", format!("{name}, {}", candidate.model())));
            break;
        }
    }
    if is_chosen {
        return found.into_iter().map(Finding::softened).collect();
    }
    let mend = match reviewers.hint() {
        "" => "mend what stands above, or set REVIEWER to another one".to_owned(),
        hint => format!("mend what stands above, {hint}"),
    };
    found.push(Finding::fail("in use", "nobody can be asked: events wait", mend));
    found
}
