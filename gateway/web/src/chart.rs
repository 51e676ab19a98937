//! A small chart: a line over its area, drawn by the server.

use maud::{Markup, html};

const WIDTH: u64 = 240;
const HEIGHT: u64 = 88;

/// `values` from left (oldest) to right (now), `places` of them across the width, and the same in words for
/// who does not see it. Fewer than two values make a base line.
pub(crate) fn spark(values: &[u64], places: usize, words: &str) -> Markup {
    let top = values.iter().copied().max().unwrap_or(0).max(1);
    let step = WIDTH as f64 / (places.max(2) - 1) as f64;
    let missing = places.saturating_sub(values.len());
    let points: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(place, value)| {
            let x = (missing + place) as f64 * step;
            let y = (HEIGHT - 2) as f64 * (1.0 - *value as f64 / top as f64) + 1.0;
            format!("{x:.0} {y:.0}")
        })
        .collect();
    let line = format!("M{}", points.join("L"));
    let area = format!("{line}L{WIDTH} {HEIGHT}L{:.0} {HEIGHT}Z", missing as f64 * step);
    html! {
        svg.spark viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(words) {
            path.spark-base d={ "M0 " (HEIGHT - 1) "H" (WIDTH) } {}
            @if values.len() > 1 {
                path.spark-area d=(area) {}
                path.spark-line d=(line) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_inside_and_says_it_in_words() {
        let one = spark(&[5], 60, "nothing yet").into_string();
        assert!(one.contains(r#"aria-label="nothing yet""#) && !one.contains("spark-line"));
        let full = spark(&[0, 10, 5], 3, "a").into_string();
        assert!(full.contains("M0 87L120 1L240 44"), "{full}");
        let absurd = spark(&[u64::MAX, 0], 60, "a").into_string();
        assert!(!absurd.contains("NaN") && !absurd.contains("inf"), "{absurd}");
    }
}
