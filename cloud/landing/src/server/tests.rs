//! The protocol over real TLS: every refusal, and what a client of another make relies on.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::wire::{
    BATCH_MEDIA_TYPE, BATCH_RAW_BYTES_MAX, EpochGrant, EpochRequest, Landed, MANIFEST_HEADER, Problem,
    ProblemKind,
};
use model::{Batch, Clock as _, Released, StreamEpoch, Timestamp, codec};
use tls::throwaway::{Authority, Issued};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Server;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::inspect::verify::verify;
use crate::testing::{batch, slug, stream};

mod witness;

const HOUR: i64 = 3_600_000_000;
const INCARNATION: &str = "0123456789abcdef0123456789abcdef";

fn from_now(hours: i64) -> Timestamp {
    Timestamp::from_micros(SystemClock.now().micros() + hours * HOUR)
}

/// A landing with two destinations, and the authority of its gateways.
struct Site {
    dir: tempfile::TempDir,
    authority: Authority,
    address: SocketAddr,
    operations: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Site {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("test", from_now(-1), from_now(1)).unwrap();
        let at = |name: &str| dir.path().join(name);
        authority.write(&at("ca.pem")).unwrap();
        let server = authority.server(&["localhost"], from_now(-1), from_now(1)).unwrap();
        server.write(&at("landing.pem"), &at("landing.key")).unwrap();
        let text = "listen = \"127.0.0.1:0\"\noperations = \"127.0.0.1:0\"\ncertificate = \"landing.pem\"\n\
            key = \"landing.key\"\nclient_ca = \"ca.pem\"\n\
            [[destination]]\nname = \"lake\"\nroot = \"lake\"\npolicy = \"treatment\"\n\
            [[destination]]\nname = \"private\"\nroot = \"private\"\npolicy = \"treatment\"\ngateways = [\"ward-3\"]\n\
            [[destination]]\nname = \"research\"\nroot = \"research\"\npolicy = \"safe-harbor\"\n";
        let config = Config::parse(text, &at("landing.toml")).unwrap();
        let server = Server::bind(&config, Arc::new(SystemClock)).await.unwrap();
        let (address, operations) = (server.local_addr(), server.operations_addr().unwrap());
        let stop = CancellationToken::new();
        let running = spawn(server.run(stop.clone()));
        Self { dir, authority, address, operations, stop, running }
    }

    fn gateway(&self, name: &str) -> Issued {
        self.authority.gateway(&slug(name), from_now(-1), from_now(1)).unwrap()
    }

    async fn connect(&self, shown: &Issued) -> Client {
        self.try_connect(&self.authority, Some(shown)).await.unwrap()
    }

    async fn try_connect(&self, trusted: &Authority, shown: Option<&Issued>) -> Result<Client, String> {
        let identity = shown.map(|i| i.identity().unwrap().into());
        let config = tls::client_config(&trusted.ca().unwrap(), identity, &["h2"]).unwrap();
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await;
        let io = TokioIo::new(tls.map_err(|e| e.to_string())?);
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), io).await.map_err(|e| e.to_string())?;
        spawn(async move { drop(connection.await) });
        let mut client = Client { sender };
        // With TLS 1.3 a client hears only now that its certificate was refused.
        client.try_get("/healthz").await?;
        Ok(client)
    }

    async fn end(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.running.await.unwrap();
        self.dir
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}

struct Client {
    sender: http2::SendRequest<Full<Bytes>>,
}

struct Reply {
    status: StatusCode,
    retry_after: Option<String>,
    body: Bytes,
}

impl Reply {
    fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        serde_json::from_slice(&self.body).unwrap()
    }

    fn problem(&self) -> Problem {
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        problem
    }
}

/// A `PUT` as it may be bent.
struct Put {
    path: String,
    media_type: &'static str,
    encoding: &'static str,
    manifest: String,
    body: Bytes,
}

