//! The answer to a batch: its envelope mirrored, an acknowledgement for each message.

use super::Line;
use crate::ack::Writer;
use crate::{Delimiters, Header, HeaderKind};

/// An answer in progress. Give it what came in the order in which it came: headers, acknowledgements, trailers.
/// Trailers that the sender left out are added.
#[derive(Default)]
pub struct BatchAnswer {
    out: Vec<u8>,
    file: Option<Delimiters>,
    batch: Option<Delimiters>,
    /// Acknowledgements since the last BHS.
    acknowledgements: u64,
    batches: u64,
}

impl std::fmt::Debug for BatchAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BatchAnswer({} bytes, {} batches)", self.out.len(), self.batches)
    }
}

impl BatchAnswer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers FHS or BHS with its like: delimiters echoed, applications and facilities swapped, a fresh id in field 11
    /// and the received one in field 12.
    pub fn header(&mut self, header: &Header, control_id: &str, sent_at: &str) {
        let delimiters = header.delimiters();
        self.end_batch();
        let name: &[u8] = if header.kind() == HeaderKind::File {
            self.end_file();
            self.file = Some(delimiters);
            b"FHS"
        } else {
            self.batch = Some(delimiters);
            self.batches += 1;
            b"BHS"
        };
        let mut segment = Writer::new(delimiters);
        segment.name(name);
        segment.field(header.field(2));
        for swapped in [5, 6, 3, 4] {
            segment.field(header.field(swapped));
        }
        segment.text_field(sent_at);
        for _ in 8..11 {
            segment.field(b"");
        }
        segment.text_field(control_id);
        segment.field(header.field(11));
        segment.end();
        self.out.append(&mut segment.into_bytes());
    }

    /// Adds an acknowledgement, as [`crate::Ack::to_bytes`] made it.
    pub fn acknowledgement(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.acknowledgements += 1;
    }

    /// A line of the envelope that is no header.
    pub fn trailer(&mut self, line: Line) {
        match line {
            Line::BatchTrailer => self.end_batch(),
            Line::FileTrailer => {
                self.end_batch();
                self.end_file();
            }
            Line::FileHeader | Line::BatchHeader => {}
        }
    }

    /// Whether there is an acknowledgement in it.
    pub const fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The bytes, without a frame.
    pub fn finish(mut self) -> Vec<u8> {
        self.end_batch();
        self.end_file();
        self.out
    }

    fn end_batch(&mut self) {
        if let Some(delimiters) = self.batch.take() {
            self.count(b"BTS", delimiters, self.acknowledgements);
        }
        self.acknowledgements = 0;
    }

    fn end_file(&mut self) {
        if let Some(delimiters) = self.file.take() {
            self.count(b"FTS", delimiters, self.batches);
        }
        self.batches = 0;
    }

    fn count(&mut self, name: &[u8], delimiters: Delimiters, count: u64) {
        let mut segment = Writer::new(delimiters);
        segment.name(name);
        segment.text_field(&count.to_string());
        segment.end();
        self.out.append(&mut segment.into_bytes());
    }
}
