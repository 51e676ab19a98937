//! Date shift: all dates of one patient at one destination move by the same whole number of days.
//!
//! **Promise.** The shift is from 1 to [`SHIFT_DAYS_MAX`] days, forwards or backwards, never none; each of these
//! [`CHOICES`] is as likely as any other. It depends on the key of the destination and on the patient alone, so intervals
//! survive across messages, feeds and formats; the shifts of two patients, and those of one patient at two
//! destinations, tell nothing of each other. Times of day stay.
//!
//! **How.** HMAC-SHA-256 under the destination's key over the patient ([`crate::patient`]) and a counter gives words of 32
//! bits; the first below the largest multiple of [`CHOICES`] is taken modulo [`CHOICES`] (rejection sampling, so that no
//! shift is likelier). A hash that is linear in the patient's number would give every shift to who knows two.
//!
//! **Residual.** Who gets a record minutes after its event knows its day; a shift protects data that is read later, and of
//! which the arrival is not told ([`crate::Policy`] refuses to let a true date stand beside shifted ones).

use aws_lc_rs::hmac;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::patient::Patient;

/// Most days by which a date moves, either way.
pub const SHIFT_DAYS_MAX: u16 = 365;
/// How many shifts there are.
const CHOICES: u32 = 2 * SHIFT_DAYS_MAX as u32;

/// Days by which dates of a patient move; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shift(i16);

impl Shift {
    pub(crate) const fn days(self) -> i16 {
        self.0
    }

    /// From 0 to [`CHOICES`] - 1: from the longest way back to the longest forwards, without 0.
    fn of_choice(choice: u32) -> Self {
        let steps = i16::try_from(choice % CHOICES).unwrap_or(0) - SHIFT_DAYS_MAX.cast_signed();
        Self(if steps < 0 { steps } else { steps + 1 })
    }
}

/// The key of one destination. Zeroized on drop; `Debug` does not show it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct ShiftKey([u8; 32]);

impl ShiftKey {
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The shift of a patient.
    pub(crate) fn shift(&self, patient: &Patient) -> Shift {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut counter = 0_u32;
        loop {
            let mut mac = hmac::Context::with_key(&key);
            for part in [patient.authority(), patient.id(), &counter.to_be_bytes()] {
                mac.update(&(part.len() as u64).to_be_bytes());
                mac.update(part);
            }
            let tag = mac.sign();
            let (words, _) = tag.as_ref().as_chunks::<4>();
            // Eight words miss once in 10^54 patients.
            if let Some(choice) = words.iter().find_map(|word| taken(u32::from_be_bytes(*word))) {
                return Shift::of_choice(choice);
            }
            counter = counter.wrapping_add(1);
        }
    }
}

/// A word that favours no choice.
const fn taken(word: u32) -> Option<u32> {
    if word < u32::MAX - u32::MAX % CHOICES { Some(word % CHOICES) } else { None }
}

