//! Handshakes in memory: rustls against rustls, no socket, no runtime.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use model::{Clock as _, Slug, Timestamp};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use crate::throwaway::{Authority, Issued, self_signed};
use crate::*;

const DAY: i64 = 86_400_000_000;

#[derive(Debug)]
struct Wall;

impl model::Clock for Wall {
    #[expect(clippy::disallowed_methods, reason = "rustls verifies dates by the machine's clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    }
}

fn days(n: i64) -> Timestamp {
    Timestamp::from_micros(Wall.now().micros() + n * DAY)
}

fn slug(name: &str) -> Slug {
    name.parse().unwrap()
}

fn authority(name: &str) -> Authority {
    Authority::new(name, days(-400), days(400)).unwrap()
}

struct Bed {
    ours: Authority,
    server: Issued,
    gateway: Issued,
}

impl Bed {
    fn new() -> Self {
        let ours = authority("hospital");
        let server = ours.server(&["landing.test", "127.0.0.1"], days(-1), days(1)).unwrap();
        let gateway = ours.gateway(&slug("ward-3"), days(-1), days(1)).unwrap();
        Self { ours, server, gateway }
    }

    fn listening(&self, server: &Issued) -> Arc<ServerConfig> {
        let ca = self.ours.ca().unwrap();
        server_config(server.identity().unwrap(), Some(&ca), &["h2"]).unwrap()
    }

    fn dialling(&self, client: &Issued) -> Arc<ClientConfig> {
        let ca = self.ours.ca().unwrap();
        client_config(&ca, Some(client.identity().unwrap().into()), &["h2"]).unwrap()
    }
}

/// What each side knows in the end: the server the gateway, the client nothing but that it works.
type Outcome = (Result<Slug, String>, Result<(), String>);

/// Runs a handshake and one byte each way, carrying bytes by hand until nothing moves.
fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, name: &'static str) -> Outcome {
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let name = ServerName::try_from(name).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    server.writer().write_all(b"s").unwrap();
    client.writer().write_all(b"c").unwrap();
    let (mut at_server, mut at_client) = (Ok(()), Ok(()));
    for _ in 0..10 {
        carry(&mut Side::Client(&mut client), &mut Side::Server(&mut server), &mut at_server);
        carry(&mut Side::Server(&mut server), &mut Side::Client(&mut client), &mut at_client);
    }
    let mut byte = [0_u8; 1];
    let at_client =
        at_client.map_err(|e: rustls::Error| explain(&e, "the landing").to_string()).and_then(|()| {
            client.reader().read_exact(&mut byte).map_err(|e| explain_io(&e, "the landing").to_string())
        });
    let at_server =
        at_server.map_err(|e: rustls::Error| explain(&e, "the gateway").to_string()).and_then(|()| {
            server.reader().read_exact(&mut byte).map_err(|e| explain_io(&e, "the gateway").to_string())?;
            peer_gateway(server.peer_certificates().unwrap_or(&[])).map_err(|e| e.to_string())
        });
    (at_server, at_client)
}

