//! Numbers as devices write them: integers of either byte order, and the 16-bit decimal float of
//! ISO/IEEE 11073-20601 (SFLOAT; `medfloat16` in Bluetooth documents).

use schemars::JsonSchema;
use serde::Deserialize;

/// How a field is written. The name says width and byte order: `u24le` is three bytes, least significant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    U8,
    I8,
    U16le,
    U16be,
    I16le,
    I16be,
    U24le,
    U24be,
    U32le,
    U32be,
    I32le,
    I32be,
    Sfloat16le,
    Sfloat16be,
}

/// A number as read, before scale and codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raw {
    Integer(i64),
    Decimal(Sfloat),
}

impl Kind {
    /// Bytes on the wire: 1 to 4.
    pub(crate) const fn width(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16le | Self::U16be | Self::I16le | Self::I16be | Self::Sfloat16le | Self::Sfloat16be => 2,
            Self::U24le | Self::U24be => 3,
            Self::U32le | Self::U32be | Self::I32le | Self::I32be => 4,
        }
    }

    /// Whether its bits can be tested by a condition: unsigned integers alone.
    pub(crate) const fn has_bits(self) -> bool {
        matches!(
            self,
            Self::U8 | Self::U16le | Self::U16be | Self::U24le | Self::U24be | Self::U32le | Self::U32be
        )
    }

    const fn is_big_endian(self) -> bool {
        matches!(self, Self::U16be | Self::I16be | Self::U24be | Self::U32be | Self::I32be | Self::Sfloat16be)
    }

    /// Reads the number from exactly [`Kind::width`] bytes.
    pub(crate) fn read(self, bytes: &[u8]) -> Raw {
        let place = |value: u32, byte: &u8| (value << 8) | u32::from(*byte);
        let bits = if self.is_big_endian() {
            bytes.iter().fold(0, place)
        } else {
            bytes.iter().rev().fold(0, place)
        };
        match self {
            Self::I8 => Raw::Integer(i64::from((bits & 0xff) as u8 as i8)),
            Self::I16le | Self::I16be => Raw::Integer(i64::from((bits & 0xffff) as u16 as i16)),
            Self::I32le | Self::I32be => Raw::Integer(i64::from(bits as i32)),
            Self::Sfloat16le | Self::Sfloat16be => Raw::Decimal(Sfloat((bits & 0xffff) as u16)),
            _ => Raw::Integer(i64::from(bits)),
        }
    }
}

/// An SFLOAT: a 4-bit exponent to base 10 and a 12-bit mantissa, both two's complement, the exponent in the
/// high bits (ISO/IEEE 11073-20601:2022, annex F.8). Five bit patterns are no numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sfloat(pub u16);

/// The five patterns that are no numbers; all have exponent 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Special {
    /// `0x07FF` NaN: there is no valid value.
    NotANumber,
    /// `0x0800` NRes: the value cannot be written at this resolution.
    NotAtThisResolution,
    /// `0x07FE` +INFINITY.
    PositiveInfinity,
    /// `0x0802` -INFINITY.
    NegativeInfinity,
    /// `0x0801`, reserved.
    Reserved,
}

impl Sfloat {
    /// Range of the mantissa.
    pub const MANTISSA: std::ops::RangeInclusive<i16> = -2048..=2047;
    /// Range of the exponent to base 10.
    pub const EXPONENT: std::ops::RangeInclusive<i8> = -8..=7;

    /// `mantissa × 10^exponent`; `None` outside [`Self::MANTISSA`] and [`Self::EXPONENT`], and for the five
    /// patterns that would read as a [`Special`].
    pub fn from_decimal(mantissa: i16, exponent: i8) -> Option<Self> {
        if !Self::MANTISSA.contains(&mantissa) || !Self::EXPONENT.contains(&exponent) {
            return None;
        }
        let bits = ((exponent as u8 as u16) << 12) | (mantissa as u16 & 0x0fff);
        Self(bits).value().ok().map(|_| Self(bits))
    }

