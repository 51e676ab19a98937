//! Looking a key up in a sidecar.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use zeroize::Zeroizing;

use super::format::{Directory, FOOTER_BYTES, Footer, PAGE_BYTES, SidecarKeys, find};
use super::path;
use crate::Error;
use crate::inner::Inner;
use crate::table::Segment;

/// Index keys of days that are kept at hand during one search.
const DAYS_MAX: usize = 64;

/// The index keys of the days that a search goes through.
#[derive(Default)]
pub(super) struct IndexKeys(BTreeMap<u64, Zeroizing<[u8; 32]>>);

impl IndexKeys {
    /// `None` where the day's key was destroyed.
    fn of(&mut self, log: &Inner, key_epoch: u64) -> Option<&[u8; 32]> {
        if !self.0.contains_key(&key_epoch) {
            let key = log.keys.epochs().index_key(key_epoch, log.name).ok()?;
            if self.0.len() >= DAYS_MAX {
                self.0.pop_last();
            }
            self.0.insert(key_epoch, key);
        }
        self.0.get(&key_epoch).map(|key| &**key)
    }
}

/// What no other segment has; `None` where its header cannot be read.
pub(super) fn segment_mac(log: &Inner, segment: u64) -> Result<Option<[u8; 16]>, Error> {
    Ok(log.opened(segment)?.and_then(|opened| opened.header.mac.first_chunk::<16>().copied()))
}

/// An open sidecar.
pub(super) struct Sidecar {
    file: File,
    keys: SidecarKeys,
    pub(super) directory: Directory,
}

/// Why a sidecar is no use.
type Unfit = &'static str;

impl Sidecar {
    /// Reads footer and directory; with `check` also whether it is of this very segment, which costs the segment's header.
    /// The inner error: it is to be made anew.
    pub(super) fn open(
        log: &Inner,
        segment: &Segment,
        days: &mut IndexKeys,
        check: bool,
    ) -> Result<Result<Self, Unfit>, Error> {
        let path = path(&log.dir, segment.number);
        let failed = |e| Error::io("read", &path, e);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err("it is missing")),
            Err(e) => return Err(failed(e)),
        };
        let size = file.metadata().map_err(failed)?.len();
        // The last page holds the footer and, in nearly all of them, the directory.
        let mut end = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(PAGE_BYTES)];
        let end_at = size.saturating_sub(end.len() as u64);
        file.read_exact_at(&mut end, end_at).map_err(failed)?;
        let Some((before, footer)) = end.split_last_chunk::<FOOTER_BYTES>() else {
            return Ok(Err("it is torn"));
        };
        let Some(footer) = Footer::decode(footer) else { return Ok(Err("its footer is not whole")) };
        if footer.total_bytes() != size {
            return Ok(Err("its size is not what it says"));
        }
        let is_of = (footer.segment, footer.key_epoch) == (segment.number, segment.key_epoch);
        if !is_of || (check && segment_mac(log, segment.number)? != Some(footer.segment_mac)) {
            return Ok(Err("it is of another segment"));
        }
        let length = footer.directory_len as usize;
        let mut sealed = match before.len().checked_sub(length).and_then(|at| before.get(at..)) {
            Some(at_hand) => at_hand.to_vec(),
            None => {
                let mut sealed = vec![0; length];
                file.read_exact_at(&mut sealed, footer.directory_at()).map_err(failed)?;
                sealed
            }
        };
        let Some(key) = days.of(log, footer.key_epoch) else { return Ok(Err("its key was destroyed")) };
        let keys = SidecarKeys::new(key, footer.suite, &footer.segment_mac, &footer.salt)?;
        let Some(directory) = keys.open_directory(&footer, &mut sealed) else {
            return Ok(Err("its directory is not whole"));
        };
        if (directory.first_seq, directory.last_seq) != (segment.first_seq, segment.last_seq) {
            return Ok(Err("it is of another state of its segment"));
        }
        Ok(Ok(Self { file, keys, directory }))
    }

    /// The records that may have a key, as numbers less the segment's first, in order.
    pub(super) fn numbers(&self, key: &[u8]) -> Result<Result<Vec<u32>, Unfit>, Error> {
        let term = self.keys.term(key);
        let firsts = &self.directory.firsts;
        // A term that a page begins with may have begun in the page before.
        let from = firsts.partition_point(|first| *first < term).saturating_sub(1);
        let mut numbers = Vec::new();
        let mut page = vec![0; PAGE_BYTES];
        for (number, _) in firsts.iter().enumerate().skip(from).take_while(|(_, first)| **first <= term) {
            let at = number as u64 * PAGE_BYTES as u64;
            match self.file.read_exact_at(&mut page, at) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(Err("it was cut")),
                Err(e) => return Err(Error::io("read", std::path::Path::new("a sidecar"), e)),
            }
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let groups = self.keys.open_page(number, &mut page);
            if groups.and_then(|groups| find(groups, term, &mut numbers)).is_none() {
                return Ok(Err("a page of it is not whole"));
            }
        }
        Ok(Ok(numbers))
    }
}
