//! shadowswap changes the schema of a large, hot table without anybody noticing.
fn main() {}
