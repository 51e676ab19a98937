//! TLS at a listener: the `tls` table as written, and the handshake.
//!
//! **Promise.** A peer that is slow, silent or hostile in the handshake holds its place no longer than
//! `handshake_timeout_s`; an operator is told in words what was wrong, also where a peer speaks plain text to a port
//! of TLS. Renewed files are taken into use without a restart, see [`tls::Listening`].
//!
//! **TLS 1.3 unless 1.2 is asked for.** `min_version = "1.3"` is the default: the product's other listeners take no
//! less, every engine of the last years speaks it, and a sender that does not is named in the log together with this
//! setting. `"1.2"` adds TLS 1.2 with its AEAD suites alone, for interface engines and analysers that cannot be
//! updated. No session is ever resumed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tls::{Explanation, Listening, PeerNames, Versions};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, rustls};

/// Longest handshake that can be configured, in seconds.
pub const HANDSHAKE_TIMEOUT_S_MAX: u32 = 60;
/// The first byte of every TLS connection: a record of type handshake (RFC 8446 section 5.1).
pub const TLS_FIRST_BYTE: u8 = 0x16;

/// TLS at a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of this listener's certificate, with its chain.
    pub certificate: PathBuf,
    /// PEM file of the certificate's key.
    pub key: PathBuf,
    /// PEM file of the authorities that peers' certificates must come from. Without it no peer is asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// PEM file of these authorities' revocation lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_revocations: Option<PathBuf>,
    /// Whether a peer without a certificate is taken; `required` unless written. Needs `client_ca`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// The oldest version taken: `1.3`, or `1.2` for peers that know no better.
    #[serde(default)]
    pub min_version: Versions,
    /// Longest time for a handshake, in seconds: 1 to 60.
    #[serde(default = "handshake_timeout_s")]
    #[schemars(range(min = 1, max = 60))]
    pub handshake_timeout_s: u32,
}

const fn handshake_timeout_s() -> u32 {
    10
}

/// Whether a peer without a certificate is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// It is not.
    Required,
    /// It is; who shows one must show one of `client_ca`.
    Optional,
}

/// A setting that does not fit. The operator must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {message}")]
pub struct Setting {
    /// Which.
    pub setting: &'static str,
    /// What is wrong with it.
    pub message: &'static str,
}

impl Tls {
    /// Checks what can be checked without opening a file.
    ///
    /// # Errors
    /// [`Setting`], the first that is wrong.
    pub fn check(&self) -> Result<(), Setting> {
        let wrong = |setting, message| Err(Setting { setting, message });
        if self.client_ca.is_none() && self.client_certificate.is_some() {
            return wrong("client_certificate", "needs client_ca, the authority of the certificates");
        }
        if self.client_ca.is_none() && self.client_revocations.is_some() {
            return wrong("client_revocations", "needs client_ca, the authority of the certificates");
        }
        if self.handshake_timeout_s < 1 || self.handshake_timeout_s > HANDSHAKE_TIMEOUT_S_MAX {
            return wrong("handshake_timeout_s", "1 to 60 seconds");
        }
        Ok(())
    }

    /// Whether every peer must show a certificate.
    pub fn requires_certificate(&self) -> bool {
        self.client_ca.is_some() && self.client_certificate != Some(ClientCertificate::Optional)
    }

    /// The files, so that relative paths can be made absolute.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [&mut self.certificate, &mut self.key]
            .into_iter()
            .chain(self.client_ca.as_mut())
            .chain(self.client_revocations.as_mut())
    }

    /// Reads the files; relative ones are taken from `base`. `alpn` in order of preference.
    ///
    /// # Errors
    /// [`tls::Error`], naming the file and the next step.
    pub fn load(&self, base: &Path, alpn: &'static [&'static str]) -> Result<Arc<Listening>, tls::Error> {
        let optional = self.client_certificate == Some(ClientCertificate::Optional);
        Listening::load(tls::Settings {
            certificate: base.join(&self.certificate),
            key: base.join(&self.key),
            client_ca: self.client_ca.as_ref().map(|f| base.join(f)),
            client_revocations: self.client_revocations.as_ref().map(|f| base.join(f)),
            client_certificate: if optional {
                tls::ClientCertificate::Optional
            } else {
                tls::ClientCertificate::Required
            },
            versions: self.min_version,
            alpn,
        })
    }

    /// What takes handshakes. The files are read now.
    ///
    /// # Errors
    /// [`tls::Error`].
    pub fn acceptor(&self, alpn: &'static [&'static str]) -> Result<Acceptor, tls::Error> {
        let listening = self.load(Path::new(""), alpn)?;
        Ok(Acceptor { listening, timeout: Duration::from_secs(self.handshake_timeout_s.into()) })
    }
}

