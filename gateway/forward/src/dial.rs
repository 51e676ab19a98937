//! From a host and a port to a TCP connection, step by step, so that each step can be explained.
//!
//! **Limits.** [`ADDRESSES_MAX`] addresses of a name are tried, each with its share of the time.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tls::Explanation;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::check::Step;

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// A step that failed.
#[derive(Debug)]
pub(crate) struct DialError {
    pub(crate) step: Step,
    pub(crate) explanation: Explanation,
}

pub(crate) fn failed(step: Step, what: String, remedy: &str) -> DialError {
    DialError { step, explanation: Explanation { what, remedy: remedy.to_owned() } }
}

/// The addresses of a name. `setting` is where the host stands in the configuration.
pub(crate) async fn resolve(
    host: &str,
    port: u16,
    setting: &str,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, DialError> {
    let remedy = format!("check the host in {setting}, and this machine's name servers");
    let found = within(deadline, tokio::net::lookup_host((host, port))).await;
    let what = match found {
        Ok(found) => {
            let addresses: Vec<_> = found.take(ADDRESSES_MAX).collect();
            if !addresses.is_empty() {
                return Ok(addresses);
            }
            format!("the name {host} has no address")
        }
        Err(e) if e.kind() == io::ErrorKind::TimedOut => {
            format!("no name server told the address of {host} in time")
        }
        Err(_) => format!("the name {host} cannot be resolved"),
    };
    Err(failed(Step::Dns, what, &remedy))
}

/// A connection to the first address that takes one, without Nagle's delay. `peer` is how the other side is called.
pub(crate) async fn dial(
    addresses: &[SocketAddr],
    peer: &str,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut last = None;
    for (tried, address) in addresses.iter().enumerate() {
        // An address that swallows packets must not use up the time of the others.
        let left = u32::try_from(addresses.len().saturating_sub(tried)).unwrap_or(1).max(1);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match within(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(tcp) => {
                // Without it small batches wait for the peer's delayed acknowledgements; failing costs time only.
                let _best_effort = tcp.set_nodelay(true);
                return Ok((tcp, *address));
            }
            Err(e) => last = Some((address, e)),
        }
    }
    let explanation = last.map_or_else(
        || Explanation {
            what: "there was no address to dial".to_owned(),
            remedy: "check the host".to_owned(),
        },
        |(address, e)| tls::explain_io(&e, &format!("{peer} at {address}")),
    );
    Err(DialError { step: Step::Tcp, explanation })
}

pub(crate) async fn within<T>(deadline: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

pub(crate) fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(|a| a.ip().to_string()).collect::<Vec<_>>().join(", ")
}
