//! Holds the conformance tests; see `tests/main.rs`.
