//! What a gateway vouches for at one moment: how its audit log stands, and how far each of its logs goes.
//!
//! The text of a checkpoint (`c2sp.org/tlog-checkpoint`), with a line for each log behind the three that the
//! specification asks for:
//!
//! ```text
//! wardgate/ward-3/8f14e45fceea167a5a36dedd4bea2543       origin: gateway, and incarnation of its journal
//! 1234                                                   entries of the audit log
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=           root of their tree
//! head clinical 6c8349cc7260ae62e3b1396831a8398f 3 70211 c20ad4d76fe97759aa27a0c99bff6710
//! ```
//!
//! A *head* is: name of the log, incarnation, epoch, last durable number, and the tag of that record's frame, which is
//! bound to every frame before it; `-` where that record cannot be read. So whoever has a checkpoint can tell a disk
//! that was set back, or changed by someone with its keys, also of records that never left the box. None of it says
//! anything about a record but its place.
//!
//! The origin changes with the journal's incarnation: a restore, or a set-back disk that was noticed, begins a new
//! origin. Under one origin a log only grows.

use model::{Seq, Slug};
use serde::{Deserialize, Serialize};

use crate::Hash;
use crate::note::Error;

/// Most heads in a checkpoint.
pub const HEADS_MAX: usize = 16;
/// Length of an incarnation: 128 bits as hex.
pub const INCARNATION_CHARS: usize = 32;
const TAG_BYTES: usize = 16;
const ORIGIN_HEAD: &str = "wardgate";
/// How a log may be called.
const LOG_NAME_BYTES_MAX: usize = 16;

/// How far one log goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// `urgent`, `clinical`, `bulk`, `held` or `journal`.
    pub log: String,
    /// 32 lower-case hex digits: one physical log on one disk.
    pub incarnation: String,
    /// Its epoch.
    pub epoch: u64,
    /// Its last durable number.
    pub seq: Seq,
    /// The tag of that record's frame; `None` where the record cannot be read, and of an empty log.
    pub tag: Option<[u8; TAG_BYTES]>,
}

/// The text of a checkpoint, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose log it is.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of their tree.
    pub root: Hash,
    /// How far the gateway's logs go.
    pub heads: Vec<Head>,
}

/// The origin of a gateway's audit log.
pub fn origin(gateway: &Slug, incarnation: &str) -> String {
    format!("{ORIGIN_HEAD}/{gateway}/{incarnation}")
}

/// The gateway and the incarnation that an origin names; `None` where it is none of ours.
pub fn of_origin(origin: &str) -> Option<(Slug, &str)> {
    let rest = origin.strip_prefix(ORIGIN_HEAD)?.strip_prefix('/')?;
    let (gateway, incarnation) = rest.split_once('/')?;
    Some((gateway.parse().ok()?, is_incarnation(incarnation).then_some(incarnation)?))
}

/// Whether a text looks like an incarnation.
pub fn is_incarnation(text: &str) -> bool {
    text.len() == INCARNATION_CHARS && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A number as it must be written: no sign, no zero before it.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

impl Head {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (Some("head"), Some(log), Some(incarnation), Some(epoch), Some(seq), Some(tag), None) = (
            words.next(),
            words.next(),
            words.next(),
            words.next(),
            words.next(),
            words.next(),
            words.next(),
        ) else {
            return None;
        };
        let is_name =
            !log.is_empty() && log.len() <= LOG_NAME_BYTES_MAX && log.bytes().all(|b| b.is_ascii_lowercase());
        if !is_name || !is_incarnation(incarnation) {
            return None;
        }
        let tag = match tag {
            "-" => None,
            tag => {
                let mut bytes = [0; TAG_BYTES];
                hex::decode_to_slice(tag, &mut bytes).ok()?;
                Some(bytes)
            }
        };
        let (log, incarnation) = (log.to_owned(), incarnation.to_owned());
        Some(Self { log, incarnation, epoch: number(epoch)?, seq: number(seq)?, tag })
    }

    /// Whether a log that was as `self` says can later be as `later` says: another incarnation, or the same one that
    /// has not gone back.
    pub fn may_become(&self, later: &Self) -> bool {
        self.log == later.log
            && (self.incarnation != later.incarnation
                || self.seq < later.seq
                || (self.seq == later.seq
                    && (self.tag == later.tag || self.tag.is_none() || later.tag.is_none())))
    }
}

