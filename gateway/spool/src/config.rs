//! What an operator may set of the logs. Sizes in bytes, ages in seconds.

use std::path::PathBuf;

use model::Lane;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Smallest segment that may be configured.
pub const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Largest segment that may be configured.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Largest record that may be configured: what the tables of the format can name.
pub const RECORD_BYTES_MAX: u64 = 64 << 30;
/// Largest payload that is ever held in memory whole; larger ones are objects, and go in and out as streams.
pub const AT_HAND_BYTES_MAX: u64 = 64 << 20;

/// How long the audit log stays on the box where nothing else is configured: six years (45 CFR 164.316(b)(2)(i)).
pub const JOURNAL_KEEP_S: u64 = 2_192 * 24 * 60 * 60;

/// The algorithm that seals frames. Named in each segment's header, so that a log may hold both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SuiteChoice {
    /// AES-256-GCM where the processor has AES instructions, ChaCha20-Poly1305 elsewhere.
    #[default]
    Auto,
    /// AES-256-GCM (NIST SP 800-38D).
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439).
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

/// The logs as configured. Everything has a default; see [`Config::check`] for what must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Size of one segment file, from 1 MiB to 64 MiB.
    #[schemars(range(min = 1_048_576, max = 67_108_864))]
    pub segment_bytes: u64,
    /// Most disk the urgent lane may take.
    pub urgent_bytes_max: u64,
    /// Most disk the clinical lane may take.
    pub clinical_bytes_max: u64,
    /// Most disk the bulk lane may take.
    pub bulk_bytes_max: u64,
    /// Most disk the held log may take.
    pub held_bytes_max: u64,
    /// Most disk the journal may take: the audit log, and what cannot be rebuilt. While its oldest part is let go it
    /// takes at most two segments and a quarter more.
    pub journal_bytes_max: u64,
    /// How long an entry of the audit log stays on the box after everyone who is to vouch for it or to have it does:
    /// the landings that keep checkpoints, and the syslog server. Six years by default. Time in which the gateway does
    /// not run does not count.
    #[schemars(range(min = 1))]
    pub journal_keep_s: u64,
    /// Whether such entries go earlier, the oldest first, when the journal takes more than three quarters of its
    /// budget. Without it, a journal that is full refuses, and the gateway takes nothing in. Where nobody is to vouch for
    /// them, none goes earlier in any case.
    pub journal_free_for_room: bool,
    /// Largest record, at most 64 GiB. What is larger than 64 MiB goes through the log as a stream; no destination
    /// takes it yet, so it is held, and the held log must have room for it.
    #[schemars(range(min = 1, max = 68_719_476_736_u64))]
    pub record_bytes_max: u64,
    /// How long a record stays after every destination has it, unless the budget needs the room earlier.
    pub retention_after_delivery_s: u64,
    /// After so long a record of the urgent lane that a destination has not taken is given up: skipped there with
    /// the reason `expired`, and audited. Time in which the gateway does not run does not count. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub urgent_age_s_max: Option<u64>,
    /// The same for the clinical lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub clinical_age_s_max: Option<u64>,
    /// The same for the bulk lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub bulk_age_s_max: Option<u64>,
    /// The algorithm for new segments.
    pub suite: SuiteChoice,
    /// The root key: a file of mode 0600 or 0400, in the clear or sealed by a passphrase, a credential, a TPM or an
    /// HSM (`wardgate keys init`). Made in the clear when absent: good for a demonstration or a box whose disk is
    /// encrypted; `wardgate keys status` says what it is worth.
    pub key_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            urgent_bytes_max: 1 << 30,
            clinical_bytes_max: 16 << 30,
            bulk_bytes_max: 32 << 30,
            held_bytes_max: 4 << 30,
            journal_bytes_max: 1 << 30,
            journal_keep_s: JOURNAL_KEEP_S,
            journal_free_for_room: true,
            record_bytes_max: AT_HAND_BYTES_MAX,
            retention_after_delivery_s: 7 * 24 * 60 * 60,
            urgent_age_s_max: None,
            clinical_age_s_max: None,
            bulk_age_s_max: None,
            suite: SuiteChoice::Auto,
            key_file: PathBuf::from("/var/lib/wardgate/root.key"),
        }
    }
}