enum Side<'a> {
    Server(&'a mut ServerConnection),
    Client(&'a mut ClientConnection),
}

fn carry(from: &mut Side<'_>, to: &mut Side<'_>, failure: &mut Result<(), rustls::Error>) {
    let mut wire = Vec::new();
    loop {
        let written = match from {
            Side::Server(c) => c.write_tls(&mut wire),
            Side::Client(c) => c.write_tls(&mut wire),
        };
        if written.unwrap() == 0 {
            break;
        }
    }
    let mut rest = wire.as_slice();
    while !rest.is_empty() && failure.is_ok() {
        let processed = match to {
            Side::Server(c) => c.read_tls(&mut rest).map(|_| c.process_new_packets()),
            Side::Client(c) => c.read_tls(&mut rest).map(|_| c.process_new_packets()),
        };
        if let Err(e) = processed.unwrap() {
            *failure = Err(e);
        }
    }
}

fn refused(side: &Result<impl std::fmt::Debug, String>, words: &str) {
    let text = side.as_ref().unwrap_err();
    assert!(text.contains(words), "{text:?} should say {words:?}");
}

#[test]
fn a_gateway_and_its_landing_understand_each_other() {
    let bed = Bed::new();
    for name in ["landing.test", "127.0.0.1"] {
        let (server, client) = shake(&bed.listening(&bed.server), &bed.dialling(&bed.gateway), name);
        assert_eq!((server, client), (Ok(slug("ward-3")), Ok(())));
    }
}

#[test]
fn only_tls13_with_a_hybrid_key_exchange() {
    let bed = Bed::new();
    let mut server = ServerConnection::new(bed.listening(&bed.server)).unwrap();
    let name = ServerName::try_from("landing.test").unwrap();
    let mut client = ClientConnection::new(bed.dialling(&bed.gateway), name).unwrap();
    let (mut a, mut b) = (Ok(()), Ok(()));
    for _ in 0..5 {
        carry(&mut Side::Client(&mut client), &mut Side::Server(&mut server), &mut a);
        carry(&mut Side::Server(&mut server), &mut Side::Client(&mut client), &mut b);
    }
    let client = Connection::from(client);
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(client.alpn_protocol(), Some(b"h2".as_slice()));
    let group = client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    let Connection::Client(client) = client else { unreachable!() };
    assert_eq!(client.tls13_tickets_received(), 0, "no session is resumed");
}

#[test]
fn strangers_are_refused_on_both_sides() {
    let bed = Bed::new();
    let others = authority("somebody else");
    let server = others.server(&["landing.test"], days(-1), days(1)).unwrap();
    let (at_server, at_client) = shake(&bed.listening(&server), &bed.dialling(&bed.gateway), "landing.test");
    refused(
        &at_client,
        "the landing's certificate is signed by another authority than the pinned one; check the ca",
    );
    refused(&at_server, "the gateway refused our certificate: it is signed by an authority");

    let gateway = others.gateway(&slug("ward-3"), days(-1), days(1)).unwrap();
    let (at_server, at_client) = shake(&bed.listening(&bed.server), &bed.dialling(&gateway), "landing.test");
    refused(&at_server, "the gateway's certificate is signed by another authority");
    refused(&at_client, "the landing refused our certificate: it is signed by an authority");
}

#[test]
fn an_authority_of_the_same_name_is_not_the_authority() {
    let bed = Bed::new();
    let twin = authority("hospital");
    let gateway = twin.gateway(&slug("ward-3"), days(-1), days(1)).unwrap();
    let (at_server, at_client) = shake(&bed.listening(&bed.server), &bed.dialling(&gateway), "landing.test");
    assert!(at_server.is_err() && at_client.is_err(), "{at_server:?} {at_client:?}");
}

#[test]
fn dates_are_enforced_on_both_sides() {
    let bed = Bed::new();
    let old = bed.ours.server(&["landing.test"], days(-20), days(-10)).unwrap();
    let (_, at_client) = shake(&bed.listening(&old), &bed.dialling(&bed.gateway), "landing.test");
    let day = days(-10).to_string().split('T').next().unwrap().to_owned();
    refused(&at_client, &format!("the landing's certificate expired on {day}"));

    let old = bed.ours.gateway(&slug("ward-3"), days(-20), days(-10)).unwrap();
    let (at_server, at_client) = shake(&bed.listening(&bed.server), &bed.dialling(&old), "landing.test");
    refused(&at_server, &format!("the gateway's certificate expired on {day}"));
    refused(&at_client, "the landing refused our certificate: it has expired");

    let early = bed.ours.server(&["landing.test"], days(10), days(20)).unwrap();
    let (_, at_client) = shake(&bed.listening(&early), &bed.dialling(&bed.gateway), "landing.test");
    refused(&at_client, "valid only from");
}

#[test]
fn without_a_certificate_nobody_gets_in() {
    let bed = Bed::new();
    let bare = client_config(&bed.ours.ca().unwrap(), None, &["h2"]).unwrap();
    let (at_server, at_client) = shake(&bed.listening(&bed.server), &bare, "landing.test");
    refused(&at_server, "showed no certificate");
    refused(&at_client, "requires a certificate and we showed none");
    // Where no client authority is given, none is asked for.
    let open = server_config(bed.server.identity().unwrap(), None, &["h2"]).unwrap();
    let (at_server, at_client) = shake(&open, &bare, "landing.test");
    refused(&at_server, "was not shown");
    assert_eq!(at_client, Ok(()));
}

#[test]
fn names_and_purposes_are_enforced() {
    let bed = Bed::new();
    let (_, at_client) = shake(&bed.listening(&bed.server), &bed.dialling(&bed.gateway), "other.test");
    refused(&at_client, "not for other.test but for");
    refused(&at_client, "landing.test");
    // A gateway's certificate cannot play the landing, nor the landing's a gateway.
    let (_, at_client) = shake(&bed.listening(&bed.gateway), &bed.dialling(&bed.gateway), "landing.test");
    assert!(at_client.is_err());
    let (at_server, _) = shake(&bed.listening(&bed.server), &bed.dialling(&bed.server), "landing.test");
    refused(&at_server, "not meant for its side");
}

#[test]
fn other_protocols_are_named() {
    let bed = Bed::new();
    let ca = bed.ours.ca().unwrap();
    let http1 = client_config(&ca, Some(bed.gateway.identity().unwrap().into()), &["http/1.1"]).unwrap();
    let (_, at_client) = shake(&bed.listening(&bed.server), &http1, "landing.test");
    refused(&at_client, "does not speak the protocol expected on this port");
    let mut plain =
        ClientConnection::new(bed.dialling(&bed.gateway), ServerName::try_from("landing.test").unwrap())
            .unwrap();
    plain.read_tls(&mut b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice()).unwrap();
    let text = explain(&plain.process_new_packets().unwrap_err(), "the landing").to_string();
    assert!(text.contains("does not answer with TLS"), "{text}");
}

#[test]
fn old_devices_speak_tls12_only_where_allowed() {
    let bed = Bed::new();
    let ca = bed.ours.ca().unwrap();
    let device = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(Arc::clone(&ca.roots))
        .with_no_client_auth();
    let device = Arc::new(device);
    let identity = bed.server.identity().unwrap();
    let strict = server_config(&identity, None, &[]).unwrap();
    let (at_server, at_client) = shake(&strict, &device, "landing.test");
    refused(&at_server, "does not speak TLS 1.3");
    refused(&at_client, "TLS 1.3");
    let lenient = server_config_accepting(Versions::From12, &identity, ClientAuth::Nothing, &[]).unwrap();
    let (_, at_client) = shake(&lenient, &device, "landing.test");
    assert_eq!(at_client, Ok(()));
}

#[test]
fn a_revoked_certificate_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new();
    let other = bed.ours.gateway(&slug("ward-4"), days(-1), days(1)).unwrap();
    let list = dir.path().join("crl.pem");
    fs::write(&list, bed.ours.revocations(&[&bed.gateway], days(-1), days(1)).unwrap()).unwrap();
    let ca = bed.ours.ca().unwrap().with_revocations(&list).unwrap();
    let server = server_config(bed.server.identity().unwrap(), Some(&ca), &["h2"]).unwrap();
    let (at_server, at_client) = shake(&server, &bed.dialling(&bed.gateway), "landing.test");
    refused(&at_server, "has been revoked");
    refused(&at_client, "the landing refused our certificate: it has been revoked");
    let (at_server, _) = shake(&server, &bed.dialling(&other), "landing.test");
    assert_eq!(at_server, Ok(slug("ward-4")));

    fs::write(&list, bed.ours.revocations(&[], days(-9), days(-8)).unwrap()).unwrap();
    let ca = bed.ours.ca().unwrap().with_revocations(&list).unwrap();
    let server = server_config(bed.server.identity().unwrap(), Some(&ca), &["h2"]).unwrap();
    let (at_server, _) = shake(&server, &bed.dialling(&other), "landing.test");
    refused(&at_server, "revocation list");
    fs::write(&list, bed.ours.certificate_pem()).unwrap();
    assert!(bed.ours.ca().unwrap().with_revocations(&list).is_err());
}