impl Put {
    fn of(batch: &Batch<Released>) -> Self {
        let raw = codec::encode(batch).unwrap();
        let s = &batch.stream;
        Self {
            path: format!("/v1/{}/{}/{}/{}", s.destination, s.lane, s.epoch, batch.first),
            media_type: BATCH_MEDIA_TYPE,
            encoding: "zstd",
            manifest: hash(&raw),
            body: zstd::bulk::compress(&raw, 1).unwrap().into(),
        }
    }
}

fn hash(raw: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, raw))
}

impl Client {
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, String> {
        self.sender.ready().await.map_err(|e| e.to_string())?;
        let response: Response<_> = self.sender.send_request(request).await.map_err(|e| e.to_string())?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        let retry_after = head.headers.get("retry-after").map(|v| v.to_str().unwrap().to_owned());
        Ok(Reply { status: head.status, retry_after, body })
    }

    async fn try_get(&mut self, path: &str) -> Result<Reply, String> {
        let request = Request::get(format!("https://localhost{path}")).body(Full::default()).unwrap();
        self.send(request).await
    }

    async fn get(&mut self, path: &str) -> Reply {
        self.try_get(path).await.unwrap()
    }

    async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Reply {
        let request = Request::post(format!("https://localhost{path}")).body(Full::new(body.into())).unwrap();
        self.send(request).await.unwrap()
    }

    async fn epoch(&mut self, path: &str, proposed: u64) -> EpochGrant {
        let proposed = StreamEpoch::new(proposed).unwrap();
        let request = EpochRequest { incarnation: INCARNATION.into(), proposed, resume_after: 0 };
        self.post(path, serde_json::to_vec(&request).unwrap()).await.json()
    }

    async fn put(&mut self, put: Put) -> Reply {
        let request = Request::put(format!("https://localhost{}", put.path))
            .header("content-type", put.media_type)
            .header("content-encoding", put.encoding)
            .header(MANIFEST_HEADER, put.manifest)
            .body(Full::new(put.body))
            .unwrap();
        self.send(request).await.unwrap()
    }

    async fn land(&mut self, batch: &Batch<Released>) -> Reply {
        self.put(Put::of(batch)).await
    }
}

