//! The CLI's end of the control socket.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use crate::exit::NotReachable;
use crate::operations;

/// Largest answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A gateway that runs on this machine.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    /// The gateway of a configuration.
    pub(crate) fn of(config: &Path) -> anyhow::Result<Self> {
        let checked = crate::commands::checked(config)?;
        Ok(Self { socket: operations::socket(&checked.document.gateway.data_dir) })
    }

    /// Asks; the answer's JSON, or the gateway's own words as the error.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<serde_json::Value> {
        let (status, body) =
            exchange(self.connect().await?, request(method, path, body)?, ANSWER_BYTES_MAX).await?;
        if status != StatusCode::OK {
            return Err(refused(&body));
        }
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Asks for something long and writes the answer as it comes.
    pub(crate) async fn download(
        &self,
        path: &str,
        body: Bytes,
        out: &mut (impl std::io::Write + Send),
    ) -> anyhow::Result<()> {
        let request = request(Method::POST, path, body)?;
        over(self.connect().await?, request, async |status, mut body| {
            if status != StatusCode::OK {
                return Err(refused(&in_full(body, ANSWER_BYTES_MAX).await?));
            }
            while let Some(frame) = body.frame().await {
                let frame = frame.context("the gateway broke off; its log says why")?;
                if let Ok(piece) = frame.into_data() {
                    out.write_all(&piece)?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn connect(&self) -> anyhow::Result<UnixStream> {
        let connected = UnixStream::connect(&self.socket).await;
        connected.map_err(|e| {
            let socket = self.socket.display();
            NotReachable(format!("no gateway answers at {socket}: {e}; is it running?")).into()
        })
    }
}

fn request(method: Method, path: &str, body: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    request.body(Full::new(body)).context("the request cannot be built")
}

/// The gateway's own words.
fn refused(body: &[u8]) -> anyhow::Error {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let title = value.get("title").and_then(serde_json::Value::as_str).unwrap_or("no reason given");
    anyhow!("{title}")
}

/// One request over a fresh connection, and its answer in full.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    answer_bytes_max: usize,
) -> anyhow::Result<(StatusCode, Bytes)> {
    over(stream, request, async |status, body| Ok((status, in_full(body, answer_bytes_max).await?))).await
}

/// One request over a fresh connection, and what `take` makes of its answer.
async fn over<T>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    take: impl AsyncFnOnce(StatusCode, Incoming) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answered = async {
        let response = sender.send_request(request).await?;
        let taken = take(response.status(), response.into_body()).await;
        drop(sender);
        taken
    };
    // Once the answer is here in full, it does not matter how the connection ends.
    let (answered, _) = tokio::join!(answered, connection);
    answered
}

async fn in_full(body: Incoming, bytes_max: usize) -> anyhow::Result<Bytes> {
    let body = Limited::new(body, bytes_max).collect().await;
    Ok(body.map_err(|e| anyhow!("the answer broke off: {e}"))?.to_bytes())
}