#[test]
fn rotation_changes_new_handshakes_and_never_loses_a_working_identity() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("gw.pem"), dir.path().join("gw.key"));
    let bed = Bed::new();
    bed.gateway.write(&certificate, &key).unwrap();
    let rotating = Rotating::load(&certificate, &key).unwrap();
    let client = client_config(&bed.ours.ca().unwrap(), Some((&rotating).into()), &["h2"]).unwrap();
    let server = bed.listening(&bed.server);
    let who = || shake(&server, &client, "landing.test").0;
    assert_eq!(who(), Ok(slug("ward-3")));
    assert_eq!(rotating.reload_if_changed().unwrap(), Reloaded::Unchanged);
    assert_eq!(rotating.reload().unwrap(), Reloaded::Unchanged, "the same bytes are no rotation");

    let renewed = bed.ours.gateway(&slug("ward-5"), days(-1), days(2)).unwrap();
    let aside = dir.path().join("aside.key");
    renewed.write(&certificate, &aside).unwrap();
    let half = rotating.reload_if_changed().unwrap_err();
    assert!(matches!(half, Error::Mismatch { .. }), "{half}");
    assert_eq!(
        (who(), rotating.generation()),
        (Ok(slug("ward-3")), 1),
        "half of an exchange changes nothing"
    );

    fs::rename(&aside, &key).unwrap();
    assert_eq!(rotating.reload_if_changed().unwrap(), Reloaded::Swapped);
    assert_eq!((who(), rotating.generation()), (Ok(slug("ward-5")), 2));

    fs::remove_file(&key).unwrap();
    assert!(matches!(rotating.reload_if_changed(), Err(Error::File { .. })));
    assert!(rotating.reload_if_changed().is_err(), "it is tried again, not forgotten");
    assert_eq!(who(), Ok(slug("ward-5")));
}

