//! The papers that a witness hands out: what `wardgate-landing audit --json` prints and `wardgate audit verify` reads.

use model::Timestamp;
pub use model::wire::AuditReceipt as Receipt;

use crate::note::{Error, Note};

/// Largest file of receipts that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// Reads a file of receipts: a JSON array or JSON lines of them, or one signed note as it is.
///
/// # Errors
/// [`Error::Malformed`].
pub fn parse(text: &str) -> Result<Vec<Receipt>, Error> {
    const BAD: Error = Error::Malformed("it is neither the landing's JSON nor a signed note");
    match text.trim_start().chars().next() {
        Some('[') => serde_json::from_str(text).map_err(|_| BAD),
        Some('{') => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| serde_json::from_str(line).map_err(|_| BAD))
            .collect(),
        _ => {
            Note::parse(text).map_err(|_| BAD)?;
            Ok(vec![Receipt {
                received_at: Timestamp::default(),
                key: String::new(),
                checkpoint: text.to_owned(),
            }])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Kind, Signer};

    #[test]
    fn all_three_forms_are_read_and_junk_is_not() {
        let signer = Signer::new("a", Kind::Log, &[1; 32]).unwrap();
        let mut note = Note::new("a\n1\nb\n".to_owned());
        note.sign(&signer);
        let receipt = Receipt {
            received_at: Timestamp::from_micros(5),
            key: signer.verifier().to_string(),
            checkpoint: note.to_string(),
        };
        let line = serde_json::to_string(&receipt).unwrap();
        for text in [format!("[{line},{line}]"), format!("{line}\n{line}\n")] {
            assert_eq!(parse(&text).unwrap(), [receipt.clone(), receipt.clone()]);
        }
        assert_eq!(parse(&note.to_string()).unwrap()[0].checkpoint, receipt.checkpoint);
        for junk in ["", "x", "[1]", "{}", "a\n1\nb\n"] {
            assert!(parse(junk).is_err(), "{junk}");
        }
    }
}