/// Takes handshakes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Acceptor {
    listening: Arc<Listening>,
    timeout: Duration,
}

/// Why a handshake came to nothing. Displays as a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Handshake {
    /// The peer connected and left without a word, as a port scan or a health check does.
    #[error("the peer closed the connection before it said anything")]
    Nothing,
    /// It was not done in time.
    #[error("the handshake took longer than {0:?}; look for a peer that speaks no TLS, or a slow network")]
    Timeout(Duration),
    /// The peer does not speak TLS.
    #[error("the peer does not speak TLS but {0}, and this port takes TLS alone; switch TLS on at the peer")]
    PlainText(&'static str),
    /// TLS itself refused or was refused.
    #[error("{0}")]
    Tls(Explanation),
}

impl Acceptor {
    /// The files behind it, for renewal and for telling when the certificate ends.
    pub const fn listening(&self) -> &Arc<Listening> {
        &self.listening
    }

    /// Shakes hands. Not cancel safe: drop the connection after a cancelled call.
    ///
    /// # Errors
    /// [`Handshake`]; the connection is closed.
    pub async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Option<PeerNames>), Handshake> {
        let shaking = async {
            let mut first = [0];
            // Waits for the first byte without taking it.
            match stream.peek(&mut first).await.map_err(failed)? {
                0 => return Err(Handshake::Nothing),
                _ if first != [TLS_FIRST_BYTE] => return Err(Handshake::PlainText(spoken(first))),
                _ => {}
            }
            TlsAcceptor::from(self.listening.config()).accept(stream).await.map_err(failed)
        };
        let stream = timeout(self.timeout, shaking).await.map_err(|_| Handshake::Timeout(self.timeout))??;
        let names = stream.get_ref().1.peer_certificates().and_then(PeerNames::read);
        Ok((stream, names))
    }
}

fn failed(error: io::Error) -> Handshake {
    let mut explanation = tls::explain_io(&error, "the peer");
    if let Some(rustls::Error::PeerIncompatible(_)) = error.get_ref().and_then(|e| e.downcast_ref()) {
        explanation.remedy.push_str("; here it is min_version = \"1.2\" in the listener's tls table");
    }
    Handshake::Tls(explanation)
}

