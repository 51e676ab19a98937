//! A disk in memory that writes down what happens to it, and what a power cut leaves of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::expect::Mark;

/// What is kept or lost as one.
pub const PAGE: usize = 4096;
/// What is kept or lost as one where pages are torn.
pub const SECTOR: usize = 512;

/// What is on a disk. A clone shares its pages.
#[derive(Debug, Clone)]
pub struct Image {
    bytes: u64,
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

impl Image {
    /// A disk of zeros.
    pub fn zeros(bytes: u64) -> Self {
        assert!(bytes.is_multiple_of(PAGE as u64));
        Self { bytes, pages: vec![None; usize::try_from(bytes).unwrap() / PAGE] }
    }

    /// What a file holds.
    pub fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut image = Self::zeros(file.metadata()?.len());
        let mut page = [0; PAGE];
        for (i, slot) in image.pages.iter_mut().enumerate() {
            file.read_exact_at(&mut page, (i * PAGE) as u64)?;
            if page != [0; PAGE] {
                *slot = Some(Arc::new(page));
            }
        }
        Ok(image)
    }

    /// As a file with holes, for looking at it.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.bytes)?;
        for (i, page) in self.pages.iter().enumerate() {
            if let Some(page) = page {
                file.write_all_at(&page[..], (i * PAGE) as u64)?;
            }
        }
        Ok(())
    }

    /// Its size.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, offset: u64, bytes: usize) -> Vec<u8> {
        let from = usize::try_from(offset).unwrap();
        let to = (from + bytes).min(usize::try_from(self.bytes).unwrap());
        let mut out = vec![0; to.saturating_sub(from)];
        let mut at = from;
        while at < to {
            let (page, within) = (at / PAGE, at % PAGE);
            let len = (PAGE - within).min(to - at);
            if let Some(page) = &self.pages[page] {
                out[at - from..at - from + len].copy_from_slice(&page[within..within + len]);
            }
            at += len;
        }
        out
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let from = usize::try_from(offset).unwrap();
        for (at, piece) in pieces(from, bytes, PAGE) {
            let slot = self.pages[at / PAGE].get_or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(slot)[at % PAGE..at % PAGE + piece.len()].copy_from_slice(piece);
        }
    }
}

/// Cuts bytes that begin at an offset where multiples of `size` are.
fn pieces(from: usize, bytes: &[u8], size: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = (size - (from + at) % size).min(bytes.len() - at);
        let piece = (from + at, &bytes[at..at + len]);
        at += len;
        (len > 0).then_some(piece)
    })
}

/// What happened, in order.
#[derive(Debug, Clone)]
pub enum Event {
    /// The file system wrote this; it may stay in the disk's cache.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// Everything before is on the disk.
    Flush,
    /// Somebody was told something.
    Mark(Mark),
}

/// The disk, while it is in use.
#[derive(Debug)]
pub struct Device {
    state: Mutex<(Image, Vec<Event>)>,
    /// How long a flush takes, on a disk that keeps no record of what happens to it.
    pace: Option<Duration>,
}

impl Device {
    /// A disk that holds this.
    pub fn new(image: Image) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new((image, Vec::new())), pace: None })
    }

    /// A disk whose flushes take so long, for measuring: it writes nothing down.
    pub fn slow(image: Image, flush: Duration) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new((image, Vec::new())), pace: Some(flush) })
    }

    fn note(&self, events: &mut Vec<Event>, event: impl FnOnce() -> Event) {
        if self.pace.is_none() {
            events.push(event());
        }
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.state.lock().unwrap().0.bytes
    }

    /// As the file system sees it, cache and all.
    pub fn read(&self, offset: u64, bytes: usize) -> Vec<u8> {
        self.state.lock().unwrap().0.read(offset, bytes)
    }

    /// Writes, not yet durable.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        let (image, events) = &mut *self.state.lock().unwrap();
        image.write(offset, bytes);
        self.note(events, || Event::Write { offset, bytes: bytes.into() });
    }

    /// Makes everything before durable.
    pub fn flush(&self) {
        if let Some(time) = self.pace {
            std::thread::sleep(time);
        }
        self.note(&mut self.state.lock().unwrap().1, || Event::Flush);
    }

    /// Notes what somebody was told.
    pub fn mark(&self, mark: Mark) {
        self.state.lock().unwrap().1.push(Event::Mark(mark));
    }

    /// What happened since the last call.
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.lock().unwrap().1)
    }

    /// What it holds now, cache and all.
    pub fn image(&self) -> Image {
        self.state.lock().unwrap().0.clone()
    }
}

