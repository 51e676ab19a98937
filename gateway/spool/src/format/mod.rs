//! The format on the disk, version 1.
//!
//! # Limits
//! A segment is 1 to 64 MiB. A record's envelope is at most [`META_BYTES_MAX`], its payload at most
//! [`crate::config::RECORD_BYTES_MAX`]; a payload beyond [`INLINE_BYTES`] is stored as chunks of that size, more than
//! [`DIRECT_REFS_MAX`] of them by way of at most [`TABLES_MAX`] tables of [`TABLE_REFS`]. A batch is at most
//! [`COMMIT_RECORDS_MAX`] frames or about [`COMMIT_BYTES_MAX`] bytes.
//!
//! # Files of a log
//! (The keys are in `<spool>/keys/`: module `keys::ring`.) `<spool>/logs/<name>/` holds `log.id` (see the module
//! `identity`), `retention` (ages of delivered segments, a convenience), at most one `spare` and one `next` (zeros, next
//! in line) and the segments `<20 digits>.seg`. The name is the segment's number; numbers grow and may have gaps. A
//! segment gets its name when its header is durable.
//!
//! # Segment
//! All integers are little-endian. CRC is CRC-32C (RFC 3720 appendix B.4).
//!
//! ```text
//! 0        header page          4096 bytes
//! 4096     the same page again  a damaged page must not cost a whole segment
//! 8192     batches              each begins on a multiple of 4096 and is padded with zeros to the next one
//! …        footer batch         only in a segment that was closed in order
//! ```
//! While it is open the file has its full size, zeros from the last batch on, so that a commit changes no
//! metadata and cannot run out of disk. When it has a successor it is cut to its last batch.
//!
//! Header page:
//! ```text
//!   0  magic "WARDSPL\x01"        8     96  epoch                    8
//!   8  version                    2    104  segment number           8
//!  10  suite: 1 AES-256-GCM,      1    112  first record number      8
//!      2 ChaCha20-Poly1305             120  created, µs since 1970   8
//!  11  0                          1    128  predecessor's number     8   0: none
//!  12  allocated size             4    136  predecessor's end        8   byte offset
//!  16  id of the ring            16    144  predecessor's frames     8
//!  32  SHA-256 of gateway's name 32    152  predecessor's last tag  16
//!  64  log's name, zero padded   16    168  key epoch                8
//!  80  incarnation               16    176  nonce of the wrapping   12
//! 236  HMAC-SHA-256 of 0..236    32    188  data key, wrapped       48
//!                                      4092 CRC of 0..4092           4
//! ```
//! The data key (DEK) is 256 random bits, used for this file alone and never again after the file was closed:
//! **an opened spool never appends to a segment it finds**, so no nonce is used twice. It is wrapped with
//! AES-256-GCM under the log's key of its *key epoch* (see the modules `epochs` and `keys`) and a random nonce, with
//! the identity as associated data. *Identity* is SHA-256 of bytes 0..16 and 32..168. A header never changes: rotating
//! the root key rewraps the ring alone, and where the key of an epoch was destroyed, header, checksums and chain of its
//! segments can still be checked, and nothing in them can be read.
//!
//! Frame:
//! ```text
//!   0  magic "WGf1"     4      24  number of the batch's first frame   4
//!   4  length of body   4      28  kind: 1 record, 2 chunk, 3 footer,  1
//!                                  4 table
//!   8  frame number     8      29  flags: 1 chunked, 2 final,          1
//!  16  record number    8          4 zstd, 8 more of the batch
//!      (0: chunk, table)              follows, 16 indirect
//!                              30  0                                   2
//!                              32  tag of the frame before            16
//!  48  CRC of 0..48     4      52  body: ciphertext and 16-byte tag
//!      CRC of all the above 4
//! ```
//! Nonce: 4 zero bytes and the frame number. Associated data: identity and bytes 0..48 of the frame; so the
//! tag covers format, suite, gateway, log, incarnation, segment, frame, record number, flags and the tag
//! before. Frame 0 is preceded by the last tag of the predecessor: the chain runs through the whole log. The
//! tag before stands in the frame, so that one damaged frame does not take the next with it.
//!
//! Plaintext of a *record*: time i64, length of envelope u32, envelope, payload. If *chunked*: time, length of
//! envelope, envelope, object 16, total length u64, count u32, and for each chunk its segment u64, offset u64,
//! body length u32, tag 16. If also *indirect*: the first segment that holds a part of it u64 stands before the count,
//! and what is counted are not chunks but tables; every part of it lies in that segment, in that of its last table, or
//! between. Of a *chunk*: object 16, index u32, bytes; all chunks but the last are full. Of a *table*: object 16, index
//! u32, count u32, and that many chunks as above; all tables but the last are full. Of a *footer*: first and last record
//! number, records, time of the last, marks (count u32; record number and offset of a frame, about one in
//! 64 KiB), references (count u32; an older segment whose chunks are needed here, and the last record that
//! needs them). The last 16 bytes of a footer's batch: "WGtr", offset of the footer frame u64, CRC.
//!
//! With *zstd*, the payload of a record, or the bytes of a chunk, are one zstd frame (RFC 8878) that states its content's
//! size, at most [`INLINE_BYTES`]; without, they are as they came. Each stands alone: no frame needs another one to be
//! read, and a damaged one costs itself. See the module `pack` for what is compressed.
//!
//! # What a reader concludes
//! - A frame whose CRC is wrong has rotted; one whose CRC is right and whose tag is wrong was tampered with.
//!   Either way its number is *damaged*, and reading goes on at the next valid frame header.
//! - A successor's header closes its predecessor: what lies beyond `end` there is void, and the predecessor's
//!   last number is the successor's first minus one.
//! - In a segment without a successor, the last batch may be *torn* by a power cut. Torn is what misses a whole
//!   512-byte sector (ciphertext never has one of zeros) in the last batch begun; it was never acknowledged and
//!   is dropped. All before it was acknowledged; what cannot be read there is damage. Behind a frame that says
//!   that more follows, zeros are sectors that were not written; behind another they are padding.
//! - A frame that misses nothing but the last byte of its CRC, alone in a sector of zeros, is whole: whether that
//!   sector was not written or the byte has rotted, the tag of the frame vouches for it.
//! - A number that no segment covers is damaged, never skipped in silence.
//! - A segment whose numbers nobody misses may be absent: it held nothing but parts of objects that were never finished,
//!   and was freed out of turn. Its predecessor has a footer.