#[test]
fn a_server_rotates_too() {
    let bed = Bed::new();
    let rotating = Rotating::fixed(
        bed.ours.server(&["landing.test"], days(-20), days(-10)).unwrap().identity().unwrap(),
    );
    let server = server_config(&rotating, Some(&bed.ours.ca().unwrap()), &["h2"]).unwrap();
    assert!(shake(&server, &bed.dialling(&bed.gateway), "landing.test").1.is_err());
    rotating.swap(bed.server.identity().unwrap());
    assert_eq!(shake(&server, &bed.dialling(&bed.gateway), "landing.test").1, Ok(()));
}

#[test]
fn a_certificate_names_one_gateway_or_none() {
    let bed = Bed::new();
    let named = |uris: &[&str]| {
        let issued = bed.ours.client("x", uris, days(-1), days(1)).unwrap();
        peer_gateway(issued.identity().unwrap().chain()).map_err(|e| e.to_string())
    };
    assert_eq!(named(&["urn:wardgate:gateway:ward-3"]), Ok(slug("ward-3")));
    assert_eq!(named(&["spiffe://x/y", "urn:wardgate:gateway:ward-3"]), Ok(slug("ward-3")));
    refused(&named(&[]), "no subject alternative name");
    refused(&named(&["https://ward-3"]), "names no gateway");
    refused(&named(&["urn:wardgate:gateway:a", "urn:wardgate:gateway:b"]), "more than one");
    for bad in ["urn:wardgate:gateway:", "urn:wardgate:gateway:../x", "urn:wardgate:gateway:Ward"] {
        refused(&named(&[bad]), "characters that are not allowed");
    }
    refused(&peer_gateway(&[]).map_err(|e| e.to_string()), "was not shown");
    refused(&peer_gateway(&[vec![1, 2, 3].into()]).map_err(|e| e.to_string()), "not valid X.509");
    refused(
        &peer_gateway(bed.server.identity().unwrap().chain()).map_err(|e| e.to_string()),
        "names no gateway",
    );
}

#[test]
fn unusable_files_are_named_with_a_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let bed = Bed::new();
    bed.gateway.write(&at("gw.pem"), &at("gw.key")).unwrap();
    bed.server.write(&at("srv.pem"), &at("srv.key")).unwrap();
    bed.ours.write(&at("ca.pem")).unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("torn"), "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    fs::write(at("junk"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    fs::write(
        at("locked"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    fs::write(at("huge"), vec![b'x'; usize::try_from(PEM_BYTES_MAX).unwrap() + 1]).unwrap();
    fs::write(at("many"), bed.gateway.certificate_pem().repeat(CHAIN_CERTIFICATES_MAX + 1)).unwrap();
    let pairs = [
        ("missing", "gw.key", "missing", "check the path"),
        ("gw.pem", "missing", "missing", "check the path"),
        ("empty", "gw.key", "empty", "no certificate"),
        ("torn", "gw.key", "torn", "PEM"),
        ("junk", "gw.key", "junk", "not valid X.509"),
        ("gw.key", "gw.key", "gw.key", "names the certificate and not the key"),
        ("gw.pem", "gw.pem", "gw.pem", "not exchanged"),
        ("gw.pem", "locked", "locked", "openssl pkey"),
        ("gw.pem", "srv.key", "srv.key", "does not belong"),
        ("huge", "gw.key", "huge", "bytes"),
        ("many", "gw.key", "many", "more than 10"),
    ];
    for (certificate, key, file, words) in pairs {
        let text = Identity::load(&at(certificate), &at(key)).unwrap_err().to_string();
        assert!(text.contains(file) && text.contains(words), "{certificate} {key}: {text}");
    }
    for (file, words) in
        [("missing", "check the path"), ("gw.key", "no certificate"), ("junk", "not valid X.509")]
    {
        let text = load_ca(&at(file)).unwrap_err().to_string();
        assert!(text.contains(file) && text.contains(words), "{file}: {text}");
    }
    assert!(load_ca(&at("ca.pem")).is_ok());
}

