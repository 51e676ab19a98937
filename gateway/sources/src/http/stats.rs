//! What an endpoint counted.

use crate::socket::counted;

counted! {
    /// A snapshot of an endpoint's counters since it was bound.
    {
        /// Connections now.
        connections,
        /// Connections accepted.
        connections_total,
        /// Connections closed at once, over a limit, from elsewhere, or without a handshake.
        connections_refused,
        /// Requests to store something; of a batch each entry. Each becomes one of the next three.
        received,
        /// Records made durable and answered so.
        accepted,
        /// Identical resends; they were answered again.
        duplicates,
        /// Requests and entries that were refused.
        refused,
        /// Requests of nobody who is known, with a token that is none, or beyond what a token permits.
        unauthorised,
        /// Requests beyond their client's quota.
        throttled,
        /// Tokens given out.
        tokens,
        /// Bytes of bodies that came in whole.
        bytes,
    }
}
