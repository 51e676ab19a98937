//! A median with its spread. Means are not used: one hiccup of a shared disk would decide them.

use serde_json::{Value, json};

/// Of a few runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// Half of the runs lie between these two.
    pub(crate) quartiles: (f64, f64),
    pub(crate) runs: usize,
}

impl Spread {
    /// Of these values; 0 of none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: quantile(&sorted, 0.5),
            quartiles: (quantile(&sorted, 0.25), quantile(&sorted, 0.75)),
            runs: sorted.len(),
        }
    }

    pub(crate) fn json(self) -> Value {
        let (low, high) = self.quartiles;
        json!({ "median": self.median, "q1": low, "q3": high, "runs": self.runs })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = if self.median < 100.0 { 2 } else { 0 };
        let (low, high) = self.quartiles;
        write!(f, "{:>10.digits$}   [{low:.digits$} … {high:.digits$}]", self.median)
    }
}

/// By linear interpolation between the two nearest; 0 of nothing.
pub(crate) fn quantile(sorted: &[f64], at: f64) -> f64 {
    let place = at * sorted.len().saturating_sub(1) as f64;
    let value = |index: f64| sorted.get(index as usize).copied().unwrap_or(0.0);
    let (below, above) = (value(place.floor()), value(place.ceil()));
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.median, spread.quartiles, spread.runs), (2.5, (1.75, 3.25), 4));
        assert_eq!(Spread::of([7.0]).quartiles, (7.0, 7.0));
        assert_eq!(Spread::of([]).median, 0.0);
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 0.99), 2.98);
    }
}
