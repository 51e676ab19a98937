//! The CLI's end of the control socket.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
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
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| {
            NotReachable(format!("no gateway answers at {}: {e}; is it running?", self.socket.display()))
        })?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .body(Full::new(body))
            .context("the request cannot be built")?;
        let (status, body) = exchange(stream, request, ANSWER_BYTES_MAX).await?;
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        if status != StatusCode::OK {
            let title = value.get("title").and_then(serde_json::Value::as_str).unwrap_or("no reason given");
            return Err(anyhow!("{title}"));
        }
        Ok(value)
    }
}

/// One request over a fresh connection, and its answer in full.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    answer_bytes_max: usize,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answered = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), answer_bytes_max)
            .collect()
            .await
            .map_err(|e| anyhow!("the answer broke off: {e}"))?
            .to_bytes();
        drop(sender);
        Ok((status, body))
    };
    // Once the answer is here in full, it does not matter how the connection ends.
    let (answered, _) = tokio::join!(answered, connection);
    answered
}
