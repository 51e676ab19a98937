//! What is sent to a witness: the body of `add-checkpoint` of `c2sp.org/tlog-witness`.
//!
//! ```text
//! old 1200
//! base64 of each hash of the consistency proof, one a line
//!
//! the signed note
//! ```

use crate::Hash;
use crate::note::{Error, NOTE_BYTES_MAX, Note};
use crate::proof::PROOF_HASHES_MAX;

/// Largest body, in bytes.
pub const BODY_BYTES_MAX: usize = NOTE_BYTES_MAX + 48 * (PROOF_HASHES_MAX + 1);

/// A checkpoint, and why it may follow one that the witness has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// How many entries the checkpoint had that the witness has; 0 where it has none.
    pub old_size: u64,
    /// Proof that the new one continues it.
    pub proof: Vec<Hash>,
    /// The new one.
    pub note: Note,
}

impl AddCheckpoint {
    /// The body.
    pub fn to_body(&self) -> String {
        let mut body = format!("old {}\n", self.old_size);
        for hash in &self.proof {
            body.push_str(&hash.to_base64());
            body.push('\n');
        }
        body.push('\n');
        body.push_str(&self.note.to_string());
        body
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(body: &str) -> Result<Self, Error> {
        let bad = Error::Malformed;
        if body.len() > BODY_BYTES_MAX {
            return Err(bad("the request is too long"));
        }
        let (head, note) = body.split_once("\n\n").ok_or(bad("no empty line divides proof and note"))?;
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(|size| size.parse::<u64>().ok().filter(|n| n.to_string() == size))
            .ok_or(bad("the first line does not say how far the witness is"))?;
        let proof: Vec<Hash> = lines
            .map(Hash::from_base64)
            .collect::<Option<_>>()
            .ok_or(bad("a line of the proof is no hash"))?;
        if proof.len() > PROOF_HASHES_MAX {
            return Err(bad("the proof is too long"));
        }
        Ok(Self { old_size, proof, note: Note::parse(note)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Kind, Signer};

    #[test]
    fn a_request_reads_back_and_junk_is_refused() {
        let mut note = Note::new("a\n1\nb\n".to_owned());
        note.sign(&Signer::new("a", Kind::Log, &[1; 32]).unwrap());
        for proof in [Vec::new(), vec![Hash::ZERO, Hash::empty()]] {
            let request = AddCheckpoint { old_size: 12, proof, note: note.clone() };
            assert_eq!(AddCheckpoint::parse(&request.to_body()), Ok(request));
        }
        let good = AddCheckpoint { old_size: 12, proof: vec![Hash::ZERO], note }.to_body();
        let long = good.replacen("old 12\n", &format!("old 12\n{}", "A\n".repeat(BODY_BYTES_MAX)), 1);
        for body in [
            "",
            "old 1\n",
            &good.replace("old 12", "old x"),
            &good.replace("old 12", "old 012"),
            &good.replace("AAAA", "A!AA"),
            &long,
        ] {
            assert!(AddCheckpoint::parse(body).is_err(), "{body:.60}");
        }
    }
}
