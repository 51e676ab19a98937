//! What an action is in the vocabulary of DICOM (PS3.16 CID 400 and 401), which ATNA and FHIR share.

use model::AuditAction;

/// A code of DICOM's `DCM` and its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coded {
    /// The code.
    pub code: &'static str,
    /// Its meaning, word for word.
    pub meaning: &'static str,
}

/// What is said of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// Which kind of event: PS3.16 CID 400.
    pub event: Coded,
    /// Which one of its kind: CID 401, where there is one.
    pub kind: Option<Coded>,
    /// `C`, `R`, `U`, `D` or `E`.
    pub action: char,
    /// 0 success, 4 minor failure, 8 serious failure.
    pub outcome: u8,
    /// Whether the subject is a record of a patient's.
    pub is_record: bool,
}

const fn coded(code: &'static str, meaning: &'static str) -> Coded {
    Coded { code, meaning }
}

const APPLICATION: Coded = coded("110100", "Application Activity");
const EXPORT: Coded = coded("110106", "Export");
const PATIENT_RECORD: Coded = coded("110110", "Patient Record");
const ALERT: Coded = coded("110113", "Security Alert");
const AUTHENTICATION: Coded = coded("110114", "User Authentication");
const QUERY: Coded = coded("110112", "Query");
const START: Coded = coded("110120", "Application Start");
const STOP: Coded = coded("110121", "Application Stop");
const LOGIN: Coded = coded("110122", "Login");
const NETWORK: Coded = coded("110128", "Network Configuration");
const SECURITY: Coded = coded("110129", "Security Configuration");
const SOFTWARE: Coded = coded("110131", "Software Configuration");
const RESTRICTED: Coded = coded("110132", "Use of Restricted Function");
const USER_ATTRIBUTES: Coded = coded("110137", "User Security Attributes Changed");

/// The codes of an action.
pub fn codes(action: AuditAction) -> Codes {
    use AuditAction as A;
    let of = |event, kind, action, outcome| Codes { event, kind, action, outcome, is_record: false };
    let record = |event, action, outcome| Codes { event, kind: None, action, outcome, is_record: true };
    match action {
        A::Started => of(APPLICATION, Some(START), 'E', 0),
        A::Stopped => of(APPLICATION, Some(STOP), 'E', 0),
        A::ConfigurationApplied | A::PolicyApplied => of(ALERT, Some(SOFTWARE), 'U', 0),
        A::DestinationAdded => of(ALERT, Some(NETWORK), 'C', 0),
        A::DestinationRemoved => of(ALERT, Some(NETWORK), 'D', 0),
        A::EpochAdopted => of(ALERT, Some(RESTRICTED), 'U', 0),
        A::RecordHeld => record(EXPORT, 'R', 4),
        A::RecordReplayed => record(EXPORT, 'R', 0),
        A::RecordDismissed => record(PATIENT_RECORD, 'U', 0),
        A::RecordRead => record(PATIENT_RECORD, 'R', 0),
        A::Searched | A::PolicyTried => of(QUERY, None, 'E', 0),
        A::ManifestMismatch | A::LogSetBack => of(ALERT, Some(RESTRICTED), 'E', 8),
        A::RecordDamaged => record(ALERT, 'E', 8),
        A::Claimed => of(ALERT, Some(USER_ATTRIBUTES), 'C', 0),
        A::SignedIn => of(AUTHENTICATION, Some(LOGIN), 'E', 0),
        A::SignInFailed => of(AUTHENTICATION, Some(LOGIN), 'E', 4),
        A::RootKeyRotated | A::ConsentChanged => of(ALERT, Some(SECURITY), 'U', 0),
        A::ReidentificationRequested | A::ReidentificationApproved => of(ALERT, Some(RESTRICTED), 'E', 0),
        A::ReidentificationRefused => of(ALERT, Some(RESTRICTED), 'E', 4),
        A::Reidentified => of(PATIENT_RECORD, None, 'R', 0),
        A::AccountAdded => of(ALERT, Some(USER_ATTRIBUTES), 'C', 0),
        A::AccountRemoved => of(ALERT, Some(USER_ATTRIBUTES), 'D', 0),
        A::RootKeyEscrowed => of(ALERT, Some(SECURITY), 'C', 0),
        A::JournalFreed => of(ALERT, Some(RESTRICTED), 'D', 0),
        A::KeyEpochErased => of(ALERT, Some(SECURITY), 'D', 0),
        A::StateRebuilt | A::StoragePressure => of(APPLICATION, None, 'E', 4),
        A::RecordExpired => record(PATIENT_RECORD, 'D', 4),
        A::BackupMade => of(EXPORT, None, 'R', 0),
        A::Restored => of(ALERT, Some(RESTRICTED), 'U', 0),
    }
}

/// An action as it is written in JSON.
pub fn name(action: AuditAction) -> String {
    // A unit variant is a string.
    serde_json::to_value(action).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
