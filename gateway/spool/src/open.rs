//! Opening one segment for reading: header, data key, footer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::cipher::{LogKeys, SegmentCipher};
use crate::format::{
    DATA_START, FRAME_HEADER_BYTES, FooterBody, FrameHeader, HeaderFault, Kind, PAGE_BYTES, SegmentHeader,
    TRAILER_BYTES, crc_is_right, decode_trailer,
};

/// A segment whose header was found and whose data key was unwrapped.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: Arc<File>,
    pub(crate) header: SegmentHeader,
    pub(crate) cipher: SegmentCipher,
}

/// The two copies of the header, as they were found.
#[derive(Debug)]
pub(crate) struct Copies(pub(crate) [Result<SegmentHeader, HeaderFault>; 2]);

impl Copies {
    pub(crate) fn read(file: &File) -> io::Result<Self> {
        let mut pages = vec![0; DATA_START as usize];
        let mut held = 0;
        while let Some(rest) = pages.get_mut(held..).filter(|r| !r.is_empty()) {
            match file.read_at(rest, held as u64) {
                Ok(0) => break,
                Ok(n) => held += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // A bad first page leaves the second.
                Err(_) if held < PAGE_BYTES as usize => held = PAGE_BYTES as usize,
                Err(e) => return Err(e),
            }
        }
        pages.truncate(held);
        let (first, second) = pages.split_at_checked(PAGE_BYTES as usize).unwrap_or((&pages, &[]));
        Ok(Self([SegmentHeader::decode(first), SegmentHeader::decode(second)]))
    }

    /// The copy that can be read, or why none can.
    pub(crate) fn best(self) -> Result<SegmentHeader, HeaderFault> {
        let [first, second] = self.0;
        first.or_else(|fault| second.map_err(|_| fault))
    }
}

/// What a segment's header leads to.
#[derive(Debug)]
pub(crate) enum Opening {
    Open(Opened),
    /// The header is right and the key of its epoch was destroyed.
    Erased(SegmentHeader),
    /// Of another ring of keys: of another spool.
    Foreign,
    /// Neither copy of the header is whole, or it is not what was written.
    Unreadable,
}

impl Opening {
    pub(crate) fn header(self) -> Option<SegmentHeader> {
        match self {
            Self::Open(opened) => Some(opened.header),
            Self::Erased(header) => Some(header),
            Self::Foreign | Self::Unreadable => None,
        }
    }
}

/// Opens a segment.
pub(crate) fn open_segment(path: &Path, keys: &LogKeys) -> Result<Opening, Error> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let copies = Copies::read(&file).map_err(|e| Error::io("read", path, e))?;
    let header = match copies.best() {
        Ok(header) => header,
        Err(HeaderFault::Version(version)) => return Err(Error::Version { path: path.to_owned(), version }),
        Err(HeaderFault::Rot | HeaderFault::Foreign) => return Ok(Opening::Unreadable),
    };
    match keys.unlock(&header) {
        Ok(cipher) => Ok(Opening::Open(Opened { file: Arc::new(file), header, cipher })),
        Err(crate::cipher::Locked::Erased) => Ok(Opening::Erased(header)),
        Err(crate::cipher::Locked::OtherKey) => Ok(Opening::Foreign),
        Err(crate::cipher::Locked::Tampered) => {
            tracing::error!(file = %path.display(), "the header of a segment was tampered with");
            Ok(Opening::Unreadable)
        }
    }
}

/// Reads and checks one frame at a known offset; `None` when it is not whole.
pub(crate) fn frame_at(file: &File, offset: u64, body_len_max: usize) -> Option<(FrameHeader, Vec<u8>)> {
    let mut head = [0; FRAME_HEADER_BYTES];
    file.read_exact_at(&mut head, offset).ok()?;
    let header = FrameHeader::decode(&head).filter(|h| h.body_len as usize <= body_len_max)?;
    let mut bytes = vec![0; header.total_bytes() as usize];
    file.read_exact_at(&mut bytes, offset).ok()?;
    if !crc_is_right(&bytes) {
        return None;
    }
    bytes.drain(..FRAME_HEADER_BYTES);
    bytes.truncate(header.body_len as usize);
    Some((header, bytes))
}

/// Where the footer of a segment that ends at `end` begins.
pub(crate) fn footer_at(file: &File, end: u64) -> Option<u64> {
    let at = end.checked_sub(TRAILER_BYTES as u64).filter(|at| *at > DATA_START)?;
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact_at(&mut trailer, at).ok()?;
    decode_trailer(&trailer).filter(|at| *at >= DATA_START && *at < end)
}

impl Opened {
    /// The footer of a segment that ends at `end`; `None` when it was not closed in order or has rotted.
    pub(crate) fn footer(&self, end: u64) -> Option<(FrameHeader, FooterBody, crate::format::Tag)> {
        let at = footer_at(&self.file, end)?;
        let (header, body) = frame_at(&self.file, at, crate::format::BODY_BYTES_MAX)?;
        if header.kind != Kind::Footer {
            return None;
        }
        let tag = crate::cipher::tag_of(&body);
        let footer = FooterBody::decode(&self.cipher.open(&header, body)?)?;
        Some((header, footer, tag))
    }
}