fn of_ward(first: u64, last: u64) -> Batch<Released> {
    batch(&stream("ward-3", 1), first, last, "treatment")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_lands_and_says_where() {
    let site = Site::start().await;
    let mut client = site.connect(&site.gateway("ward-3")).await;
    let grant = client.epoch("/v1/lake/clinical/epoch", 1).await;
    assert_eq!((grant.epoch.get(), grant.watermark, grant.manifest_sha256), (1, 0, None));
    let first = of_ward(1, 20);
    let landed: Landed = client.land(&first).await.json();
    assert_eq!((landed.first, landed.last), (1, 20));
    assert_eq!(landed.manifest_sha256, Put::of(&first).manifest);
    // A lost answer: the same again, and the same range under another policy.
    assert_eq!(client.land(&first).await.json::<Landed>(), landed);
    let mut other = first.clone();
    other.policy.name = "later".into();
    assert_eq!(client.land(&other).await.json::<Landed>(), landed);
    assert_eq!(
        client.epoch("/v1/lake/clinical/epoch", 1).await.manifest_sha256,
        Some(landed.manifest_sha256)
    );

    let status: serde_json::Value = client.get("/v1/lake/clinical/1").await.json();
    assert_eq!((status["gateway"].as_str(), status["watermark"].as_u64()), (Some("ward-3"), Some(20)));
    let status: serde_json::Value = client.get("/v1/lake/urgent").await.json();
    assert_eq!((status["epoch"].as_u64(), status["watermark"].as_u64()), (None, Some(0)));

    drop(client);
    let dir = site.end().await;
    let verdict = verify(&dir.path().join("lake")).await.unwrap();
    assert!(verdict.ok && verdict.rows == 18, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_and_epochs_are_kept() {
    let site = Site::start().await;
    let mut client = site.connect(&site.gateway("ward-3")).await;
    let reply = client.land(&of_ward(1, 5)).await;
    assert_eq!(reply.problem().kind, ProblemKind::Fenced);
    client.epoch("/v1/lake/clinical/epoch", 1).await;
    let reply = client.land(&of_ward(3, 5)).await;
    assert_eq!((reply.problem().kind, reply.problem().expected), (ProblemKind::OutOfOrder, Some(1)));
    let landed: Landed = client.land(&of_ward(1, 5)).await.json();
    let reply = client.land(&of_ward(1, 6)).await;
    assert_eq!((reply.problem().kind, reply.problem().landed), (ProblemKind::OtherRange, Some(landed)));
    let request = format!(
        "{{\"incarnation\":\"{}\",\"proposed\":1,\"resume_after\":0}}",
        INCARNATION.replace('0', "f")
    );
    let grant: EpochGrant = client.post("/v1/lake/clinical/epoch", request).await.json();
    assert_eq!(grant.epoch.get(), 2);
    let reply = client.land(&of_ward(6, 7)).await;
    assert_eq!((reply.status.as_u16(), reply.problem().kind), (410, ProblemKind::Fenced));
    site.end().await;
}

/// Who sends is said by the certificate alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_by_tls_and_others_by_name() {
    let site = Site::start().await;
    let other = Authority::new("another", from_now(-1), from_now(1)).unwrap();
    let stranger = other.gateway(&slug("ward-3"), from_now(-1), from_now(1)).unwrap();
    let expired = site.authority.gateway(&slug("ward-3"), from_now(-2), from_now(-1)).unwrap();
    let early = site.authority.gateway(&slug("ward-3"), from_now(1), from_now(2)).unwrap();
    for (who, shown) in [
        ("stranger", Some(&stranger)),
        ("expired", Some(&expired)),
        ("early", Some(&early)),
        ("nobody", None),
    ] {
        let connected = site.try_connect(&site.authority, shown).await;
        assert!(connected.is_err(), "{who} got in");
    }

    // A certificate of our authority that names no gateway gets no further than health.
    let nameless = site.authority.client("clerk", &[], from_now(-1), from_now(1)).unwrap();
    let mut client = site.connect(&nameless).await;
    let reply = client.land(&of_ward(1, 5)).await;
    assert_eq!((reply.status.as_u16(), reply.problem().kind), (403, ProblemKind::Forbidden));
    assert_eq!(client.get("/v1/lake/clinical").await.problem().kind, ProblemKind::Forbidden);

    // A gateway cannot speak for another, nor use what it is not admitted to.
    let mut client = site.connect(&site.gateway("ward-4")).await;
    client.epoch("/v1/lake/clinical/epoch", 1).await;
    assert_eq!(client.land(&of_ward(1, 5)).await.problem().kind, ProblemKind::Forbidden);
    assert_eq!(client.get("/v1/private/clinical").await.problem().kind, ProblemKind::Forbidden);
    assert_eq!(client.get("/v1/nowhere/clinical").await.problem().kind, ProblemKind::UnknownDestination);
    let mut client = site.connect(&site.gateway("ward-3")).await;
    assert_eq!(client.get("/v1/private/clinical").await.status, StatusCode::OK);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_together_is_malformed() {
    let site = Site::start().await;
    let mut client = site.connect(&site.gateway("ward-3")).await;
    client.epoch("/v1/lake/clinical/epoch", 1).await;
    let good = of_ward(1, 5);
    let bent = |bend: &dyn Fn(&mut Put)| {
        let mut put = Put::of(&good);
        bend(&mut put);
        put
    };
    let changed = |change: &dyn Fn(&mut Batch<Released>)| {
        let mut batch = good.clone();
        change(&mut batch);
        Put { path: Put::of(&good).path, ..Put::of(&batch) }
    };
    let trailing = |put: &mut Put| put.body = [put.body.as_ref(), b"x"].concat().into();
    let twice = |put: &mut Put| put.body = [put.body.as_ref(), put.body.as_ref()].concat().into();
    for (what, put) in [
        ("media type", bent(&|p| p.media_type = "application/cbor")),
        ("encoding", bent(&|p| p.encoding = "gzip")),
        ("manifest", bent(&|p| p.manifest = hash(b"other"))),
        ("manifest case", bent(&|p| p.manifest = p.manifest.to_uppercase())),
        ("no zstd", bent(&|p| p.body = "plain".into())),
        ("torn", bent(&|p| p.body = p.body.slice(..p.body.len() / 2))),
        ("empty", bent(&|p| p.body = Bytes::new())),
        ("trailing bytes", bent(&trailing)),
        ("two frames", bent(&twice)),
        (
            "no CBOR",
            bent(&|p| {
                p.manifest = hash(b"junk");
                p.body = zstd::bulk::compress(b"junk", 1).unwrap().into();
            }),
        ),
        ("first of the URL", bent(&|p| p.path = "/v1/lake/clinical/1/2".into())),
        ("epoch of the URL", bent(&|p| p.path = "/v1/lake/clinical/2/1".into())),
        ("lane of the URL", bent(&|p| p.path = "/v1/lake/urgent/1/1".into())),
        ("no lane", bent(&|p| p.path = "/v1/lake/ward/1/1".into())),
        ("no number", bent(&|p| p.path = "/v1/lake/clinical/1/+1".into())),
        ("no epoch", bent(&|p| p.path = "/v1/lake/clinical/0/1".into())),
        ("no route", bent(&|p| p.path = "/v2/lake".into())),
        ("destination", changed(&|b| b.stream.destination = slug("private"))),
        ("a gap", changed(&|b| drop(b.records.pop()))),
        ("a number twice", changed(&|b| b.records.push(b.records.last().unwrap().clone()))),
        ("a policy without digest", changed(&|b| b.policy.sha256.clear())),
    ] {
        let reply = client.put(put).await;
        assert_eq!((reply.status.as_u16(), reply.problem().kind), (400, ProblemKind::Malformed), "{what}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("MSH"), "{what}");
    }
    let reply = client.put(changed(&|b| b.policy.label = "safe-harbor".into())).await;
    assert_eq!((reply.status.as_u16(), reply.problem().kind), (422, ProblemKind::PolicyRefused));
    let wrong_method = Request::builder().method(Method::DELETE).uri("https://localhost/v1/lake/clinical/1");
    let reply = client.send(wrong_method.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(reply.problem().kind, ProblemKind::Malformed);
    for body in [
        "",
        "{}",
        "{\"incarnation\":\"x\",\"proposed\":1,\"resume_after\":0}",
        "{\"incarnation\":\"0123456789ABCDEF0123456789abcdef\",\"proposed\":1,\"resume_after\":0}",
        "{\"incarnation\":\"0123456789abcdef0123456789abcdef\",\"proposed\":0,\"resume_after\":0}",
        "{\"incarnation\":\"0123456789abcdef0123456789abcdef\",\"proposed\":281474976710657,\"resume_after\":0}",
        "{\"incarnation\":\"0123456789abcdef0123456789abcdef\",\"proposed\":1,\"resume_after\":9223372036854775807}",
        "{\"incarnation\":\"0123456789abcdef0123456789abcdef\",\"proposed\":1,\"resume_after\":0,\"x\":1}",
    ] {
        assert_eq!(client.post("/v1/lake/clinical/epoch", body).await.problem().kind, ProblemKind::Malformed);
    }
    let long = client.post("/v1/lake/clinical/epoch", vec![b' '; 5000]).await;
    assert_eq!(long.problem().kind, ProblemKind::Malformed);
    // After all that nothing has landed, and what is right still does.
    client.land(&good).await.json::<Landed>();
    site.end().await;
}

/// A label is a claim: what no policy of that label may let through is refused, whatever the gateway says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn safe_harbor_is_held_to_its_word() {
    let site = Site::start().await;
    let mut client = site.connect(&site.gateway("ward-3")).await;
    client.epoch("/v1/research/clinical/epoch", 1).await;
    let mut released = of_ward(1, 5);
    released.stream.destination = slug("research");
    released.policy.label = "safe-harbor".into();
    assert_eq!(client.land(&released).await.problem().kind, ProblemKind::PolicyRefused);
    for record in &mut released.records {
        record.received_at = Some(model::TimeValue::Year(2026));
        (record.peer, record.channel, record.control_id) = (None, None, None);
        for observation in &mut record.observations {
            observation.time = None;
        }
    }
    let mut with_peer = released.clone();
    with_peer.records.last_mut().unwrap().peer = Some("10.0.0.1".into());
    let reply = client.land(&with_peer).await;
    assert_eq!(reply.problem().kind, ProblemKind::PolicyRefused);
    assert!(!reply.problem().title.contains("10.0.0.1"));
    client.land(&released).await.json::<Landed>();
    site.end().await;
}

/// A few kilobytes that would become gigabytes, with and without saying so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_do_not_go_off() {
    let site = Site::start().await;
    let mut client = site.connect(&site.gateway("ward-3")).await;
    client.epoch("/v1/lake/clinical/epoch", 1).await;
    let zeros = vec![0_u8; BATCH_RAW_BYTES_MAX + 1];
    let declared = zstd::bulk::compress(&zeros, 1).unwrap();
    let mut streamed = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    std::io::copy(&mut zeros.as_slice(), &mut streamed).unwrap();
    let streamed = streamed.finish().unwrap();
    for body in [declared, streamed] {
        assert!(body.len() < 100_000);
        let reply = client.put(Put { body: body.into(), ..Put::of(&of_ward(1, 5)) }).await;
        assert_eq!((reply.status.as_u16(), reply.problem().kind), (413, ProblemKind::TooLarge));
    }
    // A window that would take more memory than any ordinary level asks for.
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    std::io::copy(&mut zeros.get(..60 << 20).unwrap(), &mut wide).unwrap();
    let body = wide.finish().unwrap().into();
    let reply = client.put(Put { body, ..Put::of(&of_ward(1, 5)) }).await;
    assert_eq!(reply.problem().kind, ProblemKind::Malformed);
    // Too much on the wire is refused before it is read.
    let request = Request::put("https://localhost/v1/lake/clinical/1/1")
        .header("content-type", BATCH_MEDIA_TYPE)
        .header("content-encoding", "zstd")
        .header(MANIFEST_HEADER, "x")
        .body(Full::new(Bytes::from(vec![0_u8; model::wire::BATCH_WIRE_BYTES_MAX + 1])))
        .unwrap();
    let reply = client.send(request).await;
    assert!(reply.is_err() || reply.is_ok_and(|r| r.problem().kind == ProblemKind::TooLarge));
    let mut client = site.connect(&site.gateway("ward-3")).await;
    client.land(&of_ward(1, 5)).await.json::<Landed>();
    site.end().await;
}

/// The largest frame that a gateway takes comes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_64_mb_lands() {
    let site = Site::start().await;
    let mut client = site.connect(&site.gateway("ward-3")).await;
    client.epoch("/v1/lake/clinical/epoch", 1).await;
    let mut large = of_ward(1, 1);
    large.records.first_mut().unwrap().payload = serde_bytes::ByteBuf::from(vec![7_u8; 64 << 20]);
    client.land(&large).await.json::<Landed>();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_that_fails_says_when_to_come_back() {
    let site = Site::start().await;
    let mut client = site.connect(&site.gateway("ward-3")).await;
    client.epoch("/v1/lake/clinical/epoch", 1).await;
    let log = site.dir.path().join("lake/raw/_delta_log");
    let away = site.dir.path().join("away");
    std::fs::rename(&log, &away).unwrap();
    std::fs::write(&log, "").unwrap();
    let reply = client.land(&of_ward(1, 5)).await;
    assert_eq!((reply.status.as_u16(), reply.retry_after.as_deref()), (503, Some("5")));
    assert_eq!(reply.problem().kind, ProblemKind::Unavailable);
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&away, &log).unwrap();
    client.land(&of_ward(1, 5)).await.json::<Landed>();
    site.end().await;
}

/// What is under way at a stop is answered; a restart knows all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_drains() {
    let site = Site::start().await;
    let mut client = site.connect(&site.gateway("ward-3")).await;
    client.epoch("/v1/lake/clinical/epoch", 1).await;
    let batch = of_ward(1, 500);
    let sending = client.land(&batch);
    tokio::pin!(sending);
    // Started, then stopped.
    let early = tokio::time::timeout(std::time::Duration::from_millis(1), &mut sending).await;
    site.stop.cancel();
    let landed: Landed = match early {
        Ok(reply) => reply.json(),
        Err(_) => sending.await.json(),
    };
    assert_eq!(landed.last, 500);
    let address = site.address;
    let dir = site.end().await;
    assert!(TcpStream::connect(address).await.is_err());
    assert!(verify(&dir.path().join("lake")).await.unwrap().ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_without_tls() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let site = Site::start().await;
    for (path, says) in [("/healthz", "\"ok\""), ("/readyz", "\"ready\":true"), ("/v1/lake/clinical", "404")]
    {
        let mut plain = TcpStream::connect(site.operations).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        plain.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        plain.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(says), "{answer}");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_landing_that_cannot_start_says_why() {
    let site = Site::start().await;
    let at = |name: &str| site.dir.path().join(name);
    let text = |policy: &str, ca: &str| {
        format!(
            "listen = \"127.0.0.1:0\"\ncertificate = \"landing.pem\"\nkey = \"landing.key\"\nclient_ca = \"{ca}\"\n\
             [[destination]]\nname = \"lake\"\nroot = \"lake\"\npolicy = \"{policy}\"\n"
        )
    };
    let start = async |policy: &str, ca: &str| {
        let config = Config::parse(&text(policy, ca), &at("landing.toml")).unwrap();
        let unfit = crate::inspect::check::check(&config, &SystemClock).await.unwrap_err();
        let refused = Server::bind(&config, Arc::new(SystemClock)).await.err().unwrap().to_string();
        (unfit.iter().map(ToString::to_string).collect::<Vec<_>>(), refused)
    };
    let (_, other_policy) = start("safe-harbor", "ca.pem").await;
    assert!(other_policy.contains("use another root"), "{other_policy}");
    let (unfit, no_ca) = start("treatment", "missing.pem").await;
    assert_eq!(unfit.len(), 1, "{unfit:?}");
    assert!(no_ca.contains("missing.pem"), "{no_ca}");
    let expired = site.authority.server(&["localhost"], from_now(-2), from_now(-1)).unwrap();
    expired.write(&at("landing.pem"), &at("landing.key")).unwrap();
    let (_, expired) = start("treatment", "ca.pem").await;
    assert!(expired.contains("expired"), "{expired}");
    let (unfit, _) = start("safe-harbor", "missing.pem").await;
    for part in ["expired", "missing.pem", "use another root"] {
        assert!(unfit.iter().any(|why| why.contains(part)), "{part} of {unfit:?}");
    }
    site.end().await;
}

/// More than the whole budget, one after the other: what is not given back would be missing.
#[tokio::test]
async fn budgets_are_given_back() {
    let budget = super::upload::Budget::default();
    for _ in 0..20 {
        let put = Put::of(&of_ward(1, 5));
        let decoded = budget.receive(None, Body::from(put.body)).await.unwrap();
        assert_eq!(decoded.batch, of_ward(1, 5));
    }
}
