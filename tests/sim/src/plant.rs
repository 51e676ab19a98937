//! Eight faults that the simulation must find. Each is planted where the box takes something from outside (its disk, its
//! state store, its randomness, the way to a destination, the landing), so that no line of a product knows of them
//! (docs/adr/0014).

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// The disk says that it has synced, and has not.
    AcknowledgeBeforeSync,
    /// A destination says that it has committed, and has yet to.
    CursorBeforeCommit,
    /// What has to be tried again goes behind what came later.
    RetryThatReorders,
    /// The randomness begins anew with each process, and with it the data keys.
    NonceReuseAfterReopen,
    /// A record is left out of a batch and no reason is given.
    SkipWithoutReason,
    /// The landing takes batches of an epoch that is over.
    EpochNotFenced,
    /// The state store says that the cursor is durable, and it is not; so the log lets go too early.
    DeleteBeforeCursorIsDurable,
    /// The held log's disk says that it has synced, and has not.
    HeldRecordForgotten,
}

impl Plant {
    pub(crate) const ALL: [Self; 8] = [
        Self::AcknowledgeBeforeSync,
        Self::CursorBeforeCommit,
        Self::RetryThatReorders,
        Self::NonceReuseAfterReopen,
        Self::SkipWithoutReason,
        Self::EpochNotFenced,
        Self::DeleteBeforeCursorIsDurable,
        Self::HeldRecordForgotten,
    ];
}
