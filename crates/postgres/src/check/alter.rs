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

/// Words that a shadow cannot follow.
pub fn bodies(bodies: &[Body]) -> Vec<Finding> {
    let mut found = Vec::new();
    for body in bodies {
        if body.has_references {
            found.push(Finding::refused(
                "alter",
                format!("`{}` adds a foreign key", body.text),
                "add it after the run, with NOT VALID and then VALIDATE CONSTRAINT: neither blocks writers for long",
            ));
        }
        if body.has_restart {
            found.push(Finding::refused(
                "alter",
                format!(
                    "`{}` restarts a sequence; the new table's goes on where the present one is",
                    body.text
                ),
                "run ALTER TABLE … RESTART by itself: it changes only the sequence",
            ));
        }
    }
    found
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
