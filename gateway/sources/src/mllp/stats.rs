//! What a listener counted.

use crate::socket::counted;

counted! {
    /// A snapshot of a listener's counters since it was bound.
    {
        /// Connections now.
        connections,
        /// Connections accepted.
        connections_total,
        /// Connections closed at once, over a limit.
        connections_refused,
        /// Connections closed because `allow` does not name the peer.
        connections_denied,
        /// TLS handshakes that came to nothing, and peers that spoke TLS to a port of plain text.
        handshakes_failed,
        /// Messages refused because of their sender; also counted in `refused`.
        senders_denied,
        /// How long peers were made to wait for going faster than they may, in milliseconds.
        paced_ms,
        /// Payload bytes of complete frames.
        bytes,
        /// Complete frames that were not empty. Each becomes one of `accepted`, `duplicates`, `unparsed` or `refused`.
        frames,
        /// Frames stored and answered AA.
        accepted,
        /// Identical resends; their stored answer was repeated.
        duplicates,
        /// Frames without a readable MSH, stored as evidence and answered AR.
        unparsed,
        /// Frames answered AE or AR that were not stored.
        refused,
        /// Empty frames.
        empty,
        /// Frames broken off by the beginning of the next.
        broken,
        /// Frames broken off by a disconnect or a time-out.
        cut_off,
        /// Bytes outside of frames.
        junk_bytes,
        /// Answers that could not be written.
        answers_lost,
    }
}
