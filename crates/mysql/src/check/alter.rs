//! What the bodies of ALTER TABLE may not do, as far as their words show it; the rest shows on the twin.

use crate::{alter, alter::Body};
use shadowswap_core::{
    error::Result,
    plan::{Finding, Request},
};

/// Reads all bodies.
///
/// # Errors
/// `Usage` if one cannot be read.
pub fn read(request: &Request) -> Result<Vec<Body>> {
    request.alters.iter().map(|body| alter::read(body)).collect()
}

/// What is never carried out.
pub fn refused(bodies: &[Body]) -> Vec<Finding> {
    bodies.iter().flat_map(|b| &b.refused).map(|(what, next)| Finding::refused("alter", what, next)).collect()
}

/// A value given twice.
pub fn duplicates(request: &Request) -> Vec<Finding> {
    let sets = request.sets.iter().enumerate();
    let twice = sets.filter(|(n, (name, _))| {
        request.sets.iter().take(*n).any(|(other, _)| crate::catalog::same_name(other.trim(), name.trim()))
    });
    twice
        .map(|(_, (name, _))| {
            Finding::refused("columns", format!("--set {name} is given twice"), "leave one out")
        })
        .collect()
}
