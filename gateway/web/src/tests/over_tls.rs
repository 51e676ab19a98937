//! The listener, as a client meets it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::fake::{Fake, Scene};
use super::{FixedClock, now};
use crate::{Config, Error, Product, Server};

struct Running {
    address: SocketAddr,
    fingerprint: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[expect(clippy::disallowed_methods, reason = "the test waits for it by its handle")]
async fn run(config: Config, dir: &Path) -> Running {
    let product: Arc<dyn Product> = Arc::new(Fake::new(Scene::Well, now));
    let server = Server::bind(&config, dir, Arc::new(FixedClock), product).await.unwrap();
    let (address, fingerprint) = (server.local_addr(), server.fingerprint());
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.run(stop.clone()));
    Running { address, fingerprint, stop, task }
}

fn on_loopback() -> Config {
    Config { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..Config::default() }
}

async fn connect(
    address: SocketAddr,
    certificate: &Path,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let ca = tls::load_ca(certificate).unwrap();
    let config = tls::client_config(&ca, None, alpn).unwrap();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn ask(stream: &mut TlsStream<TcpStream>, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn pages_over_tls_1_3_with_a_certificate_that_stays() {
    let dir = TempDir::new().unwrap();
    let certificate = dir.path().join("web/certificate.pem");
    let first = run(on_loopback(), dir.path()).await;
    let mut stream = connect(first.address, &certificate, &["http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let answer =
        ask(&mut stream, "GET /claim HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("Claim this gateway"));
    let h2 = connect(first.address, &certificate, &["h2"]).await.unwrap();
    assert_eq!(h2.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    drop(h2);
    first.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), first.task).await.expect("stops in time").unwrap();

    assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
    let key = std::fs::metadata(dir.path().join("web/key.pem")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    let second = run(on_loopback(), dir.path()).await;
    assert_eq!(second.fingerprint, first.fingerprint, "the same after a restart");
    second.stop.cancel();
    second.task.await.unwrap();
}

#[tokio::test]
async fn no_tls_1_2_and_a_word_to_whoever_forgets_tls() {
    let dir = TempDir::new().unwrap();
    let server = run(on_loopback(), dir.path()).await;
    let provider = tls::provider();
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(dir.path().join("web/certificate.pem")).unwrap();
    for der in
        <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::pem_slice_iter(&pem)
    {
        roots.add(der.unwrap()).unwrap();
    }
    let old = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let refused =
        TlsConnector::from(Arc::new(old)).connect(ServerName::try_from("localhost").unwrap(), stream).await;
    assert!(refused.is_err(), "TLS 1.2 is not spoken");

    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    assert!(body.contains("https://"));
    server.stop.cancel();
    server.task.await.unwrap();
}

#[tokio::test]
async fn an_installed_certificate_is_used_trusted_and_exchanged() {
    let dir = TempDir::new().unwrap();
    let (certificate, key) = (dir.path().join("ours.pem"), dir.path().join("ours-key.pem"));
    let year = |from: &str, until: &str| (from.parse().unwrap(), until.parse().unwrap());
    // The client of the test looks at the real clock.
    let (from, until) = year("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z");
    tls::throwaway::self_signed(&["localhost"], from, until).unwrap().write(&certificate, &key).unwrap();
    let config = Config { certificate: Some(certificate.clone()), key: Some(key), ..on_loopback() };
    let server = run(config, dir.path()).await;
    let mut stream = connect(server.address, &certificate, &["http/1.1"]).await.unwrap();
    let answer =
        ask(&mut stream, "GET /claim HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("strict-transport-security: max-age=31536000"), "{answer}");
    assert!(!dir.path().join("web").exists(), "no second certificate");
    server.stop.cancel();
    server.task.await.unwrap();
}

#[tokio::test]
async fn what_an_operator_can_get_wrong() {
    let dir = TempDir::new().unwrap();
    let bind = |config: Config| {
        let dir = dir.path().to_owned();
        async move {
            let product: Arc<dyn Product> = Arc::new(Fake::new(Scene::Well, now));
            Server::bind(&config, &dir, Arc::new(FixedClock), product).await.map(|_| ()).unwrap_err()
        }
    };
    let half = Config { certificate: Some("c.pem".into()), ..on_loopback() };
    assert!(matches!(bind(half).await, Error::HalfCertificate));
    let missing = Config { certificate: Some("c.pem".into()), key: Some("k.pem".into()), ..on_loopback() };
    assert!(bind(missing).await.to_string().contains("c.pem"));
    let name = Config { host_names: vec!["https://x".to_owned()], ..on_loopback() };
    assert_eq!(
        bind(name).await.to_string(),
        "web.host_names: \"https://x\" is no host name; write it without scheme, port and path"
    );
    let other = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let taken = Config { listen: other.local_addr().unwrap(), ..on_loopback() };
    assert!(matches!(bind(taken.clone()).await, Error::Listen { listen, .. } if listen == taken.listen));
}

#[tokio::test]
async fn a_crowd_is_turned_away_and_others_are_served() {
    let dir = TempDir::new().unwrap();
    let server = run(on_loopback(), dir.path()).await;
    let certificate = dir.path().join("web/certificate.pem");
    // Silent connections up to the limit of one address.
    let mut crowd = Vec::new();
    for _ in 0..crate::CONNECTIONS_PER_ADDRESS_MAX {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    // Connections are accepted in their order, so this one comes after all of those.
    assert!(connect(server.address, &certificate, &[]).await.is_err(), "one too many");
    drop(crowd);
    let room_again = async {
        while connect(server.address, &certificate, &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), room_again).await.expect("there is room again");
    server.stop.cancel();
    server.task.await.unwrap();
}

/// Takes as long as the limit it tests.
#[tokio::test]
async fn a_header_that_trickles_in_is_cut_off() {
    let dir = TempDir::new().unwrap();
    let server = run(on_loopback(), dir.path()).await;
    let certificate = dir.path().join("web/certificate.pem");
    let mut slow = connect(server.address, &certificate, &["http/1.1"]).await.unwrap();
    slow.write_all(b"GET /claim HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
    let trickle = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if slow.write_all(b"x: y\r\n").await.is_err() || slow.flush().await.is_err() {
                return;
            }
        }
    };
    let limit = Duration::from_secs(crate::HEADER_S_MAX + 10);
    tokio::time::timeout(limit, trickle).await.expect("cut off although it kept sending");
    let mut quick = connect(server.address, &certificate, &["http/1.1"]).await.unwrap();
    let answer = ask(&mut quick, "GET /claim HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "others are served meanwhile");
    server.stop.cancel();
    server.task.await.unwrap();
}