/// What begins with such a byte.
const fn spoken(first: [u8; 1]) -> &'static str {
    match first {
        [0x0b] => "MLLP in plain text",
        [b'M' | b'F' | b'B'] => "HL7 in plain text",
        [b'G' | b'P' | b'H' | b'D' | b'O' | b'C'] => "HTTP in plain text",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use model::Timestamp;
    use tls::Presented;
    use tls::throwaway::Authority;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::Instant;
    use tokio_rustls::{TlsConnector, rustls};

    use super::*;

    const FROM: Timestamp = Timestamp::from_micros(0);
    const TO: Timestamp = Timestamp::from_micros(4_000_000_000_000_000);

    struct Bed {
        authority: Authority,
        dir: tempfile::TempDir,
    }

    impl Bed {
        fn new() -> Self {
            let authority = Authority::new("hospital", FROM, TO).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let server = authority.server(&["127.0.0.1"], FROM, TO).unwrap();
            server.write(&dir.path().join("s.pem"), &dir.path().join("s.key")).unwrap();
            authority.write(&dir.path().join("ca.pem")).unwrap();
            Self { authority, dir }
        }

        fn acceptor(&self, text: &str) -> Acceptor {
            let mut tls: Tls =
                toml::from_str(&format!("certificate = \"s.pem\"\nkey = \"s.key\"\n{text}")).unwrap();
            tls.check().unwrap();
            tls.files_mut().for_each(|f| *f = self.dir.path().join(&*f));
            tls.acceptor(&[]).unwrap()
        }

        fn connector(&self, identity: Option<Presented>) -> TlsConnector {
            let ca = self.authority.ca().unwrap();
            TlsConnector::from(tls::client_config(&ca, identity, &[]).unwrap())
        }
    }

    impl Bed {
        /// A sender that knows TLS 1.2 alone, and no more than that.
        fn old_connector(&self) -> TlsConnector {
            use rustls::RootCertStore;
            use rustls::pki_types::pem::PemObject;
            let mut roots = RootCertStore::empty();
            let pem = self.authority.certificate_pem().as_bytes();
            roots.add(rustls::pki_types::CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
            let config = rustls::ClientConfig::builder_with_provider(tls::provider())
                .with_protocol_versions(&[&rustls::version::TLS12])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            TlsConnector::from(Arc::new(config))
        }
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    #[tokio::test]
    async fn a_peer_shakes_hands_and_is_known_by_its_certificate() {
        let bed = Bed::new();
        let acceptor = bed.acceptor("client_ca = \"ca.pem\"");
        let identity = bed.authority.client("LAB01", &["urn:lab:1"], FROM, TO).unwrap().identity().unwrap();
        let (client, server) = pair().await;
        let connector = bed.connector(Some(identity.into()));
        let name = "127.0.0.1".try_into().unwrap();
        let (accepted, connected) = tokio::join!(acceptor.accept(server), connector.connect(name, client));
        let (mut accepted, names) = accepted.unwrap();
        assert_eq!(names.unwrap().to_string(), "urn:lab:1");
        let mut connected = connected.unwrap();
        connected.write_all(b"x").await.unwrap();
        assert_eq!(accepted.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn tls_12_is_taken_where_it_is_asked_for_and_explained_where_not() {
        let bed = Bed::new();
        let acceptor = bed.acceptor("min_version = \"1.2\"");
        let (client, server) = pair().await;
        let name = "127.0.0.1".try_into().unwrap();
        let old = bed.old_connector();
        let (accepted, connected) = tokio::join!(acceptor.accept(server), old.connect(name, client));
        assert_eq!(accepted.unwrap().1, None);
        connected.unwrap();

        let (client, server) = pair().await;
        let name = "127.0.0.1".try_into().unwrap();
        let strict = bed.acceptor("");
        let (accepted, connected) = tokio::join!(strict.accept(server), old.connect(name, client));
        let why = accepted.unwrap_err().to_string();
        assert!(why.contains("does not speak TLS 1.3") && why.contains("min_version"), "{why}");
        assert!(connected.is_err());
    }

    #[tokio::test]
    async fn plain_text_silence_and_a_slow_hand_are_told_apart() {
        let bed = Bed::new();
        let acceptor = bed.acceptor("handshake_timeout_s = 1");
        for (said, words) in [
            (&b"\x0bMSH|"[..], "does not speak TLS but MLLP in plain text"),
            (b"MSH|^~\\&|", "HL7 in plain text"),
            (b"GET / HTTP/1.1\r\n", "HTTP in plain text"),
            (b"\0", "something else"),
            (b"\x16\x03\x01\x00\x05hello", "does not answer with TLS"),
        ] {
            let (mut client, server) = pair().await;
            client.write_all(said).await.unwrap();
            let why = acceptor.accept(server).await.unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
        let (client, server) = pair().await;
        drop(client);
        assert!(matches!(acceptor.accept(server).await.unwrap_err(), Handshake::Nothing));

        // A byte now and then keeps no place.
        let (mut client, server) = pair().await;
        let begun = Instant::now();
        let trickle = async {
            for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0, 0] {
                if client.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
        };
        let (accepted, ()) = tokio::join!(acceptor.accept(server), trickle);
        assert!(matches!(accepted.unwrap_err(), Handshake::Timeout(_)));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn settings_that_do_not_fit_are_refused() {
        for (text, words) in [
            ("client_certificate = \"optional\"", "client_certificate: needs client_ca"),
            ("client_revocations = \"crl.pem\"", "client_revocations: needs client_ca"),
            ("handshake_timeout_s = 0", "handshake_timeout_s: 1 to 60 seconds"),
            ("handshake_timeout_s = 61", "handshake_timeout_s: 1 to 60 seconds"),
        ] {
            let tls: Tls = toml::from_str(&format!("certificate = \"c\"\nkey = \"k\"\n{text}")).unwrap();
            assert!(tls.check().unwrap_err().to_string().contains(words));
        }
        assert!(toml::from_str::<Tls>("certificate = \"c\"\nkey = \"k\"\nmin_version = \"1.1\"").is_err());
        let tls: Tls = toml::from_str("certificate = \"c\"\nkey = \"k\"\nclient_ca = \"ca\"").unwrap();
        assert!(tls.requires_certificate());
        assert_eq!((tls.min_version, tls.handshake_timeout_s), (Versions::Only13, 10));
    }
}
