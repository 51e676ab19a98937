//! One `GET` of JSON from loopback. HTTP/1.0, so that the end of the stream is the end of the body.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Reads `http://127.0.0.1:{port}{path}`.
pub(crate) fn json(port: u16, path: &str) -> Result<Value> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    parse(&answer).with_context(|| format!("GET http://127.0.0.1:{port}{path}"))
}

fn parse(answer: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(answer)?;
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no end of headers")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("answered `{status}`");
    }
    Ok(serde_json::from_str(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_read() {
        let good = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\":1}";
        assert_eq!(parse(good).unwrap(), serde_json::json!({"a": 1}));
        for bad in [
            &b"HTTP/1.1 503 Service Unavailable\r\n\r\n{}"[..],
            b"HTTP/1.1 200 OK\r\n\r\n{\"a\":",
            b"HTTP/1.1 200 OK\r\n",
            b"",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
