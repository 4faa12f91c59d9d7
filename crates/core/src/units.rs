//! Durations, sizes and numbers: as people type them and as they read them.

use std::time::Duration;

const DURATIONS: [(&str, f64); 6] =
    [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];
const SIZES: [(&str, u64); 13] = [
    ("B", 1),
    ("K", 1 << 10),
    ("KiB", 1 << 10),
    ("KB", 1000),
    ("M", 1 << 20),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("G", 1 << 30),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("T", 1 << 40),
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
];
/// A year: longer is a slip of the finger, and adding it to a clock must never overflow.
const DURATION_MAX: Duration = Duration::from_secs(366 * 86_400);

/// `50ms`, `1.5s`, `10m`, `24h`.
///
/// # Errors
/// Says what is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write it like 50ms, 1.5s, 10m or 24h");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let (_, seconds) = DURATIONS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let duration = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    if duration > DURATION_MAX {
        return Err(format!("{text:?} is longer than a year"));
    }
    Ok(duration)
}

/// `8MiB`, `64GiB`, `512K` (powers of two), `100MB` (powers of ten).
///
/// # Errors
/// Says what is wrong with the text.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size; write it like 512KiB, 8MiB or 64GiB");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let (_, bytes) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?;
    let size = number * *bytes as f64;
    // Exact up to 2^53, which is 8 PiB.
    if size >= 2_f64.powi(53) { Err(format!("{text:?} is too large")) } else { Ok(size.round() as u64) }
}

/// A plain number and its unit; nothing else, no sign, no exponent.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// The shortest text that [`duration`] reads back: `50ms`, `1.5s`, `10m`.
pub fn duration_text(duration: Duration) -> String {
    let (micros, seconds) = (duration.as_micros(), duration.as_secs());
    let whole = duration.subsec_nanos() == 0 && seconds > 0;
    match () {
        () if micros == 0 => "0s".to_string(),
        () if whole && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        () if whole && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        () if whole => format!("{seconds}s"),
        () if micros % 1000 != 0 => format!("{micros}us"),
        () if seconds > 0 => format!("{}s", duration.as_secs_f64()),
        () => format!("{}ms", micros / 1000),
    }
}

/// The shortest text that [`size`] reads back.
pub fn size_text(bytes: u64) -> String {
    let units = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// A size for people: `3.4 GiB`.
pub fn human_bytes(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((name, shift)) => {
            let value = bytes as f64 / (1_u64 << shift) as f64;
            if value < 10.0 { format!("{value:.1} {name}") } else { format!("{value:.0} {name}") }
        }
        None => format!("{bytes} B"),
    }
}

/// A number for people: `1,234,567`.
pub fn human_count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate or another number that is never negative, rounded, for people.
pub fn human_rate(n: f64) -> String {
    human_count(n.max(0.0).round() as u64)
}

/// A time for people, from milliseconds: `0.8 ms`, `40 ms`, `1.2 s`, `3 min 4 s`, `2 h 5 min`, `3 d 4 h`.
pub fn human_ms(ms: f64) -> String {
    if ms < 10.0 {
        return format!("{:.1} ms", ms.max(0.0));
    }
    if ms < 1000.0 {
        return format!("{ms:.0} ms");
    }
    if ms < 60_000.0 {
        return if ms < 10_000.0 { format!("{:.1} s", ms / 1e3) } else { format!("{:.0} s", ms / 1e3) };
    }
    let seconds = (ms / 1e3).round() as u64;
    let (large, small, names) = match seconds {
        0..3600 => (seconds / 60, seconds % 60, ("min", "s")),
        3600..86_400 => (seconds / 3600, seconds % 3600 / 60, ("h", "min")),
        86_400.. => (seconds / 86_400, seconds % 86_400 / 3600, ("d", "h")),
    };
    if small == 0 {
        format!("{large} {}", names.0)
    } else {
        format!("{large} {} {small} {}", names.0, names.1)
    }
}

/// A time for people, from seconds; whole seconds below a minute.
pub fn human_seconds(seconds: f64) -> String {
    if seconds < 60.0 { format!("{:.0} s", seconds.max(0.0)) } else { human_ms(seconds * 1e3) }
}

/// `1 row`, `2 rows`.
pub fn plural(n: u64, one: &str) -> String {
    format!("{} {one}{}", human_count(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_type_them() {
        for (text, ms) in [
            ("50ms", 50.0),
            ("1.5s", 1500.0),
            ("10m", 600_000.0),
            ("24h", 86_400_000.0),
            ("250us", 0.25),
            ("2 s", 2000.0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(ms / 1e3)), "{text}");
        }
        for text in ["", "50", "ms", "-1s", "1e3s", "1.2.3s", "5 parsecs", "1s 5ms", "99999999999d", "∞s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("800d").unwrap_err().contains("a year"));
    }

    #[test]
    fn sizes_are_read_as_people_type_them() {
        for (text, bytes) in [
            ("8MiB", 8 << 20),
            ("64GiB", 64 << 30),
            ("1.5 kib", 1536),
            ("100MB", 100_000_000),
            ("512K", 512 << 10),
            ("7B", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "8", "MiB", "-1MiB", "8 MiBs", "9000000TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn defaults_come_back_from_their_own_text() {
        for ms in [0, 50, 200, 1500, 10_000, 600_000, 86_400_000, 90_000] {
            let d = Duration::from_millis(ms);
            assert_eq!(duration(&duration_text(d)), Ok(d), "{}", duration_text(d));
        }
        assert_eq!(
            duration(&duration_text(Duration::from_micros(1_000_250))),
            Ok(Duration::from_micros(1_000_250))
        );
        for bytes in [0, 1, 1024, 8 << 20, 64 << 30, 1_000_000] {
            assert_eq!(size(&size_text(bytes)), Ok(bytes));
        }
        assert_eq!(duration_text(Duration::from_millis(1500)), "1.5s");
        assert_eq!(size_text(8 << 20), "8MiB");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(human_count(1_234_567), "1,234,567");
        assert_eq!(human_count(123), "123");
        assert_eq!(human_bytes(3_650_722_201), "3.4 GiB");
        assert_eq!(human_bytes(512), "512 B");
        let texts =
            [0.84, 40.0, 1234.0, 59_900.0, 60_000.0, 184_000.0, 7_500_000.0, 90_000_000.0].map(human_ms);
        assert_eq!(texts, ["0.8 ms", "40 ms", "1.2 s", "60 s", "1 min", "3 min 4 s", "2 h 5 min", "1 d 1 h"]);
        assert_eq!((plural(1, "row"), plural(2, "row")), ("1 row".into(), "2 rows".into()));
    }
}
