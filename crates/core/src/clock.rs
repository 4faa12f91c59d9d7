//! The time of day, for windows and for people. How long something takes is asked of [`tokio::time::Instant`] everywhere, so that a
//! simulation can move time.

use jiff::Timestamp;

/// What time it is by this machine's clock; in a simulation, by the runtime's.
pub fn real() -> Timestamp {
    #[cfg(feature = "simulation")]
    if let Some(now) = crate::mutations::simulated_time() {
        return now;
    }
    Timestamp::now()
}

/// What time windows go by. With the feature `mutations`, `SHADOWSWAP_CLOCK` says when the process began, so that tests need not wait for
/// a night.
pub fn now() -> Timestamp {
    let now = real();
    if cfg!(feature = "mutations") { now.saturating_add(shift(now)).unwrap_or(now) } else { now }
}

fn shift(now: Timestamp) -> jiff::SignedDuration {
    static SHIFT: std::sync::OnceLock<jiff::SignedDuration> = std::sync::OnceLock::new();
    *SHIFT.get_or_init(|| {
        let said = std::env::var("SHADOWSWAP_CLOCK").ok().and_then(|text| text.parse::<Timestamp>().ok());
        said.map_or(jiff::SignedDuration::ZERO, |said| said.duration_since(now))
    })
}
