//! `[feed.mllp.acknowledge]`: how a feed's messages are acknowledged.
//!
//! By default every message is answered as its own header asks (MSH-15, MSH-16, MSH-13). The settings are for senders
//! whose headers say something else than their software does.

use hl7::{Condition, Header, Mode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How messages are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Acknowledge {
    /// Which acknowledgements are sent.
    pub mode: AckMode,
    /// With mode `enhanced`: when an accept acknowledgement (CA, CE, CR) is sent, instead of MSH-15. `AL` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept: Option<When>,
    /// With mode `enhanced`: when an application acknowledgement (AA, AE, AR) is sent, instead of MSH-16. `NE` by
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<When>,
    /// What a sequence number in MSH-13 does.
    pub sequence: Sequence,
    /// How a batch (FHS, BHS) is answered.
    pub batch: BatchReply,
}

/// Which acknowledgements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AckMode {
    /// As MSH-15 and MSH-16 of each message ask; AA, AE or AR where they ask for nothing.
    #[default]
    AsAsked,
    /// AA, AE or AR for every message, whatever it asks: for a sender that says NE and waits all the same.
    Original,
    /// As `accept` and `application` say, whatever the message asks.
    Enhanced,
    /// Nothing is ever answered, not even that a message could not be stored. Such a loss is a fault to be found by
    /// `wardgate faults`.
    None,
}

/// When an acknowledgement is sent (table 0155).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum When {
    /// Always.
    Al,
    /// Never.
    Ne,
    /// Of errors and rejections only.
    Er,
    /// Of success only.
    Su,
}

impl From<When> for Condition {
    fn from(when: When) -> Self {
        match when {
            When::Al => Self::Always,
            When::Ne => Self::Never,
            When::Er => Self::OnError,
            When::Su => Self::OnSuccess,
        }
    }
}

/// What a sequence number in MSH-13 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sequence {
    /// It is answered in MSA-4; another number than the expected is a fault, and the message is taken all the same.
    /// What is no sequence number is passed over.
    #[default]
    Watch,
    /// It is answered in MSA-4; a message with another number than the expected is not taken (AE, with the expected
    /// number in MSA-4).
    Enforce,
    /// MSH-13 is not looked at.
    Off,
}

/// How a batch is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BatchReply {
    /// With a batch: an acknowledgement for each message, between BHS and BTS.
    #[default]
    Batch,
    /// With one acknowledgement for all: the first negative one, else that of the first message. For senders that do
    /// not read batches.
    One,
}

impl Acknowledge {
    /// What is wrong with the settings together.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.mode != AckMode::Enhanced && (self.accept.is_some() || self.application.is_some()) {
            return Err("accept and application are for mode = \"enhanced\" alone");
        }
        Ok(())
    }

    /// The mode for a message; without a header for what is no message.
    pub(crate) fn mode_for(&self, header: Option<&Header>) -> Mode {
        match self.mode {
            AckMode::AsAsked => header.map_or(Mode::Original, Mode::asked_by),
            AckMode::Original => Mode::Original,
            AckMode::Enhanced => Mode::Enhanced {
                accept: self.accept.map_or(Condition::Always, Into::into),
                application: self.application.map_or(Condition::Never, Into::into),
            },
            AckMode::None => Mode::SILENT,
        }
    }

    /// The sequence number of a message, where it is to be looked at and is one.
    pub(crate) fn sequence_number(&self, header: &Header) -> Option<i64> {
        if self.sequence == Sequence::Off || header.kind() != hl7::HeaderKind::Message {
            return None;
        }
        hl7::sequence::read(header.field(13))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_read_as_documented() {
        let read = |text: &str| toml::from_str::<Acknowledge>(text).unwrap();
        assert_eq!(read(""), Acknowledge::default());
        let enhanced = read("mode = \"enhanced\"\naccept = \"ER\"\napplication = \"AL\"");
        assert_eq!(
            enhanced.mode_for(None),
            Mode::Enhanced { accept: Condition::OnError, application: Condition::Always }
        );
        enhanced.check().unwrap();
        assert_eq!(read("mode = \"none\"").mode_for(None), Mode::SILENT);
        assert!(read("accept = \"AL\"").check().is_err());
        assert_eq!(read("sequence = \"enforce\"\nbatch = \"one\"").batch, BatchReply::One);
        assert!(toml::from_str::<Acknowledge>("mode = \"loud\"").is_err());
    }
}
