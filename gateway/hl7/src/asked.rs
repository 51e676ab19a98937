//! Which acknowledgements a sender asks for: original and enhanced mode.
//!
//! MSH-15 asks for accept acknowledgements (CA, CE, CR: taken durably, or not), MSH-16 for application
//! acknowledgements (AA, AE, AR). Where neither says anything of table 0155, the original mode is in force: one AA, AE
//! or AR for every message. In enhanced mode an empty field asks for nothing. Where both are asked, the accept
//! acknowledgement goes first; a message that was not accepted gets no application acknowledgement, unless nobody asked
//! for accept acknowledgements of failures.
//!
//! A value outside of the table counts as empty: a sender that fills the fields with something else is answered as one
//! that leaves them out.
//!
//! Source: HL7 v2.8.2 §2.9.2, §2.9.3, §2.14.9.15, §2.14.9.16; table 0155.

use crate::{AckCode, Header};

/// When an acknowledgement is asked for (table 0155).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// AL: always.
    Always,
    /// NE: never.
    Never,
    /// ER: of errors and rejections only.
    OnError,
    /// SU: of success only.
    OnSuccess,
}

impl Condition {
    /// All of the table.
    pub const ALL: [Self; 4] = [Self::Always, Self::Never, Self::OnError, Self::OnSuccess];

    /// As in MSH-15 and MSH-16.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "AL",
            Self::Never => "NE",
            Self::OnError => "ER",
            Self::OnSuccess => "SU",
        }
    }

    /// From MSH-15 or MSH-16.
    pub fn read(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        Self::ALL.into_iter().find(|known| known.as_str().as_bytes().eq_ignore_ascii_case(value))
    }

    const fn holds(self, success: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::OnError => !success,
            Self::OnSuccess => success,
        }
    }
}

/// How a message is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// One application acknowledgement for every message.
    Original,
    /// As the two conditions say.
    Enhanced {
        /// For accept acknowledgements.
        accept: Condition,
        /// For application acknowledgements.
        application: Condition,
    },
}

/// What became of a message, as far as its sender is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Taken, durably.
    Accepted,
    /// Not taken now; sending it again later may help.
    Failed,
    /// Not taken; sending the same again does not help.
    Rejected,
}

impl Mode {
    /// Nothing is ever answered.
    pub const SILENT: Self = Self::Enhanced { accept: Condition::Never, application: Condition::Never };

    /// What the message's header asks for.
    pub fn asked_by(header: &Header) -> Self {
        match (Condition::read(header.message_field(15)), Condition::read(header.message_field(16))) {
            (None, None) => Self::Original,
            (accept, application) => Self::Enhanced {
                accept: accept.unwrap_or(Condition::Never),
                application: application.unwrap_or(Condition::Never),
            },
        }
    }

    /// The codes to answer with, in order: none, one or two.
    pub fn codes(self, fate: Fate) -> impl Iterator<Item = AckCode> {
        let (commit, application) = match fate {
            Fate::Accepted => (AckCode::CommitAccept, AckCode::Accept),
            Fate::Failed => (AckCode::CommitError, AckCode::Error),
            Fate::Rejected => (AckCode::CommitReject, AckCode::Reject),
        };
        let success = fate == Fate::Accepted;
        let (first, second) = match self {
            Self::Original => (false, true),
            Self::Enhanced { accept, application } => {
                let first = accept.holds(success);
                (first, application.holds(success) && (success || !first))
            }
        };
        first.then_some(commit).into_iter().chain(second.then_some(application))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeaderScan;

    fn asked(fields: &str) -> Mode {
        let mut scan = HeaderScan::new();
        scan.push(format!("MSH|^~\\&|L|W|E|M|2026||ORU^R01|1|P|2.5|||{fields}\r").as_bytes());
        Mode::asked_by(&scan.finish().unwrap())
    }

    fn codes(fields: &str, fate: Fate) -> Vec<&'static str> {
        asked(fields).codes(fate).map(AckCode::as_str).collect()
    }

    /// All of table 0155 in both fields: what is answered to success, failure, rejection.
    #[test]
    fn every_pair_of_conditions_is_answered_as_it_asks() {
        let mut table = String::new();
        for accept in ["", "AL", "NE", "ER", "SU"] {
            for application in ["", "AL", "NE", "ER", "SU"] {
                let fields = format!("{accept}|{application}");
                let answers = [Fate::Accepted, Fate::Failed, Fate::Rejected]
                    .map(|fate| codes(&fields, fate).join("+"))
                    .map(|codes| if codes.is_empty() { "-".to_owned() } else { codes });
                table.push_str(&format!("{fields:<6} {}\n", answers.join(" ")));
            }
        }
        insta::assert_snapshot!(table, @r"
        |      AA AE AR
        |AL    AA AE AR
        |NE    - - -
        |ER    - AE AR
        |SU    AA - -
        AL|    CA CE CR
        AL|AL  CA+AA CE CR
        AL|NE  CA CE CR
        AL|ER  CA CE CR
        AL|SU  CA+AA CE CR
        NE|    - - -
        NE|AL  AA AE AR
        NE|NE  - - -
        NE|ER  - AE AR
        NE|SU  AA - -
        ER|    - CE CR
        ER|AL  AA CE CR
        ER|NE  - CE CR
        ER|ER  - CE CR
        ER|SU  AA CE CR
        SU|    CA - -
        SU|AL  CA+AA AE AR
        SU|NE  CA - -
        SU|ER  CA AE AR
        SU|SU  CA+AA - -
        ");
    }

    #[test]
    fn what_is_not_in_the_table_counts_as_empty() {
        assert_eq!(asked("Y|N"), Mode::Original);
        assert_eq!(asked("\"\"|\"\""), Mode::Original);
        assert_eq!(codes("al| ne ", Fate::Accepted), ["CA"]);
        assert_eq!(codes("XX|AL", Fate::Accepted), ["AA"]);
        assert_eq!(Mode::SILENT.codes(Fate::Failed).count(), 0);
    }
}
