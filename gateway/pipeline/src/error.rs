//! What can go wrong in the pipeline, by who must act.

use model::{RecordId, Slug};

/// An error of the pipeline. Ids and counts only.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Storage: the operator must look at the disk.
    #[error(transparent)]
    Spool(#[from] spool::Error),
    /// The audit log could not be written; what was to be audited was not done.
    #[error(transparent)]
    Audit(#[from] model::AuditError),
    /// Something of our own cannot be read back.
    #[error(transparent)]
    Decode(#[from] model::codec::DecodeError),
    /// Something of our own cannot be written.
    #[error(transparent)]
    Encode(#[from] model::codec::EncodeError),
    /// Our own mistake: a batch that does not cover its range.
    #[error("a batch was built wrongly and not sent: {0}")]
    Untiled(model::batch::Untiled),
    /// The landing and this log do not come to an epoch.
    #[error("the landing grants ever other epochs: does another box use this gateway's certificate?")]
    EpochUnsettled,
    /// An entry of the audit log cannot be read.
    #[error("the audit log cannot be proven to continue; `wardgate audit verify` says where")]
    AuditUnproven,
    /// The person asked for a record that is not held.
    #[error("{id} is not held for {destination}")]
    NotHeld {
        /// The record.
        id: RecordId,
        /// The destination.
        destination: Slug,
    },
    /// The person asked for a record that is not (or no longer) in the log.
    #[error("{id} is not in the log: it has not arrived yet, is no longer kept, or belongs to an older disk")]
    NotKept {
        /// The record.
        id: RecordId,
    },
    /// The person named a destination that is not configured.
    #[error("there is no destination {destination} in the configuration")]
    NoDestination {
        /// The name.
        destination: Slug,
    },
    /// The person's edited copy cannot be read as what the record is to be.
    #[error("the edited copy was not taken, and the record is held as before: {why}")]
    EditUnreadable {
        /// Why not. Positions only.
        why: String,
    },
    /// The person asked for what cannot be searched.
    #[error("this cannot be searched: {why}")]
    NotSearchable {
        /// Why not. No value.
        why: &'static str,
    },
    /// The list of people who opted out is too old to be relied on.
    #[error(
        "the list of people who opted out is {age_h} h old, and this destination wants one of less than {hours} h: `wardgate consent import`"
    )]
    OptOutListOld {
        /// Its age, hours.
        age_h: i64,
        /// What the destination wants.
        hours: u32,
    },
    /// There is no list of people who opted out.
    #[error(
        "no list of people who opted out was imported, and this destination wants one of less than {hours} h: `wardgate consent import`"
    )]
    OptOutListMissing {
        /// What the destination wants.
        hours: u32,
    },
    /// The list of people who opted out has become much shorter, as a file that was cut off would be.
    #[error(
        "the list names {count} people, the one in force {before}; if that is right, say so with --shrinks"
    )]
    OptOutListShrinks {
        /// People on the list in force.
        before: u64,
        /// People on the new one.
        count: u64,
    },
    /// The list of people who opted out is too long.
    #[error("the list names {people} people; at most {} are taken", crate::consent::LIST_MAX)]
    OptOutListLong {
        /// People on it.
        people: usize,
    },
    /// More was said of consents than is kept.
    #[error(
        "{} statements about consents are kept, and there is no room for more",
        crate::consent::STATEMENTS_MAX
    )]
    ConsentsFull,
    /// A patient was named by no id.
    #[error("an id that says nothing names no patient")]
    NoPatient,
    /// The person asked for a token that was not given out here.
    #[error("this box has given out no such token")]
    NoSuchToken,
    /// The reason for a request is none.
    #[error("a reason has 1 to {} characters and no line ends", crate::vault::REASON_CHARS_MAX)]
    VaultReason,
    /// There are too many requests.
    #[error("{} requests are open: somebody has to approve or refuse one first", crate::vault::REQUESTS_MAX)]
    VaultRequestsFull,
    /// There is no such request, or its time is over.
    #[error("there is no request {id}, or its time is over")]
    NoVaultRequest {
        /// The number that was asked for.
        id: u64,
    },
    /// Who asked cannot approve.
    #[error("whoever asked cannot approve: request {id} needs another person")]
    SamePerson {
        /// The request.
        id: u64,
    },
    /// Only who asked is shown the answer.
    #[error("another person asked: the answer to request {id} is shown to nobody else")]
    AnotherAsked {
        /// The request.
        id: u64,
    },
    /// Nobody has approved.
    #[error("nobody has approved request {id} yet")]
    NotApproved {
        /// The request.
        id: u64,
    },
    /// What the journal says of a token cannot be read back.
    #[error("the vault's entry cannot be read; `wardgate spool verify` says what is damaged")]
    VaultDamaged,
    /// A held record cannot be read back.
    #[error("the held record cannot be read; `wardgate spool verify` says what is damaged")]
    HeldDamaged,
    /// Our own mistake: a document larger than the journal takes.
    #[error("a document of {bytes} bytes is larger than the journal takes")]
    DocumentTooLarge {
        /// Its size.
        bytes: usize,
    },
}