impl Checkpoint {
    /// The text to be signed.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64());
        for Head { log, incarnation, epoch, seq, tag } in &self.heads {
            let tag = tag.map_or_else(|| "-".to_owned(), hex::encode);
            text.push_str(&format!("head {log} {incarnation} {epoch} {seq} {tag}\n"));
        }
        text
    }

    /// Reads a text. Lines that are no heads are passed over, as the specification wants it.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = Error::Malformed;
        let text = text.strip_suffix('\n').ok_or(bad("the last line is not ended"))?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(bad("a checkpoint has three lines at least"));
        };
        if origin.is_empty() {
            return Err(bad("the checkpoint has no origin"));
        }
        let size = number(size).ok_or(bad("the size of the tree is no number"))?;
        let root = Hash::from_base64(root).ok_or(bad("the root of the tree is no hash"))?;
        let mut heads: Vec<Head> = Vec::new();
        for line in lines {
            if line.is_empty() {
                return Err(bad("a checkpoint has no empty lines"));
            }
            if !line.starts_with("head ") {
                continue;
            }
            let head = Head::parse(line).ok_or(bad("the head of a log cannot be read"))?;
            if heads.len() == HEADS_MAX || heads.iter().any(|other| other.log == head.log) {
                return Err(bad("it has too many heads, or two of one log"));
            }
            heads.push(head);
        }
        Ok(Self { origin: origin.to_owned(), size, root, heads })
    }

    /// The head of a log.
    pub fn head(&self, log: &str) -> Option<&Head> {
        self.heads.iter().find(|head| head.log == log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(log: &str, seq: Seq, tag: Option<u8>) -> Head {
        Head {
            log: log.to_owned(),
            incarnation: "0123456789abcdef0123456789abcdef".to_owned(),
            epoch: 2,
            seq,
            tag: tag.map(|b| [b; 16]),
        }
    }

    #[test]
    fn a_checkpoint_reads_back_and_is_what_the_specification_says() {
        let origin = origin(&"ward-3".parse().unwrap(), "0123456789abcdef0123456789abcdef");
        assert_eq!(of_origin(&origin).unwrap().0.as_str(), "ward-3");
        let checkpoint = Checkpoint {
            origin,
            size: 20_852_163,
            root: Hash::leaf(b"x"),
            heads: vec![head("clinical", 7, Some(9)), head("held", 0, None)],
        };
        let text = checkpoint.to_text();
        insta::assert_snapshot!(text, @r"
        wardgate/ward-3/0123456789abcdef0123456789abcdef
        20852163
        PH6byTDck/AfppmF7yQtn56GHzxTVaokzl70tLinDMs=
        head clinical 0123456789abcdef0123456789abcdef 2 7 09090909090909090909090909090909
        head held 0123456789abcdef0123456789abcdef 2 0 -
        ");
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint));
        // The example of the specification, and a line that we do not know.
        let example = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nsomething else\n";
        let read = Checkpoint::parse(example).unwrap();
        assert_eq!((read.size, read.heads.len()), (20_852_163, 0));
        assert_eq!(of_origin(&read.origin), None);
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let root = Hash::ZERO.to_base64();
        let inc = "0123456789abcdef0123456789abcdef";
        for text in [
            String::new(),
            "a\n".into(),
            "a\n1\n".into(),
            format!("a\n1\n{root}"),
            format!("\n1\n{root}\n"),
            format!("a\n01\n{root}\n"),
            format!("a\n-1\n{root}\n"),
            format!("a\n+1\n{root}\n"),
            "a\n1\nAAAA\n".into(),
            format!("a\n1\n{root}\n\n"),
            format!("a\n1\n{root}\nhead x {inc} 1 1\n"),
            format!("a\n1\n{root}\nhead x {inc} 1 1 0\n"),
            format!("a\n1\n{root}\nhead X {inc} 1 1 -\n"),
            format!("a\n1\n{root}\nhead x {inc}0 1 1 -\n"),
            format!("a\n1\n{root}\nhead x {inc} 1 1 - \n"),
            format!("a\n1\n{root}\nhead x {inc} 1 1 -\nhead x {inc} 1 1 -\n"),
        ] {
            assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_head_goes_on_and_not_back() {
        let at = |seq, tag| head("bulk", seq, tag);
        assert!(at(5, Some(1)).may_become(&at(6, Some(2))));
        assert!(at(5, Some(1)).may_become(&at(5, Some(1))));
        assert!(!at(5, Some(1)).may_become(&at(5, Some(2))), "the same number, another record");
        assert!(!at(5, Some(1)).may_become(&at(4, Some(1))));
        assert!(!at(5, Some(1)).may_become(&head("held", 9, Some(1))));
        assert!(at(5, Some(1)).may_become(&at(5, None)), "a record that cannot be read says nothing");
        let other = Head { incarnation: "f".repeat(32), ..at(1, Some(3)) };
        assert!(at(5, Some(1)).may_become(&other));
    }
}
