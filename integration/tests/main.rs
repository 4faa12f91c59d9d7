//! Conformance tests on real servers.
