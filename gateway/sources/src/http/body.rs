//! Bodies: read whole within a time and a size, because they must be judged before a byte of them is stored, and
//! never more of them at once than there is memory for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fhir::validate::Code;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::request;
use super::respond::Refusal;

/// Most bytes of bodies in memory at once. While they are judged, as much again and at most 48 MiB a body for the
/// index.
pub const MEMORY_BYTES_MAX: u64 = 64 << 20;
/// Longest wait for room, in seconds.
pub const ROOM_S_MAX: u64 = 5;
/// Most large bodies judged at once: each takes a core.
pub const JUDGED_AT_ONCE_MAX: usize = 2;
/// A body that is judged where it stands: a fraction of a millisecond.
const SMALL_BYTES: usize = 64 << 10;
/// Most bytes of a body that are read past after its request was answered without them.
const SWALLOWED_BYTES_MAX: usize = 64 << 10;
/// Longest time for that, in milliseconds.
const SWALLOW_MS_MAX: u64 = 1_000;
/// Memory is counted in units of so many bytes.
const UNIT_BYTES: u64 = 1 << 10;

/// Reads past what is left of a short body. An answer that comes while its request is still being sent ends an HTTP/2
/// stream early, and some clients (curl 7.88) then report the stream's end instead of the answer.
pub(super) async fn swallow<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let reading = async {
        let mut swallowed = 0;
        while swallowed < SWALLOWED_BYTES_MAX && !body.is_end_stream() {
            let Some(Ok(frame)) = body.frame().await else { return };
            swallowed += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whoever is slower than that sends a long body, and is told by the stream's end.
    drop(timeout(Duration::from_millis(SWALLOW_MS_MAX), reading).await);
}

/// The memory of an endpoint.
#[derive(Debug)]
pub(super) struct Room {
    memory: Arc<Semaphore>,
    judging: Semaphore,
}

/// A body that is there. Its room is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Default for Room {
    fn default() -> Self {
        let units = usize::try_from(MEMORY_BYTES_MAX / UNIT_BYTES).unwrap_or(Semaphore::MAX_PERMITS);
        Self { memory: Arc::new(Semaphore::new(units)), judging: Semaphore::new(JUDGED_AT_ONCE_MAX) }
    }
}

impl Room {
    /// Reads a body to its end.
    ///
    /// # Errors
    /// [`Refusal`]: too long, too slow, no room, or broken off.
    pub(super) async fn read<B>(
        &self,
        headers: &HeaderMap,
        mut body: B,
        bytes_max: u64,
        within: Duration,
    ) -> Result<Whole, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let deadline = Instant::now() + within;
        let announced = request::announced(headers);
        let long = || Refusal::new(413, Code::TooLong, format!("the body is longer than {bytes_max} bytes"));
        if announced.is_some_and(|n| n > bytes_max) {
            return Err(long());
        }
        let units = announced.unwrap_or(bytes_max).div_ceil(UNIT_BYTES).max(1);
        let permits = u32::try_from(units.min(MEMORY_BYTES_MAX / UNIT_BYTES)).unwrap_or(u32::MAX);
        let room =
            timeout(Duration::from_secs(ROOM_S_MAX), Arc::clone(&self.memory).acquire_many_owned(permits));
        let Ok(Ok(room)) = room.await else {
            let why = "the gateway has no memory for another body now; nothing was stored, try again";
            return Err(Refusal::later(503, Code::Transient, ROOM_S_MAX, why));
        };
        let mut bytes = Vec::with_capacity(usize::try_from(announced.unwrap_or(0)).unwrap_or(0));
        loop {
            let frame = timeout_at(deadline, body.frame()).await.map_err(|_| {
                let text = format!("the body took longer than {} seconds", within.as_secs());
                Refusal::new(408, Code::Timeout, text)
            })?;
            match frame {
                None => break,
                Some(Err(_)) => return Err(Refusal::broken_off()),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if bytes.len() as u64 + data.len() as u64 > bytes_max {
                        return Err(long());
                    }
                    bytes.extend_from_slice(&data);
                }
            }
        }
        Ok(Whole { bytes: bytes.into(), _room: room })
    }

    /// Judges a body, a large one beside the runtime's threads.
    ///
    /// # Errors
    /// [`Refusal`] where the runtime is stopping.
    pub(super) async fn judge<T, F>(&self, whole: &Whole, judge: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&[u8]) -> T + Send + 'static,
    {
        if whole.bytes.len() <= SMALL_BYTES {
            return Ok(judge(&whole.bytes));
        }
        let stopping = || Refusal::storage(model::Refusal::Stopping);
        let _turn = self.judging.acquire().await.map_err(|_| stopping())?;
        let bytes = whole.bytes.clone();
        tokio::task::spawn_blocking(move || judge(&bytes)).await.map_err(|_| stopping())
    }
}

#[cfg(test)]
mod tests {
    use http::header;
    use http_body_util::Full;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn announced(bytes: u64) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, bytes.into())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_must_fit_and_there_must_be_room() {
        let room = Room::default();
        let body = || Full::new(Bytes::from_static(b"12345"));
        let whole = room.read(&announced(5), body(), 5, SECOND).await.unwrap();
        assert_eq!(&*whole.bytes, b"12345");
        for headers in [announced(5), HeaderMap::new()] {
            assert_eq!(room.read(&headers, body(), 4, SECOND).await.unwrap_err().status, 413);
        }
        let _all = room
            .read(&announced(MEMORY_BYTES_MAX - (1 << 10)), body(), MEMORY_BYTES_MAX, SECOND)
            .await
            .unwrap();
        let refused = room.read(&announced(5), body(), 5, SECOND).await.unwrap_err();
        assert_eq!((refused.status, refused.retry_after_s), (503, Some(ROOM_S_MAX)));
        drop(whole);
        room.read(&announced(5), body(), 5, SECOND).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_ends() {
        let slow = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<hyper::body::Frame<Bytes>, std::convert::Infallible>,
        >());
        let refused = Room::default().read(&HeaderMap::new(), slow, 9, SECOND).await.unwrap_err();
        assert_eq!(refused.status, 408);
    }
}
