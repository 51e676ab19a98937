//! The filters of `wardgate deid`: a file of messages or resources in, releases or explanations out.

use hl7::Message;
use model::{Format, Provenance, Slug, Timestamp};

use crate::release::{Held, HeldWhy};
use crate::{Clinical, Context, DestinationKeys, Policy};

/// Cuts a file into messages (a message begins with `MSH` at the start of a line; segments end with CR, LF or both).
pub fn hl7_records(input: &[u8]) -> impl Iterator<Item = Result<Clinical, Held>> {
    hl7::split(input).map(|bytes| {
        Message::decode(bytes.to_vec(), None).map(Clinical::Hl7).map_err(|_| Held::new(HeldWhy::NotAMessage))
    })
}

/// Reads NDJSON: a resource or Bundle a line. Blank lines are no resources.
pub fn fhir_records(input: &[u8]) -> impl Iterator<Item = Result<Clinical, Held>> {
    let lines = input.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines.map(|line| {
        ::fhir::resource_type(line)
            .map(|resource_type| Clinical::Fhir { resource_type, raw: line.to_vec().into() })
            .ok_or(Held::new(HeldWhy::NotAResource))
    })
}

/// Releases the messages of a file by the policy. Yields the message's index in the file, from 0, with the released
/// bytes, or why it is held. Segments of what the rules shaped end with CR; `treatment` gives every byte back
/// as it was. `at` stands for the time of arrival, `keys` for the
/// destination's keys; a control id that the
/// policy replaces by the place in the stream becomes the index plus one.
pub fn hl7_filter<'a>(
    policy: &'a Policy,
    input: &'a [u8],
    at: Timestamp,
    keys: Option<&'a DestinationKeys>,
) -> impl Iterator<Item = (usize, Result<Vec<u8>, Held>)> + 'a {
    released(policy, hl7_records(input), at, keys)
}

/// Releases every resource of NDJSON by the policy, as [`hl7_filter`] does with messages.
pub fn fhir_filter<'a>(
    policy: &'a Policy,
    input: &'a [u8],
    at: Timestamp,
    keys: Option<&'a DestinationKeys>,
) -> impl Iterator<Item = (usize, Result<Vec<u8>, Held>)> + 'a {
    released(policy, fhir_records(input), at, keys)
}

fn released<'a>(
    policy: &'a Policy,
    records: impl Iterator<Item = Result<Clinical, Held>> + 'a,
    at: Timestamp,
    keys: Option<&'a DestinationKeys>,
) -> impl Iterator<Item = (usize, Result<Vec<u8>, Held>)> + 'a {
    records.enumerate().map(move |(index, record)| {
        let release = record.and_then(|clinical| {
            filtered(&clinical, index, at, keys, |context| policy.release(&clinical, context))?
        });
        (index, release.map(|release| release.payload().to_vec()))
    })
}

/// What stands around a record of a file: as if it had come by a feed of its own.
///
/// # Errors
/// What the action says.
pub fn filtered<T>(
    clinical: &Clinical,
    index: usize,
    at: Timestamp,
    keys: Option<&DestinationKeys>,
    action: impl FnOnce(&Context<'_>) -> T,
) -> Result<T, Held> {
    let format = match clinical {
        Clinical::Fhir { .. } => Format::Fhir,
        Clinical::Hl7(_) | Clinical::Observations { .. } => Format::Hl7v2,
    };
    let feed = Slug::try_from("filter".to_owned()).map_err(|_| Held::new(HeldWhy::NotAMessage))?;
    let (peer, channel) = (String::new(), String::new());
    let provenance = Provenance { feed, peer, channel, received_at: at, format, origin: None };
    Ok(action(&Context { seq: index as u64 + 1, provenance: &provenance, keys }))
}
