//! What the bodies of ALTER TABLE may not do, as far as their words show it; the rest shows on the twin.

use crate::{alter, alter::Body};
use shadowswap_core::{
    error::Result,
    plan::{Finding, Request},
};

/// Reads all bodies.
pub fn read(request: &Request) -> Result<Vec<Body>> {
    request.alters.iter().map(|body| alter::read(body)).collect()
}

/// Foreign keys cannot even be tried: a temporary table cannot have them.
pub fn references(bodies: &[Body]) -> Vec<Finding> {
    let adding = bodies.iter().filter(|b| b.has_references);
    adding
        .map(|body| {
            let next = "add it after the run, with NOT VALID and then VALIDATE CONSTRAINT: neither blocks writers for long";
            Finding::refused("alter", format!("`{}` adds a foreign key", body.text), next)
        })
        .collect()
}

/// What a shadow cannot follow.
pub fn restarts(bodies: &[Body]) -> Vec<Finding> {
    let restarting = bodies.iter().filter(|b| b.has_restart);
    restarting
        .map(|body| {
            let message = format!(
                "`{}` restarts a sequence; the new table's goes on where the present one is",
                body.text
            );
            Finding::refused(
                "alter",
                message,
                "run ALTER TABLE … RESTART by itself: it changes only the sequence",
            )
        })
        .collect()
}

/// A value given twice.
pub fn duplicates(request: &Request) -> Vec<Finding> {
    let sets = request.sets.iter().enumerate();
    let twice = sets.filter(|(n, (name, _))| request.sets.iter().take(*n).any(|(other, _)| other == name));
    twice
        .map(|(_, (name, _))| {
            Finding::refused("columns", format!("--set {name} is given twice"), "leave one out")
        })
        .collect()
}
