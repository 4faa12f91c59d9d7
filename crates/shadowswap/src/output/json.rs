//! JSON for machines: one object a line, with one key that says what it is.
//!
//! `{"plan": …}`, `{"progress": …}`, `{"report": …}`, `{"status": […]}`, `{"told": …}`, `{"checked": …}`, `{"error": …}`.

use serde::Serialize;

/// `{"name": value}` in one line.
pub fn named(name: &str, value: &impl Serialize) -> String {
    // Our types have only text keys, so that they cannot fail; an answer in the agreed form is better than a panic even so.
    match serde_json::to_value(value) {
        Ok(value) => serde_json::json!({ name: value }).to_string(),
        Err(e) => serde_json::json!({ "error": { "message": format!("{name} could not be written: {e}") } })
            .to_string(),
    }
}