    /// The mantissa, sign extended.
    pub const fn mantissa(self) -> i16 {
        ((self.0 << 4) as i16) >> 4
    }

    /// The exponent, sign extended.
    pub const fn exponent(self) -> i8 {
        (self.0 as i16 >> 12) as i8
    }

    /// The value, as the double nearest to the decimal that was sent (97.2 is 97.2, not 97.200000000000003).
    ///
    /// # Errors
    /// [`Special`] where the pattern is no number.
    pub fn value(self) -> Result<f64, Special> {
        match self.0 {
            0x07ff => Err(Special::NotANumber),
            0x0800 => Err(Special::NotAtThisResolution),
            0x07fe => Err(Special::PositiveInfinity),
            0x0802 => Err(Special::NegativeInfinity),
            0x0801 => Err(Special::Reserved),
            _ => {
                // Powers of ten up to 10^8 are exact in a double, so one operation rounds once: correctly.
                let power = 10f64.powi(i32::from(self.exponent().unsigned_abs()));
                let mantissa = f64::from(self.mantissa());
                Ok(if self.exponent() < 0 { mantissa / power } else { mantissa * power })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sfloat_reads_the_examples_of_the_standard() {
        // 0x0072 is 114; 0xF3CC is 972 × 10^-1; 0x1801 has the reserved mantissa but another exponent: a number.
        let table = [
            (0x0072, Ok(114.0)),
            (0xf3cc, Ok(97.2)),
            (0x0fff, Ok(-1.0)),
            (0x7001, Ok(1e7)),
            (0x8001, Ok(1e-8)),
            (0x1801, Ok(-20470.0)),
            (0x0000, Ok(0.0)),
            (0x07ff, Err(Special::NotANumber)),
            (0x0800, Err(Special::NotAtThisResolution)),
            (0x07fe, Err(Special::PositiveInfinity)),
            (0x0802, Err(Special::NegativeInfinity)),
            (0x0801, Err(Special::Reserved)),
        ];
        for (bits, value) in table {
            assert_eq!(Sfloat(bits).value(), value, "{bits:#06x}");
        }
    }

    #[test]
    fn every_sfloat_round_trips_and_is_the_nearest_double() {
        for bits in 0..=u16::MAX {
            let sfloat = Sfloat(bits);
            let again = Sfloat::from_decimal(sfloat.mantissa(), sfloat.exponent());
            match sfloat.value() {
                Ok(value) => {
                    assert_eq!(again, Some(sfloat));
                    let decimal = format!("{}e{}", sfloat.mantissa(), sfloat.exponent());
                    assert_eq!(value, decimal.parse::<f64>().unwrap(), "{bits:#06x}");
                }
                Err(_) => assert_eq!(again, None, "{bits:#06x}"),
            }
        }
    }

    #[test]
    fn integers_in_either_order_and_sign() {
        let bytes = [0x80, 0x01, 0x02, 0xff];
        let table = [
            (Kind::U8, 0x80),
            (Kind::I8, -128),
            (Kind::U16le, 0x0180),
            (Kind::U16be, 0x8001),
            (Kind::I16be, -32767),
            (Kind::I16le, 0x0180),
            (Kind::U24le, 0x02_01_80),
            (Kind::U24be, 0x80_01_02),
            (Kind::U32le, 0xff02_0180),
            (Kind::U32be, 0x8001_02ff),
            (Kind::I32le, i64::from(0xff02_0180_u32 as i32)),
            (Kind::I32be, i64::from(0x8001_02ff_u32 as i32)),
        ];
        for (kind, value) in table {
            assert_eq!(kind.read(&bytes[..kind.width()]), Raw::Integer(value), "{kind:?}");
        }
    }

    proptest! {
        #[test]
        fn from_decimal_is_total(mantissa: i16, exponent: i8) {
            if let Some(sfloat) = Sfloat::from_decimal(mantissa, exponent) {
                prop_assert_eq!((sfloat.mantissa(), sfloat.exponent()), (mantissa, exponent));
            }
        }
    }
}
