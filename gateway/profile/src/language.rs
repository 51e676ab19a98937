//! The language as it is written: the shape of `profile.toml`. What it means is checked in [`crate::compile`].

use model::{Absent, Quality};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::number::Kind;

/// A device profile.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// Version of the profile language: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub language: Spanned<u32>,
    /// Which device, by which source.
    pub profile: Head,
    /// Where a unit of the protocol begins and ends.
    pub frame: Frame,
    /// The parts of a frame, in wire order.
    #[serde(rename = "field")]
    #[schemars(length(min = 1, max = 64))]
    pub fields: Vec<Field>,
    /// What is measured.
    #[serde(rename = "numeric")]
    #[schemars(length(min = 1, max = 64))]
    pub numerics: Vec<Numeric>,
    /// What the device says of its own values. The first rule with `absent` that applies gives the reason.
    #[serde(rename = "status", default)]
    #[schemars(length(max = 128))]
    pub statuses: Vec<Status>,
}

/// `[profile]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    /// Vendor and model: `bluetooth.plx`. The folder has the same name with `-` for `.`.
    #[schemars(with = "String", extend("pattern" = "^[a-z][a-z0-9]*(\\.[a-z0-9]+)+$"))]
    pub id: Spanned<String>,
    /// Counted up with every change of meaning, from 1.
    #[schemars(with = "u32", range(min = 1))]
    pub version: Spanned<u32>,
    /// What kind of device: `pulse-oximeter`.
    #[schemars(with = "String", extend("pattern" = "^[a-z][a-z0-9-]*$"))]
    pub family: Spanned<String>,
    /// One line for a person.
    #[schemars(with = "String")]
    pub title: Spanned<String>,
    /// The published document that the profile was written from, with its version.
    #[schemars(with = "String")]
    pub source: Spanned<String>,
}

/// `[frame]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frame {
    /// How frames are found in what arrives.
    pub kind: FrameKind,
    /// Largest frame in bytes; a larger one is refused.
    #[schemars(with = "usize", range(min = 1, max = 4096))]
    pub bytes_max: Spanned<usize>,
    /// Bytes after the last field are permitted when this holds, and not read: a later edition of the
    /// protocol may append fields that announce themselves by reserved bits. Otherwise they are an error.
    #[serde(default)]
    pub trailing_if: Option<Condition>,
}

/// How frames are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FrameKind {
    /// The transport delimits: one MQTT publish, one datagram, one characteristic value is one frame.
    Message,
}

/// `[[field]]`: the next bytes of the frame.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    /// Its name in this document.
    #[schemars(with = "String", extend("pattern" = "^[a-z][a-z0-9_]*$"))]
    pub name: Spanned<String>,
    /// How it is written.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// It is there only when this holds; otherwise always.
    #[serde(default)]
    pub when: Option<Condition>,
    /// It stands there up to this many times, to the end of the frame. The last field only.
    #[serde(default)]
    #[schemars(with = "Option<usize>", range(min = 1, max = 256))]
    pub repeat_max: Option<Spanned<usize>>,
}

/// A test of bits of an earlier field; false where that field is not there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition {
    /// The field: an unsigned integer above this place.
    #[schemars(with = "String")]
    pub field: Spanned<String>,
    /// This bit is 1, counted from 0, the least significant.
    #[serde(default)]
    #[schemars(with = "Option<u32>", range(max = 31))]
    pub bit: Option<Spanned<u32>>,
    /// Of these bits …
    #[serde(default)]
    #[schemars(with = "Option<u32>")]
    pub mask: Option<Spanned<u32>>,
    /// … exactly these are 1; without `value`, at least one of them is.
    #[serde(default)]
    #[schemars(with = "Option<u32>")]
    pub value: Option<Spanned<u32>>,
}

/// `[[numeric]]`: a field is a metric. A field that is not there gives no observation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Numeric {
    /// The field.
    #[schemars(with = "String")]
    pub field: Spanned<String>,
    /// Reference id in ISO/IEEE 11073-10101: `MDC_PULS_OXIM_SAT_O2`.
    #[schemars(with = "String", extend("pattern" = "^MDC_[A-Z0-9_]+$"))]
    pub metric: Spanned<String>,
    /// Supplemental type (ISO/IEEE 11073-20601 Supplemental-Types), such as `MDC_MODALITY_FAST`. The
    /// observation's metric is then `metric/modality`, so that nobody takes it for the plain one.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("pattern" = "^MDC_[A-Z0-9_]+$"))]
    pub modality: Option<Spanned<String>>,
    /// The same in LOINC, check digit included: `59408-5`.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("pattern" = "^[1-9][0-9]{0,6}-[0-9]$"))]
    pub loinc: Option<Spanned<String>>,
    /// Unit in UCUM, case sensitive: `%`, `/min`.
    #[schemars(with = "String", length(min = 1, max = 32))]
    pub ucum: Spanned<String>,
    /// Multiplied by the first, divided by the second: `[1000, 1024]`.
    #[serde(default)]
    #[schemars(with = "Option<[i64; 2]>")]
    pub scale: Option<Spanned<[i64; 2]>>,
    /// Smallest and largest value permitted, after scale; outside it is absent: out-of-profile.
    #[serde(default)]
    #[schemars(with = "Option<[f64; 2]>")]
    pub range: Option<Spanned<[f64; 2]>>,
}

/// `[[status]]`: what a bit says of all values of the frame. Exactly one of `absent`, `explains`, `quality`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    /// The name of the bit in the device's document, for a person.
    #[schemars(with = "String")]
    pub meaning: Spanned<String>,
    /// When the rule applies.
    pub when: Condition,
    /// There is no value, whatever the field holds.
    #[serde(default)]
    #[schemars(with = "Option<Reason>")]
    pub absent: Option<Absent>,
    /// Where the field itself says that it is no number, this is why; a number stays one.
    #[serde(default)]
    #[schemars(with = "Option<Reason>")]
    pub explains: Option<Absent>,
    /// The value stands, with this said of it.
    #[serde(default)]
    #[schemars(with = "Option<Doubt>")]
    pub quality: Option<Quality>,
}

/// Why there is no value; the names of [`Absent`].
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "stands for model::Absent in the schema, which model need not carry")]
enum Reason {
    Invalid,
    SensorOff,
    OverRange,
    UnderRange,
    OutOfProfile,
    NotReady,
}

/// What is said of a value; the names of [`Quality`].
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "stands for model::Quality in the schema, which model need not carry")]
enum Doubt {
    Good,
    Questionable,
    Test,
}