#[test]
fn dates_and_fingerprints_are_told() {
    let issued = self_signed(&["wardgate.local", "10.0.0.5"], days(-1), days(30)).unwrap();
    let identity = issued.identity().unwrap();
    assert_eq!(identity.expires_at().seconds(), days(30).seconds());
    assert_eq!(identity.fingerprint_sha256().len(), 64);
    assert!(identity.check_validity(days(0)).is_ok());
    assert!(matches!(identity.check_validity(days(31)), Err(Error::Expired { .. })));
    assert!(matches!(identity.check_validity(days(-2)), Err(Error::NotYetValid { .. })));
    // A browser that pins it by hand gets in.
    let pinned = Ca::from_pem(issued.certificate_pem().as_bytes(), Path::new("ui.pem")).unwrap();
    let server = server_config(&identity, None, &["h2", "http/1.1"]).unwrap();
    let client = client_config(&pinned, None, &["http/1.1"]).unwrap();
    assert_eq!(shake(&server, &client, "10.0.0.5").1, Ok(()));
}

#[test]
fn keys_are_written_for_this_user_alone_and_never_printed() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new();
    let (certificate, key) = (dir.path().join("gw.pem"), dir.path().join("gw.key"));
    bed.gateway.write(&certificate, &key).unwrap();
    for path in [&certificate, &key] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let secret = fs::read_to_string(&key).unwrap();
    let line = secret.lines().nth(1).unwrap();
    let identity = Identity::load(&certificate, &key).unwrap();
    let printed = format!("{identity:?} {:?} {:?}", bed.gateway, Rotating::fixed(identity.clone()));
    assert!(!printed.contains(line), "{printed}");
    assert!(matches!(
        bed.gateway.write(&dir.path().join("no/x"), &dir.path().join("no/y")),
        Err(Error::File { .. })
    ));
}

/// The same handshake against a listener from files, through everything that may be renewed.
#[test]
fn a_listener_takes_new_files_into_use_and_keeps_the_old_where_they_are_no_good() {
    let bed = Bed::new();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    bed.server.write(&at("server.pem"), &at("server.key")).unwrap();
    bed.ours.write(&at("clients.pem")).unwrap();
    let settings = Settings {
        certificate: at("server.pem"),
        key: at("server.key"),
        client_ca: Some(at("clients.pem")),
        client_revocations: None,
        client_certificate: ClientCertificate::Required,
        versions: Versions::Only13,
        alpn: &["h2"],
    };
    let listening = Listening::load(settings.clone()).unwrap();
    let dialling = bed.dialling(&bed.gateway);
    assert_eq!(shake(&listening.config(), &dialling, "landing.test").1, Ok(()));
    assert_eq!(listening.reload_if_changed().unwrap(), Reloaded::Unchanged);

    // Other authorities for clients: the old client is a stranger now.
    authority("another").write(&at("clients.pem")).unwrap();
    assert_eq!(listening.reload_if_changed().unwrap(), Reloaded::Swapped);
    refused(&shake(&listening.config(), &dialling, "landing.test").0, "another authority");

    // Garbage stays out, and is complained of until it is mended.
    fs::write(at("clients.pem"), "no PEM").unwrap();
    assert!(listening.reload_if_changed().is_err() && listening.reload_if_changed().is_err());
    refused(&shake(&listening.config(), &dialling, "landing.test").0, "another authority");
    bed.ours.write(&at("clients.pem")).unwrap();
    assert_eq!(listening.reload_if_changed().unwrap(), Reloaded::Swapped);
    assert_eq!(shake(&listening.config(), &dialling, "landing.test").1, Ok(()));

    // A new certificate of its own.
    let before = listening.identity().fingerprint_sha256().to_owned();
    bed.ours
        .server(&["landing.test"], days(-1), days(1))
        .unwrap()
        .write(&at("server.pem"), &at("server.key"))
        .unwrap();
    assert_eq!(listening.reload_if_changed().unwrap(), Reloaded::Swapped);
    assert_ne!(listening.identity().fingerprint_sha256(), before);
    assert_eq!(shake(&listening.config(), &dialling, "landing.test").1, Ok(()));

    // Where it is optional a client may come without; a stranger's certificate is refused all the same.
    let optional =
        Listening::load(Settings { client_certificate: ClientCertificate::Optional, ..settings }).unwrap();
    let without = client_config(&bed.ours.ca().unwrap(), None, &["h2"]).unwrap();
    assert_eq!(shake(&optional.config(), &without, "landing.test").1, Ok(()));
    let stranger = authority("stranger").gateway(&slug("ward-3"), days(-1), days(1)).unwrap();
    refused(&shake(&optional.config(), &bed.dialling(&stranger), "landing.test").0, "another authority");
    refused(&shake(&listening.config(), &without, "landing.test").0, "showed no certificate");
}
