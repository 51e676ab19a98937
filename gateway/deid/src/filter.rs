//! The filters of `wardgate deid run`: a file of messages or resources in, releases out.

use hl7::Message;
use model::{Format, Provenance, Slug, Timestamp};

use crate::release::{Held, HeldWhy};
use crate::{Clinical, Context, Policy, TokenKey};

/// Cuts a file into messages (a message begins with `MSH` at the start of a line; segments end with CR, LF or
/// both) and releases each by the policy. Yields the message's index in the file, from 0, with the released
/// bytes, or why it is held. Segments of what the rules shaped end with CR; `treatment` gives every byte back
/// as it was. `at` stands for the time of arrival, `tokens` for the destination's key; a control id that the
/// policy replaces by the place in the stream becomes the index plus one.
pub fn hl7_filter<'a>(
    policy: &'a Policy,
    input: &'a [u8],
    at: Timestamp,
    tokens: Option<&'a TokenKey>,
) -> impl Iterator<Item = (usize, Result<Vec<u8>, Held>)> + 'a {
    hl7::split(input)
        .enumerate()
        .map(move |(index, bytes)| (index, release(policy, bytes, index, at, tokens)))
}

/// Releases every resource of NDJSON by the policy, as [`hl7_filter`] does with messages. Blank lines are no resources.
pub fn fhir_filter<'a>(
    policy: &'a Policy,
    input: &'a [u8],
    at: Timestamp,
    tokens: Option<&'a TokenKey>,
) -> impl Iterator<Item = (usize, Result<Vec<u8>, Held>)> + 'a {
    let lines = input.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines.enumerate().map(move |(index, line)| {
        let released =
            ::fhir::resource_type(line).ok_or(Held::new(HeldWhy::NotAResource)).and_then(|resource_type| {
                let clinical = Clinical::Fhir { resource_type, raw: line.to_vec().into() };
                through(policy, &clinical, Format::Fhir, index, at, tokens)
            });
        (index, released)
    })
}

fn release(
    policy: &Policy,
    bytes: &[u8],
    index: usize,
    at: Timestamp,
    tokens: Option<&TokenKey>,
) -> Result<Vec<u8>, Held> {
    let message = Message::decode(bytes.to_vec(), None).map_err(|_| Held::new(HeldWhy::NotAMessage))?;
    through(policy, &Clinical::Hl7(message), Format::Hl7v2, index, at, tokens)
}

/// As if it had come by a feed of its own.
fn through(
    policy: &Policy,
    clinical: &Clinical,
    format: Format,
    index: usize,
    at: Timestamp,
    tokens: Option<&TokenKey>,
) -> Result<Vec<u8>, Held> {
    let feed = Slug::try_from("filter".to_owned()).map_err(|_| Held::new(HeldWhy::NotAMessage))?;
    let (peer, channel) = (String::new(), String::new());
    let provenance = Provenance { feed, peer, channel, received_at: at, format, origin: None };
    let context = Context { seq: index as u64 + 1, provenance: &provenance, tokens };
    Ok(policy.release(clinical, &context)?.payload().to_vec())
}
