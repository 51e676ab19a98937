//! `wardgate self-test`: what a cross-built binary must be able to do, proved where it runs.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use deid::{Clinical, Context, Policy};
use model::{Clock, Format, Lane, Provenance};
use spool::{Entry, RootKey, Spool};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::print;
use crate::clock::SystemClock;

const MESSAGE: &[u8] = b"MSH|^~\\&|LAB|LARKHAVEN|WARDGATE|EDGE|20261124083000||ORU^R01^ORU_R01|SELF-1|P|2.5.1\rPID|1||7100037^^^LARKHAVEN^MR||KESTREL^ISADORA||19540311|F\rOBR|1|||2345-7^Glucose^LN\rOBX|1|NM|2345-7^Glucose^LN||95|mg/dL|||||F\r";

pub(crate) async fn self_test() -> anyhow::Result<()> {
    log().await.context("the encrypted log")?;
    print("log: written, synced, read back, nothing readable on the disk\n")?;
    handshake().await.context("mutual TLS")?;
    print("tls: mutual TLS 1.3 handshake with itself\n")?;
    release().context("de-identification")?;
    print("deid: safe-harbor withholds name, number and birth date\n")
}

async fn log() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let keys = RootKey::from_file(&dir.path().join("root.key"), true)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = spool::Config {
        segment_bytes: 1 << 20,
        urgent_bytes_max: 8 << 20,
        clinical_bytes_max: 8 << 20,
        bulk_bytes_max: 8 << 20,
        held_bytes_max: 8 << 20,
        journal_bytes_max: 8 << 20,
        ..spool::Config::default()
    };
    let root = dir.path().join("spool");
    let spool = Spool::open(&root, &config, keys, &"self-test".parse()?, clock)?;
    let seq = spool.lane(Lane::Clinical).append(b"envelope".to_vec(), MESSAGE).await?;
    let Some(Entry::Record(record)) = spool.lane(Lane::Clinical).get(seq).await? else {
        anyhow::bail!("the record is not there");
    };
    ensure!(record.payload.bytes().await? == MESSAGE, "the record came back changed");
    spool.stop().await?;
    for entry in walk(&root)? {
        let bytes = std::fs::read(&entry)?;
        ensure!(!bytes.windows(7).any(|w| w == b"KESTREL"), "plaintext in {}", entry.display());
    }
    Ok(())
}

fn walk(dir: &std::path::Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(walk(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

async fn handshake() -> anyhow::Result<()> {
    let now = SystemClock.now();
    let dir = tempfile::tempdir()?;
    let written = crate::dev_certificates::write(dir.path(), &"self-test".parse()?, &["localhost"], now)?;
    let ca = tls::load_ca(&written.ca)?;
    let server = tls::Identity::load(&written.landing.0, &written.landing.1)?;
    let client = tls::Identity::load(&written.gateway.0, &written.gateway.1)?;
    let acceptor = tokio_rustls::TlsAcceptor::from(tls::server_config(server, Some(&ca), &["h2"])?);
    let connector = tokio_rustls::TlsConnector::from(tls::client_config(&ca, Some(client.into()), &["h2"])?);
    let (near, far) = tokio::io::duplex(16 << 10);
    let serve = async {
        let mut stream = acceptor.accept(far).await?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let gateway = tls::peer_gateway(&certificates)?;
        let mut ping = [0; 4];
        stream.read_exact(&mut ping).await?;
        ensure!(&ping == b"ping" && gateway.as_str() == "self-test", "the server saw something else");
        Ok(())
    };
    let dial = async {
        let mut stream = connector.connect("localhost".try_into()?, near).await?;
        stream.write_all(b"ping").await?;
        stream.flush().await?;
        Ok::<_, anyhow::Error>(())
    };
    let (served, dialled) = tokio::join!(serve, dial);
    dialled?;
    served
}

fn release() -> anyhow::Result<()> {
    let policy = Policy::builtin("safe-harbor").context("the policy is not built in")?;
    let provenance = Provenance {
        feed: "self-test".parse()?,
        peer: "127.0.0.1:1".to_owned(),
        channel: String::new(),
        received_at: SystemClock.now(),
        format: Format::Hl7v2,
        origin: None,
    };
    let message = Clinical::Hl7(hl7::Message::parse(MESSAGE.to_vec())?);
    let release = policy
        .release(&message, &Context { seq: 1, provenance: &provenance, keys: None })
        .map_err(|held| anyhow::anyhow!("the sample was held: {}", held.why))?;
    let out = String::from_utf8_lossy(release.payload());
    ensure!(out.contains("95"), "the result itself was withheld");
    for identifier in ["KESTREL", "ISADORA", "7100037", "19540311"] {
        ensure!(!out.contains(identifier), "an identifier passed");
    }
    Ok(())
}
