//! The value-free receipt: how many values each rule touched.

/// What happened to one value. Closed, so that a receipt can hold nothing but these names and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    AgeOver89,
    City,
    Code,
    CodeRefused,
    Country,
    Date,
    DateRefused,
    DeviceRemoved,
    DeviceToken,
    ExtraRemoved,
    IdentifierObservation,
    Listed,
    Null,
    Number,
    NumberRefused,
    ObservationRefused,
    PostalCode,
    Range,
    RangeRefused,
    RawRemoved,
    Reference,
    Removed,
    Request,
    SegmentRemoved,
    Sequence,
    State,
    SubId,
    Token,
    Verbatim,
    Year,
    YearOver89,
    YearRefused,
    Zip3,
}

impl Touch {
    const ALL: [(Self, &'static str); 33] = [
        (Self::AgeOver89, "age-over-89"),
        (Self::City, "city"),
        (Self::Code, "code"),
        (Self::CodeRefused, "code-refused"),
        (Self::Country, "country"),
        (Self::Date, "date"),
        (Self::DateRefused, "date-refused"),
        (Self::DeviceRemoved, "device-removed"),
        (Self::DeviceToken, "device-token"),
        (Self::ExtraRemoved, "extra-removed"),
        (Self::IdentifierObservation, "identifier-observation"),
        (Self::Listed, "listed"),
        (Self::Null, "null"),
        (Self::Number, "number"),
        (Self::NumberRefused, "number-refused"),
        (Self::ObservationRefused, "observation-refused"),
        (Self::PostalCode, "postal-code"),
        (Self::Range, "range"),
        (Self::RangeRefused, "range-refused"),
        (Self::RawRemoved, "raw-removed"),
        (Self::Reference, "reference"),
        (Self::Removed, "removed"),
        (Self::Request, "request"),
        (Self::SegmentRemoved, "segment-removed"),
        (Self::Sequence, "sequence"),
        (Self::State, "state"),
        (Self::SubId, "sub-id"),
        (Self::Token, "token"),
        (Self::Verbatim, "verbatim"),
        (Self::Year, "year"),
        (Self::YearOver89, "year-over-89"),
        (Self::YearRefused, "year-refused"),
        (Self::Zip3, "zip3"),
    ];
}

/// Counts of [`Touch`].
#[derive(Debug, Clone)]
pub(crate) struct Tally([u32; Touch::ALL.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; Touch::ALL.len()])
    }
}

impl Tally {
    pub(crate) fn count(&mut self, touch: Touch) {
        if let Some(count) = self.0.get_mut(touch as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// The receipt: what was counted at all, by name, sorted.
    pub(crate) fn receipt(&self) -> Vec<(String, u32)> {
        let counted = |(touch, name): &(Touch, &str)| {
            let count = self.0.get(*touch as usize).copied().unwrap_or_default();
            (count > 0).then(|| ((*name).to_owned(), count))
        };
        Touch::ALL.iter().filter_map(counted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_touch_has_its_own_name_in_order() {
        assert!(Touch::ALL.iter().enumerate().all(|(n, (touch, _))| *touch as usize == n));
        assert!(Touch::ALL.is_sorted_by_key(|(_, name)| *name));
        let mut tally = Tally::default();
        tally.count(Touch::Year);
        tally.count(Touch::Code);
        tally.count(Touch::Year);
        assert_eq!(tally.receipt(), [("code".into(), 1), ("year".into(), 2)]);
    }
}
