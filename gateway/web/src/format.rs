//! Numbers, sizes and times as people read them.

use maud::{Markup, html};
use model::Timestamp;

/// `1,204,332`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 record`, `1,204 records`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// `4.1 MB`, in powers of ten as disks are sold.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let (mut value, mut shown) = (n as f64 / 1000.0, "kB");
    for unit in UNITS {
        shown = unit;
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
    }
    if value < 9.95 { format!("{value:.1} {shown}") } else { format!("{value:.0} {shown}") }
}

/// `12 s`, `3 min`, `2 h 5 min`, `3 d 4 h`: two units at most.
pub(crate) fn age(seconds: u64) -> String {
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{big} {big_unit}")
        } else {
            format!("{big} {big_unit} {small} {small_unit}")
        }
    };
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => two(seconds / 60, "min", 0, ""),
        3600..=86_399 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// Date and time to the second in UTC, readable by programs too.
pub(crate) fn when(at: Timestamp) -> Markup {
    let text = at.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let time = time.split('.').next().unwrap_or("");
    html! { time datetime=(text) { (date) " " (time) " UTC" } }
}

/// The date in UTC.
pub(crate) fn date(at: Timestamp) -> String {
    at.to_string().chars().take_while(|c| *c != 'T').collect()
}

/// The date, readable by programs too.
pub(crate) fn day(at: Timestamp) -> Markup {
    let date = date(at);
    html! { time datetime=(date) { (date) } }
}

/// A share in percent, 0 to 100; of nothing, 0.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    u64::try_from((u128::from(part) * 100).checked_div(u128::from(whole)).unwrap_or(0).min(100))
        .unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_204_332, "1,204,332")] {
            assert_eq!(count(n), text);
        }
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (4_123_456, "4.1 MB"),
            (99_000_000_000, "99 GB"),
            (999_499, "999 kB"),
            (999_600, "1.0 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        for (s, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (7500, "2 h 5 min"),
            (86_400, "1 d"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(age(s), text);
        }
        let at: Timestamp = "2026-11-24T08:30:00.25Z".parse().unwrap();
        assert_eq!(
            when(at).into_string(),
            r#"<time datetime="2026-11-24T08:30:00.250000Z">2026-11-24 08:30:00 UTC</time>"#
        );
        assert_eq!(day(at).into_string(), r#"<time datetime="2026-11-24">2026-11-24</time>"#);
        assert_eq!(
            (percent(1, 3), percent(5, 0), percent(9, 3), percent(u64::MAX, u64::MAX)),
            (33, 0, 100, 100)
        );
    }
}