impl Config {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] names the setting.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |setting, needs| Err(Error::Config { setting, needs });
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes)
            || !self.segment_bytes.is_multiple_of(4096)
        {
            return bad("segment_bytes", "a multiple of 4096 from 1048576 (1 MiB) to 67108864 (64 MiB)");
        }
        for (setting, budget) in [
            ("urgent_bytes_max", self.urgent_bytes_max),
            ("clinical_bytes_max", self.clinical_bytes_max),
            ("bulk_bytes_max", self.bulk_bytes_max),
            ("held_bytes_max", self.held_bytes_max),
            ("journal_bytes_max", self.journal_bytes_max),
        ] {
            if budget < self.segment_bytes.saturating_mul(2) {
                return bad(setting, "room for at least two segments (2 × segment_bytes)");
            }
        }
        for (setting, age) in [
            ("urgent_age_s_max", self.urgent_age_s_max),
            ("clinical_age_s_max", self.clinical_age_s_max),
            ("bulk_age_s_max", self.bulk_age_s_max),
        ] {
            if age == Some(0) {
                return bad(setting, "at least 1 second; without the line nothing is given up");
            }
        }
        if self.journal_keep_s == 0 {
            return bad("journal_keep_s", "at least 1 second");
        }
        if !(1..=RECORD_BYTES_MAX).contains(&self.record_bytes_max) {
            return bad("record_bytes_max", "from 1 to 68719476736 (64 GiB)");
        }
        if self.record_bytes_max > AT_HAND_BYTES_MAX && self.record_bytes_max > self.held_bytes_max / 4 * 3 {
            return bad(
                "held_bytes_max",
                "a third more than record_bytes_max, to hold what no destination takes",
            );
        }
        Ok(())
    }

    /// After how many seconds an undelivered record of a lane is given up.
    pub const fn age_s_max(&self, lane: Lane) -> Option<u64> {
        match lane {
            Lane::Urgent => self.urgent_age_s_max,
            Lane::Clinical => self.clinical_age_s_max,
            Lane::Bulk => self.bulk_age_s_max,
        }
    }

    /// The budget of a lane.
    pub const fn lane_bytes_max(&self, lane: Lane) -> u64 {
        match lane {
            Lane::Urgent => self.urgent_bytes_max,
            Lane::Clinical => self.clinical_bytes_max,
            Lane::Bulk => self.bulk_bytes_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default_and_the_default_is_valid() {
        let config: Config = toml::from_str("").unwrap();
        assert_eq!(config, Config::default());
        config.check().unwrap();
    }

    #[test]
    fn what_is_misspelt_or_out_of_range_is_named() {
        assert!(
            toml::from_str::<Config>("segment_byte = 1").unwrap_err().to_string().contains("segment_byte")
        );
        type Spoil = fn(&mut Config);
        let cases: [(Spoil, &str); 8] = [
            (|c| c.journal_keep_s = 0, "journal_keep_s"),
            (|c| c.bulk_age_s_max = Some(0), "bulk_age_s_max"),
            (|c| c.segment_bytes = 4096, "segment_bytes"),
            (|c| c.segment_bytes = (16 << 20) + 1, "segment_bytes"),
            (|c| c.held_bytes_max = 16 << 20, "held_bytes_max"),
            (|c| c.record_bytes_max = 0, "record_bytes_max"),
            (|c| c.record_bytes_max = RECORD_BYTES_MAX + 1, "record_bytes_max"),
            (|c| c.record_bytes_max = 4 << 30, "held_bytes_max"),
        ];
        Config { record_bytes_max: 3 << 30, ..Config::default() }.check().unwrap();
        for (spoil, named) in cases {
            let mut config = Config::default();
            spoil(&mut config);
            assert!(config.check().unwrap_err().to_string().contains(named), "{named}");
        }
    }
}
