//! The simulation: the core's runner, feed, applier, copiers, verifier and cutover, as they are, over a model of a server.
//!
//! One seed decides everything: the rows, what clients write, what the server is like, how long everything takes, what goes wrong and when.
//! One thread, the runtime's clock paused: a run of minutes takes milliseconds, and the same seed gives the same run. For that the
//! runtime's own choices (`select!`, the order in which watchers wake) are seeded too, which tokio offers only with `--cfg tokio_unstable`:
//! `scripts/simulate` and `scripts/test` set it. The change log stays in memory: its thread has nothing to do then.
//!
//! The model shows a commit to new readers some time after the stream has delivered it, loses answers, lets statements go on whose client is
//! gone, restarts, refuses room, and has runners crash at any of their calls, and several of them at once. See `world.rs`, `server.rs`,
//! `weather.rs`. What must hold is in `oracle.rs`: at each swap both tables hold exactly what clients have committed; nobody is kept out for
//! longer than the budget; how a runner ends makes sense; and once the trouble is over the run comes to its end.

#![expect(clippy::unwrap_used, reason = "tests")]

mod chance;
mod clients;
mod control;
mod cutover;
mod engine;
mod oracle;
mod scenario;
mod seeds;
mod server;
mod session;
mod stream;
mod weather;
mod world;
