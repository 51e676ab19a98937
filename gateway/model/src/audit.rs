//! What an auditor will ask about.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What was done. Closed, so that a filter can name all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditAction {
    /// The daemon started.
    Started,
    /// The daemon stopped in order.
    Stopped,
    /// A configuration was applied.
    ConfigurationApplied,
    /// What a destination may have is decided by another policy than before.
    PolicyApplied,
    /// A destination appeared.
    DestinationAdded,
    /// A destination and its cursor were removed.
    DestinationRemoved,
    /// A lane's log took a new stream epoch.
    EpochAdopted,
    /// A record could not be released and was held.
    RecordHeld,
    /// A held record was released, edited or replayed as a new record.
    RecordReplayed,
    /// A held record was dismissed by a person.
    RecordDismissed,
    /// A person was shown the content of a record.
    RecordRead,
    /// A person searched for records: by what kinds of ids, never by which.
    Searched,
    /// A policy was tried on records in the log; nothing was sent.
    PolicyTried,
    /// The landing had committed another manifest for a range; the first commit stands.
    ManifestMismatch,
    /// A damaged record was quarantined by the log.
    RecordDamaged,
    /// A log is not what the landing has a receipt of: the disk was set back, or the log was changed.
    LogSetBack,
    /// The box was claimed.
    Claimed,
    /// Somebody signed in.
    SignedIn,
    /// Somebody failed to sign in.
    SignInFailed,
    /// The state store was lost and rebuilt.
    StateRebuilt,
    /// The root key was exchanged for a new one.
    RootKeyRotated,
    /// A copy of the root key was made for recovery, or it was recovered from one.
    RootKeyEscrowed,
    /// The key of an epoch was destroyed: its records cannot be read any more.
    KeyEpochErased,
    /// A log or the disk came near the end of its room, or away from it.
    StoragePressure,
    /// Records were given up undelivered, because they were older than the operator's limit.
    RecordExpired,
    /// Something was said of whose data may be handed on: by whom it was said and how often, never of whom.
    ConsentChanged,
    /// Somebody asked what a token of the vault is of: who, and why.
    ReidentificationRequested,
    /// Somebody else agreed.
    ReidentificationApproved,
    /// The request was refused, or taken back.
    ReidentificationRefused,
    /// Whoever asked was shown what the token is of.
    Reidentified,
    /// An account was made.
    AccountAdded,
    /// An account was removed.
    AccountRemoved,
    /// The oldest entries of the audit log go: which, why, and who vouches for them.
    JournalFreed,
    /// A backup was made.
    BackupMade,
    /// This box goes on from a backup.
    Restored,
}

/// One entry of the audit log. Ids, counts and names of settings only: no PHI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// Who: `system`, a user, a certificate's name.
    pub actor: String,
    /// What was done.
    pub action: AuditAction,
    /// To what: a record id, a destination, a file's name.
    pub subject: String,
    /// Further ids and counts, for a person to read.
    pub detail: String,
}

/// The audit log did not take the event; what was to be audited must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log could not be written")]
pub struct AuditError;

/// Takes audit events durably.
pub trait AuditSink: Send + Sync + fmt::Debug {
    /// Returns once the event is on the disk.
    ///
    /// # Errors
    /// [`AuditError`]: then do not do what was to be audited.
    fn record(&self, event: &AuditEvent) -> Result<(), AuditError>;
}