/// When the power goes, and how the disk's cache takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Before this event.
    pub at: usize,
    /// The share of unflushed pages that reach the disk.
    pub kept_percent: u8,
    /// Whether a page may reach it in part.
    pub is_torn: bool,
}

/// What a cut did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Damage {
    /// Pages written and not flushed that are on the disk.
    pub kept: u64,
    /// Pages that are not.
    pub lost: u64,
    /// Pages that are in part.
    pub torn: u64,
}

/// What the power cut leaves. Pages that begin at an offset in `whole` are never torn.
pub fn cut(
    before: &Image,
    events: &[Event],
    cut: Cut,
    whole: &[usize],
    luck: &mut StdRng,
) -> (Image, Damage) {
    let events = &events[..cut.at];
    let durable = events.iter().rposition(|e| matches!(e, Event::Flush)).unwrap_or(0);
    let (mut image, mut damage) = (before.clone(), Damage::default());
    for (i, event) in events.iter().enumerate() {
        let Event::Write { offset, bytes } = event else { continue };
        if i < durable {
            image.write(*offset, bytes);
            continue;
        }
        for (at, page) in pieces(usize::try_from(*offset).unwrap(), bytes, PAGE) {
            if !luck.random_ratio(cut.kept_percent.into(), 100) {
                damage.lost += 1;
            } else if cut.is_torn && !whole.contains(&(at - at % PAGE)) && luck.random_ratio(1, 4) {
                damage.torn += 1;
                for (at, sector) in pieces(at, page, SECTOR) {
                    if luck.random() {
                        image.write(at as u64, sector);
                    }
                }
            } else {
                damage.kept += 1;
                image.write(at as u64, page);
            }
        }
    }
    (image, damage)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn at(at: usize, kept_percent: u8) -> Cut {
        Cut { at, kept_percent, is_torn: false }
    }

    #[test]
    fn what_was_flushed_stays_and_the_rest_is_chance() {
        let device = Device::new(Image::zeros(16 * PAGE as u64));
        let before = device.image();
        device.write(100, &[1; 2 * PAGE]);
        device.flush();
        device.write(4 * PAGE as u64, &[2; 8 * PAGE]);
        let now = device.image();
        let events = device.take_events();
        let cut = |c| super::cut(&before, &events, c, &[], &mut StdRng::seed_from_u64(1));
        assert_eq!(now.read(100, 2 * PAGE), [1; 2 * PAGE]);
        assert_eq!(cut(at(0, 100)).0.read(0, 16 * PAGE), [0; 16 * PAGE]);
        // The write alone, not yet flushed, and then flushed.
        assert_eq!(cut(at(1, 0)), (before.clone(), Damage { lost: 3, ..Damage::default() }));
        assert_eq!(cut(at(2, 0)).0.read(100, 2 * PAGE), [1; 2 * PAGE]);
        assert_eq!(cut(at(3, 0)).0.read(0, 16 * PAGE)[3 * PAGE..], [0; 13 * PAGE]);
        assert_eq!(cut(at(3, 100)).0, now);
        let (half, damage) = cut(at(3, 50));
        assert_eq!(damage.kept + damage.lost, 8);
        assert!(damage.kept > 0 && damage.lost > 0, "{damage:?}");
        assert_eq!(half.read(0, 4 * PAGE), now.read(0, 4 * PAGE));
        let torn = Cut { is_torn: true, ..at(3, 100) };
        let (torn, damage) = cut(torn);
        assert!(damage.torn > 0);
        for sector in torn.read(4 * PAGE as u64, 8 * PAGE).chunks(SECTOR) {
            assert!(sector == [0; SECTOR] || sector == [2; SECTOR]);
        }
        let all: Vec<usize> = (0..16).map(|page| page * PAGE).collect();
        let torn = Cut { is_torn: true, ..at(3, 100) };
        assert_eq!(super::cut(&before, &events, torn, &all, &mut StdRng::seed_from_u64(1)).0, now);
    }

    impl PartialEq for Image {
        fn eq(&self, other: &Self) -> bool {
            self.read(0, usize::MAX / 2) == other.read(0, usize::MAX / 2)
        }
    }
}
