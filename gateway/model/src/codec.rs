//! CBOR (RFC 8949), in this module alone: envelopes in the log and batches on the wire.
//!
//! serde_cbor 0.11 is unmaintained (RUSTSEC-2021-0127) and sound for what it does here: typed structs, slices
//! with a known limit, its recursion limit of 128 in force. The tests hold it against ciborium.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes are not the CBOR of the type asked for. Says where, never what.
#[derive(Debug, thiserror::Error)]
#[error("not valid CBOR of {what} at byte {offset}")]
pub struct DecodeError {
    /// The type asked for.
    pub what: &'static str,
    /// Where reading stopped.
    pub offset: u64,
}

/// A value could not be written as CBOR; our own defect, never the input's.
#[derive(Debug, thiserror::Error)]
#[error("could not encode {what} as CBOR")]
pub struct EncodeError {
    /// The type.
    pub what: &'static str,
}

/// Encodes a value. The encoding of a given value is always the same, so that it can be hashed.
///
/// # Errors
/// [`EncodeError`] for a type that CBOR cannot express.
#[expect(clippy::disallowed_methods, reason = "this is the module the ban points to")]
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    serde_cbor::to_vec(value).map_err(|_| EncodeError { what: short_name::<T>() })
}

/// The same bytes, as they are made, for what is too large to lie in memory twice.
///
/// # Errors
/// [`EncodeError`] for a type that CBOR cannot express, and when the writer fails.
#[expect(clippy::disallowed_methods, reason = "this is the module the ban points to")]
pub fn encode_to<T: Serialize>(value: &T, writer: impl std::io::Write) -> Result<(), EncodeError> {
    serde_cbor::to_writer(writer, value).map_err(|_| EncodeError { what: short_name::<T>() })
}

/// Decodes a value; trailing bytes are an error.
///
/// # Errors
/// [`DecodeError`] with the offset.
#[expect(clippy::disallowed_methods, reason = "this is the module the ban points to")]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    serde_cbor::from_slice(bytes).map_err(|e| DecodeError { what: short_name::<T>(), offset: e.offset() })
}

fn short_name<T>() -> &'static str {
    let full = std::any::type_name::<T>();
    full.split('<').next().and_then(|s| s.rsplit("::").next()).unwrap_or(full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;
    use proptest::prelude::*;
    use serde_bytes::ByteBuf;

    #[test]
    fn both_ways_of_encoding_give_the_same_bytes() {
        let value = envelope("10.0.0.1:1".into(), vec![7; 100_000], None);
        let mut written = Vec::new();
        encode_to(&value, &mut written).unwrap();
        assert_eq!(written, encode(&value).unwrap());
    }

    fn envelope(peer: String, reply: Vec<u8>, device: Option<String>) -> Envelope {
        Envelope {
            provenance: Provenance {
                feed: "adt".parse().unwrap(),
                peer,
                channel: String::new(),
                received_at: Timestamp::from_micros(1),
                format: device.map_or(Format::Hl7v2, Format::Device),
                origin: "bulk-2-7".parse().ok(),
            },
            only: Some(vec!["lake".parse().unwrap()]),
            identity: None,
            reply: Some(ByteBuf::from(reply)),
            sequenced: Some(LinkNumber { link: ByteBuf::from(vec![7; 16]), last: -1 }),
            flags: vec![Flag::ReusedId],
        }
    }

    proptest! {
        #[test]
        fn round_trips_and_agrees_with_ciborium(peer in ".*", reply in prop::collection::vec(any::<u8>(), 0..300), device in prop::option::of("[a-z.]{1,20}")) {
            let value = envelope(peer, reply, device);
            let ours = encode(&value).unwrap();
            let mut theirs = Vec::new();
            ciborium::into_writer(&value, &mut theirs).unwrap();
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(&decode::<Envelope>(&ours).unwrap(), &value);
            let read: Envelope = ciborium::from_reader(ours.as_slice()).unwrap();
            prop_assert_eq!(read, value);
        }

        #[test]
        fn hostile_bytes_are_an_error_or_a_value(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(e) = decode::<Batch<Released>>(&bytes) {
                prop_assert!(e.to_string().contains("Batch"), "{}", e);
            }
        }
    }

    /// An older gateway says nothing of the character set; a landing takes its batches as before.
    #[test]
    fn a_record_of_an_older_gateway_is_read() {
        let record = Released {
            seq: 1,
            origin: None,
            feed: "adt".parse().unwrap(),
            format: Format::Hl7v2,
            received_at: None,
            peer: None,
            channel: None,
            message_type: None,
            control_id: None,
            observations: Vec::new(),
            charset: Some("8859/1".into()),
            payload: ByteBuf::from("MSH|"),
            rules: Vec::new(),
        };
        let mut map = ciborium::Value::serialized(&record).unwrap().into_map().unwrap();
        map.retain(|(key, _)| key.as_text() != Some("charset"));
        let mut older = Vec::new();
        ciborium::into_writer(&ciborium::Value::Map(map), &mut older).unwrap();
        assert_eq!(decode::<Released>(&older).unwrap(), Released { charset: None, ..record });
    }

    #[test]
    fn a_claimed_length_does_not_allocate() {
        // An array of 2^62 elements, a byte string of 2^62 bytes: refused, not allocated.
        for head in [0x9b_u8, 0x5b, 0x7b, 0xbb] {
            let mut bytes = vec![head];
            bytes.extend_from_slice(&(1_u64 << 62).to_be_bytes());
            assert!(decode::<Batch<Released>>(&bytes).is_err());
            assert!(decode::<ByteBuf>(&bytes).is_err());
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&Lane::Bulk).unwrap();
        bytes.push(0);
        assert!(decode::<Lane>(&bytes).is_err());
    }
}