mod body;
mod frame;
mod header;
mod pack;

pub(crate) use body::{
    ChunkBody, ChunkRef, Chunked, FooterBody, Layout, RecordBody, Stored, TRAILER_BYTES, TableBody,
    decode_trailer, encode_trailer,
};
pub(crate) use frame::{FrameHeader, Kind, MAGIC as FRAME_MAGIC, flags};
pub(crate) use header::{HeaderFault, Previous, SegmentHeader, Suite};
pub(crate) use pack::Packed;

/// Version of the format.
pub const VERSION: u16 = 1;
/// Largest payload stored inside its record's frame, and the size of a chunk beyond it, in bytes.
pub const INLINE_BYTES: usize = 256 << 10;
/// Largest envelope of a record, in bytes.
pub const META_BYTES_MAX: usize = 64 << 10;
/// Most chunks that a record names by itself. Few in the tests of this crate, so that every large record there meets
/// tables.
pub const DIRECT_REFS_MAX: usize = if cfg!(test) { 2 } else { 256 };
/// Most chunks in a table.
pub const TABLE_REFS: usize = if cfg!(test) { 3 } else { 1024 };
/// Most tables of a record.
pub const TABLES_MAX: usize = 256;
/// Most frames made durable by one flush.
pub const COMMIT_RECORDS_MAX: usize = 1024;
/// A batch is closed when it has this many bytes.
pub const COMMIT_BYTES_MAX: usize = 1 << 20;

pub(crate) const PAGE_BYTES: u64 = 4096;
pub(crate) const SECTOR_BYTES: u64 = 512;
/// Where frames begin: behind two copies of the header.
pub(crate) const DATA_START: u64 = 2 * PAGE_BYTES;
/// Kept free at the end of a segment for its footer.
pub(crate) const FOOTER_RESERVE_BYTES: u64 = 32 << 10;
pub(crate) const FRAME_HEADER_BYTES: usize = 52;
pub(crate) const FRAME_AAD_BYTES: usize = 48;
pub(crate) const TAG_BYTES: usize = 16;
pub(crate) const CRC_BYTES: usize = 4;
/// What a frame adds to its plaintext.
pub(crate) const FRAME_OVERHEAD_BYTES: usize = FRAME_HEADER_BYTES + TAG_BYTES + CRC_BYTES;
/// Largest body of any frame: envelope, inline payload or a table of chunks, and change.
pub(crate) const BODY_BYTES_MAX: usize = INLINE_BYTES + META_BYTES_MAX + (16 << 10);

/// The tag of a frame.
pub(crate) type Tag = [u8; TAG_BYTES];

/// The next multiple of a page.
pub(crate) const fn page_up(offset: u64) -> u64 {
    offset.next_multiple_of(PAGE_BYTES)
}

/// Reads fields off the front of a slice.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

/// Whether the last of the CRC's four bytes is zero and should not be, and the other three are right.
pub(crate) fn crc_misses_its_last_byte(bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<CRC_BYTES>().is_some_and(|(bytes, [a, b, c, last])| {
        let [x, y, z, _] = crc32c::crc32c(bytes).to_le_bytes();
        *last == 0 && (*a, *b, *c) == (x, y, z)
    })
}

/// Splits off a trailing CRC and says whether it is right.
pub(crate) fn crc_is_right(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<CRC_BYTES>()
        .is_some_and(|(front, crc)| crc32c::crc32c(front) == u32::from_le_bytes(*crc))
}