impl std::fmt::Debug for ShiftKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShiftKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patients of a hospital: numbers in a row.
    const PATIENTS: u32 = 73_000;
    /// So many standard deviations from its mean may a statistic of chance be: once in 10^9 tests.
    const SIGMAS: f64 = 6.0;

    fn patient(number: u32) -> Patient {
        Patient::new(b"MERCY".to_vec(), format!("{:07}", 1_000_000 + number).into_bytes())
    }

    fn place(shift: Shift) -> u32 {
        let days = i32::from(shift.days());
        u32::try_from(if days < 0 { days + 365 } else { days + 364 }).unwrap()
    }

    /// What is wrong with a way to shift, in the eyes of a chi-squared test of places modulo [`CHOICES`]: the shifts
    /// themselves; the difference of each patient's and the next one's; that of a patient's at two destinations; that of
    /// the next one's at another destination.
    fn flaws(shift: impl Fn(u32, u32) -> u32) -> Vec<&'static str> {
        let apart = |a: u32, b: u32| (a + CHOICES - b) % CHOICES;
        let tests: [(&str, &dyn Fn(u32) -> u32); 4] = [
            ("uneven", &|n| shift(0, n)),
            ("neighbours", &|n| apart(shift(0, n + 1), shift(0, n))),
            ("destinations", &|n| apart(shift(1, n), shift(0, n))),
            ("neighbours at destinations", &|n| apart(shift(1, n + 1), shift(0, n))),
        ];
        let is_odd = |place: &dyn Fn(u32) -> u32| {
            let mut counts = vec![0_u32; CHOICES as usize];
            (0..PATIENTS).for_each(|n| counts[place(n) as usize] += 1);
            let expected = f64::from(PATIENTS) / f64::from(CHOICES);
            let chi: f64 = counts.iter().map(|c| (f64::from(*c) - expected).powi(2) / expected).sum();
            let freedom = f64::from(CHOICES - 1);
            (chi - freedom).abs() > SIGMAS * (2.0 * freedom).sqrt()
        };
        tests.into_iter().filter(|(_, place)| is_odd(place)).map(|(name, _)| name).collect()
    }

    /// Places of the patients' shifts at two destinations.
    fn places() -> [Vec<u32>; 2] {
        [3, 4].map(|key| {
            let key = ShiftKey::new([key; 32]);
            (0..=PATIENTS).map(|n| place(key.shift(&patient(n)))).collect()
        })
    }

    #[test]
    fn shifts_tell_nothing_of_each_other() {
        let places = places();
        assert_eq!(flaws(|destination, n| places[destination as usize][n as usize]), [""; 0]);
    }

    /// The test above would notice each of these.
    #[test]
    fn ways_to_shift_that_correlate_are_found() {
        let places = places();
        let good = |destination: u32, n: u32| places[destination as usize][n as usize];
        // Linear in the patient's number.
        assert!(flaws(|d, n| (n * 7 + d * 100) % CHOICES).contains(&"neighbours"));
        // One shift at all destinations, and one that is only moved.
        assert!(flaws(|_, n| good(0, n)).contains(&"destinations"));
        assert!(flaws(|d, n| (good(0, n) + d * 11) % CHOICES).contains(&"destinations"));
        // A word of ten bits without rejection: the lower choices come twice.
        assert!(flaws(|d, n| (good(d, n) + CHOICES * (n % 2)) % 1024 % CHOICES).contains(&"uneven"));
        // By the last digits of the number.
        assert!(flaws(|d, n| good(d, n % 100)).contains(&"uneven"));
        // The next patient's at the next destination.
        assert!(flaws(|d, n| good(0, (n + 1 - d) % PATIENTS)).contains(&"neighbours at destinations"));
    }

    #[test]
    fn every_shift_is_taken_and_none_is_no_shift() {
        let days: Vec<i16> = (0..CHOICES).map(|choice| Shift::of_choice(choice).days()).collect();
        assert_eq!((days[0], days[364], days[365], days[729]), (-365, -1, 1, 365));
        assert!(days.is_sorted() && !days.contains(&0));
        assert_eq!(taken(u32::MAX), None, "a word at the end favours the lower choices");
        assert_eq!(taken(CHOICES + 3), Some(3));
    }

    #[test]
    fn a_shift_is_of_patient_and_authority() {
        let key = ShiftKey::new([3; 32]);
        let of = |authority: &str, id: &str| {
            let patient = Patient::new(authority.into(), id.into());
            (0..4_u8).map(|n| ShiftKey::new([n; 32]).shift(&patient).days()).collect::<Vec<_>>()
        };
        assert_eq!(of("A", "12"), of("A", "12"));
        for other in [of("A1", "2"), of("", "A12"), of("a", "12"), of("B", "12"), of("A", "13")] {
            assert_ne!(of("A", "12"), other);
        }
        assert_eq!(format!("{key:?}"), "ShiftKey(redacted)");
    }
}
