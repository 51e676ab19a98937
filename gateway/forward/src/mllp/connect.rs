//! A connection to a receiver, in the clear or over TLS, made step by step so that each step can be explained.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tls::Rotating;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::PEER;
use crate::check::Step;
use crate::dial::{self, DialError, failed, within};

/// How long a new connection is watched for a receiver that closes it at once, where that is tried.
const REFUSAL_WINDOW: Duration = Duration::from_millis(500);

/// What messages travel on.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

/// A connected stream of either kind.
pub type Stream = Box<dyn Wire>;

/// Everything that is needed to connect. Cheap to clone.
#[derive(Clone)]
pub struct Dialler {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<TlsDialler>,
    pub(super) connect_timeout: Duration,
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialler({}:{}, tls: {})", self.host, self.port, self.tls.is_some())
    }
}

#[derive(Clone)]
pub(super) struct TlsDialler {
    pub(super) config: Arc<ClientConfig>,
    pub(super) server_name: ServerName<'static>,
    pub(super) rotating: Option<Arc<Rotating>>,
}

impl Dialler {
    /// All steps, within the configured time.
    ///
    /// # Errors
    /// What happened and what to do, in a sentence.
    pub async fn connect(&self) -> Result<Stream, String> {
        self.connect_telling(&mut |_, _| {}).await.map_err(|e| e.explanation.to_string())
    }

    /// Connects, and watches the connection for a moment: in TLS 1.3 a receiver that demands a certificate says so only
    /// after the handshake seems done.
    ///
    /// # Errors
    /// What happened and what to do, in a sentence.
    pub async fn reach(&self) -> Result<(), String> {
        let words = |error: DialError| error.explanation.to_string();
        let stream = self.connect_telling(&mut |_, _| {}).await.map_err(words)?;
        self.linger(stream).await.map_err(words)
    }

    /// The certificate that is shown, where there is one.
    pub(super) fn rotating(&self) -> Option<&Arc<Rotating>> {
        self.tls.as_ref()?.rotating.as_ref()
    }

    /// Which certificate would be shown now.
    pub(super) fn generation(&self) -> u64 {
        self.rotating().map_or(0, |r| r.generation())
    }

    /// All steps; `tell` hears of each that succeeds.
    pub(super) async fn connect_telling(
        &self,
        tell: &mut (dyn FnMut(Step, String) + Send),
    ) -> Result<Stream, DialError> {
        let deadline = Instant::now() + self.connect_timeout;
        let addresses = dial::resolve(&self.host, self.port, "`to`", deadline).await?;
        tell(Step::Dns, format!("{} is {}", self.host, dial::list(&addresses)));
        let (tcp, address) = dial::dial(&addresses, PEER, deadline).await?;
        tell(Step::Tcp, format!("connected to {address}"));
        let Some(tls) = &self.tls else {
            tell(Step::Tls, "none configured: messages travel in the clear".to_owned());
            return Ok(Box::new(tcp));
        };
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let stream = within(deadline, connector.connect(tls.server_name.clone(), tcp))
            .await
            .map_err(|e| DialError { step: Step::Tls, explanation: tls::explain_io(&e, PEER) })?;
        let version = match stream.get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS 1.3",
        };
        let ours = self.rotating().map_or_else(
            || format!("{version}, without a certificate of ours"),
            |r| format!("mutual {version}; our certificate is valid until {}", r.current().expires_at()),
        );
        tell(Step::Tls, ours);
        Ok(Box::new(stream))
    }

    /// Watches a new connection for a moment: a receiver that does not admit us closes it, and in TLS 1.3 judges our
    /// certificate only after the handshake seems done.
    pub(super) async fn linger(&self, mut stream: Stream) -> Result<(), DialError> {
        let mut byte = [0; 1];
        let (step, allowed) = if self.tls.is_some() {
            (Step::Tls, "check that it trusts the authority of our certificate, and its allow-list")
        } else {
            (Step::Authorisation, "check its allow-list and its limit of connections")
        };
        match timeout(REFUSAL_WINDOW, stream.read(&mut byte)).await {
            Err(_) => Ok(()),
            Ok(Ok(0)) => Err(failed(step, format!("{PEER} closes the connection at once"), allowed)),
            Ok(Ok(_)) => Err(failed(
                Step::Authorisation,
                "what listens there speaks first, which no MLLP receiver does".to_owned(),
                "check the port",
            )),
            Ok(Err(e)) => Err(DialError { step, explanation: tls::explain_io(&e, PEER) }),
        }
    }
}
