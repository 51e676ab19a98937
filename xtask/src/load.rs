//! A load of HL7 over MLLP, for the bench: each connection sends a message, waits for its acknowledgement, and
//! sends the next. Shares no code with the gateway, so that a fault of one is not hidden by the other.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// Start and end of an MLLP frame (HL7 v2.8.2 appendix C, minimal lower layer protocol).
const FRAME_START: u8 = 0x0b;
const FRAME_END: [u8; 2] = [0x1c, 0x0d];
/// How long an acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest acknowledgement, in bytes.
const ACK_BYTES_MAX: usize = 64 << 10;
/// Bytes of one message, frame included: that of an ordinary admission or a small laboratory result.
pub(crate) const FRAME_BYTES: usize = 1024;

/// What to send.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// The MLLP listener.
    pub(crate) to: SocketAddr,
    /// Connections, one thread each.
    pub(crate) connections: u32,
    /// How long.
    pub(crate) lasting: Duration,
    /// Time from one message to the next on a connection; zero: as fast as the acknowledgements come.
    pub(crate) pace: Duration,
    /// Begins every control id, so that no two runs share one. At most 8 characters.
    pub(crate) run: String,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Positive acknowledgements.
    pub(crate) acknowledged: u64,
    /// From the first byte to the last acknowledgement.
    pub(crate) elapsed: Duration,
    /// From a message's first byte to its acknowledgement's last, unsorted.
    pub(crate) latencies: Vec<Duration>,
    /// When each message's first byte was written: control id, nanoseconds since 1970.
    pub(crate) sent_at: Vec<(String, u128)>,
}

impl Outcome {
    /// Acknowledgements a second.
    pub(crate) fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.elapsed.as_secs_f64()
    }
}

impl Load {
    /// Sends; an error if any message is not acknowledged positively.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let begun = Instant::now();
        let parts: Vec<Result<Outcome>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.connections).map(|number| scope.spawn(move || self.connection(number))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| bail!("a load thread panicked")))
                .collect()
        });
        let mut whole = Outcome { elapsed: begun.elapsed(), ..Outcome::default() };
        for part in parts {
            let part = part?;
            whole.acknowledged += part.acknowledged;
            whole.latencies.extend(part.latencies);
            whole.sent_at.extend(part.sent_at);
        }
        Ok(whole)
    }

    fn connection(&self, number: u32) -> Result<Outcome> {
        let mut stream = TcpStream::connect_timeout(&self.to, PATIENCE)
            .with_context(|| format!("nothing listens on {}", self.to))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        let mut outcome = Outcome::default();
        let until = Instant::now() + self.lasting;
        let mut next = Instant::now();
        for count in 0_u64.. {
            if Instant::now() >= until {
                break;
            }
            if !self.pace.is_zero() {
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                next += self.pace;
            }
            let control_id = format!("{}-{number}-{count}", self.run);
            let frame = frame(&control_id);
            let (begun, wall) = (Instant::now(), SystemTime::now());
            stream.write_all(&frame)?;
            let answer = read_frame(&mut answers)?;
            outcome.latencies.push(begun.elapsed());
            if !accepts(&answer, &control_id) {
                bail!("message {control_id} was not accepted: {}", String::from_utf8_lossy(&answer));
            }
            outcome.acknowledged += 1;
            outcome.sent_at.push((control_id, wall.duration_since(UNIX_EPOCH)?.as_nanos()));
        }
        Ok(outcome)
    }
}

/// An unsolicited observation of nobody, padded to [`FRAME_BYTES`].
fn frame(control_id: &str) -> Vec<u8> {
    let mut frame = vec![FRAME_START];
    frame.extend_from_slice(
        format!(
            "MSH|^~\\&|BENCH|WARD|LAKE|CLOUD|20260101120000+0000||ORU^R01^ORU_R01|{control_id}|P|2.5.1\r\
             PID|1||900001^^^BENCH^MR||LOAD^SYNTHETIC||19700101|U\r\
             OBR|1||{control_id}|8867-4^Heart rate^LN|||20260101120000+0000\r\
             OBX|1|NM|8867-4^Heart rate^LN||72|/min^^UCUM|50-120|N|||F\r\
             NTE|1||"
        )
        .as_bytes(),
    );
    let closing = 1 + FRAME_END.len();
    let room = FRAME_BYTES.saturating_sub(frame.len() + closing);
    frame.extend(b"the quick brown fox ".iter().cycle().take(room));
    frame.push(b'\r');
    frame.extend_from_slice(&FRAME_END);
    frame
}

/// The answer AA to a framed message, framed.
pub(crate) fn acknowledgement(message: &[u8]) -> Option<Vec<u8>> {
    let control_id = message.split(|b| *b == b'|').nth(9)?;
    let head = b"\x0bMSH|^~\\&|EDGE|CLOUD|BENCH|WARD|20260101120000+0000||ACK|A|P|2.5.1\rMSA|AA|";
    Some([&head[..], control_id, b"\r", &FRAME_END].concat())
}

/// Reads up to the end of a frame.
pub(crate) fn read_frame(from: &mut impl Read) -> Result<Vec<u8>> {
    let mut answer = Vec::with_capacity(256);
    let mut byte = [0_u8];
    while !answer.ends_with(&FRAME_END) {
        from.read_exact(&mut byte).context("no whole acknowledgement came")?;
        answer.extend_from_slice(&byte);
        if answer.len() > ACK_BYTES_MAX {
            bail!("an acknowledgement has no end");
        }
    }
    Ok(answer)
}

/// MSA-1 is AA or CA, and MSA-2 names our message.
fn accepts(answer: &[u8], control_id: &str) -> bool {
    String::from_utf8_lossy(answer).split('\r').any(|segment| {
        let mut fields = segment.trim_start_matches('\u{b}').split('|');
        fields.next() == Some("MSA")
            && matches!(fields.next(), Some("AA" | "CA"))
            && fields.next() == Some(control_id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_names_its_message() {
        assert!(accepts(&acknowledgement(&frame("run-1-7")).unwrap(), "run-1-7"));
    }

    #[test]
    fn frames_have_the_size_that_the_figures_name() {
        let frame = frame("run-49-123456");
        assert_eq!(frame.len(), FRAME_BYTES);
        assert!(frame.starts_with(b"\x0bMSH|^~\\&|") && frame.ends_with(b"\r\x1c\r"));
    }

    #[test]
    fn only_a_positive_answer_to_this_message_counts() {
        let answer = |msa: &str| format!("\u{b}MSH|^~\\&|A|B\r{msa}\r\u{1c}\r").into_bytes();
        assert!(accepts(&answer("MSA|AA|x-1"), "x-1"));
        for bad in ["MSA|AE|x-1", "MSA|AA|x-2", "MSA|AA", "ERR|AA|x-1"] {
            assert!(!accepts(&answer(bad), "x-1"), "{bad}");
        }
        let two = [answer("MSA|AA|1"), answer("MSA|AA|2")].concat();
        assert_eq!(read_frame(&mut two.as_slice()).unwrap(), answer("MSA|AA|1"));
        assert!(read_frame(&mut &b"\x0bMSH"[..]).is_err());
    }
}
