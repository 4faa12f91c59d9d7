//! The time of day, for windows.

use jiff::Timestamp;

/// What time it is. With the feature `mutations`, `SHADOWSWAP_CLOCK` says when the process began, so that tests need not wait for a night.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    if cfg!(feature = "mutations") { now.saturating_add(shift(now)).unwrap_or(now) } else { now }
}

fn shift(now: Timestamp) -> jiff::SignedDuration {
    static SHIFT: std::sync::OnceLock<jiff::SignedDuration> = std::sync::OnceLock::new();
    *SHIFT.get_or_init(|| {
        let said = std::env::var("SHADOWSWAP_CLOCK").ok().and_then(|text| text.parse::<Timestamp>().ok());
        said.map_or(jiff::SignedDuration::ZERO, |said| said.duration_since(now))
    })
}
