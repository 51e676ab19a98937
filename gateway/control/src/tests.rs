//! Documents and what is said about them.

use std::path::Path;

use model::Timestamp;
use tls::throwaway::Authority;

use super::*;

/// A folder with an authority and a gateway's certificate.
fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (from, to) = (Timestamp::from_micros(0), Timestamp::from_micros(4_000_000_000_000_000));
    let authority = Authority::new("test", from, to).unwrap();
    authority.write(&dir.join("ca.pem")).unwrap();
    authority
        .gateway(&"ward-3".parse().unwrap(), from, to)
        .unwrap()
        .write(&dir.join("gw.pem"), &dir.join("gw.key"))
        .unwrap();
    folder
}

fn now() -> Timestamp {
    "2026-11-24T08:30:00Z".parse().unwrap()
}

/// What is said of a document that is wrong.
fn mistakes(text: &str, dir: &Path) -> String {
    let findings = check("gateway.toml", text, dir, now()).unwrap_err();
    render(&findings).replace(&dir.display().to_string(), "DIR")
}

/// A document that is right.
fn sound(text: &str, dir: &Path) -> Checked {
    check("g.toml", text, dir, now()).unwrap_or_else(|findings| panic!("{}", render(&findings)))
}

const MINIMAL: &str = r#"
[gateway]
id = "ward-3"
data_dir = "data"

[[feed]]
name = "adt"
[feed.mllp]
listen = "0.0.0.0:2575"

[[destination]]
name = "lake"
policy = "treatment"
[destination.lakehouse]
url = "https://landing.example:9443"
ca = "ca.pem"
certificate = "gw.pem"
key = "gw.key"
"#;

#[test]
fn a_minimal_document_is_enough_and_its_paths_become_absolute() {
    let dir = certificates();
    let checked = sound(MINIMAL, dir.path());
    let document = checked.document;
    assert_eq!(document.gateway.data_dir, dir.path().join("data"));
    assert_eq!(
        document.spool.key_file,
        dir.path().join("data/root.key"),
        "the key lies with the data unless told"
    );
    assert_eq!(document.destinations[0].lakehouse.as_ref().unwrap().ca, dir.path().join("ca.pem"));
    assert!(checked.policies.contains_key("treatment"));
    assert_eq!(checked.warnings, vec![]);
}

/// Every mistake in one run, each with its place.
#[test]
fn everything_wrong_is_said_at_once() {
    let dir = certificates();
    let text = r#"[gateway]
id = "Ward 3"

[spool]
segment_bytes = 12

[wbe]
listen = "0.0.0.0:8443"

[[feed]]
name = "adt"
destinations = ["lkae"]
[feed.mllp]
listen = "0.0.0.0:9090"
idle_timeout = 5

[[feed]]
name = "nowhere"

[[feed]]
name = "oximeter"
[feed.mqtt]
url = "mqtt://127.0.0.1:1883"
client_id = "w"
topics = ["ward/+/plx"]
profile = "bluetooth.plxx"

[[destination]]
name = "lake"
policy = "none"
[destination.lakehouse]
url = "http://landing.example"
ca = "absent.pem"
certificate = "gw.pem"
key = "gw.key"

[[destination]]
name = "lake"
policy = "safe-harbour"
"#;
    insta::assert_snapshot!(mistakes(text, dir.path()));
}

/// What a feed's door may be given that it cannot be.
#[test]
fn mistakes_about_who_may_connect_are_shown_where_they_stand() {
    let dir = certificates();
    let server = |feed: &str, rest: &str| {
        format!("[[feed]]\nname = \"{feed}\"\n[feed.mllp]\nlisten = \"127.0.0.1:0\"\n{rest}\n")
    };
    let text = [
        "[gateway]\nid = \"ward-3\"\n".to_owned(),
        server("a", "allow = { networks = [\"10.1.0.0/16\", \"10.1.2.3/16\"] }"),
        server("b", "allow = { networks = [\"10.1.0.0/33\"] }"),
        server("c", "[feed.mllp.allow]\ncertificates = [\"LAB01\"]"),
        server("d", "[feed.mllp.allow]\ncertificates = [\"cn:LAB01\"]"),
        server("e", "[feed.mllp.allow]\nnetworks = []"),
        server("f", "senders = [{ aplication = \"LAB\" }]"),
        server("g", "senders = [{ application = \"LAB\" }, { }]"),
        server("h", "[feed.mllp.tls]\ncertificate = \"gw.pem\"\nkey = \"absent.key\""),
        server("i", "[feed.mllp.tls]\ncertificate = \"gw.key\"\nkey = \"gw.key\""),
        server("j", "[feed.mllp.tls]\ncertificate = \"gw.pem\"\nkey = \"gw.key\"\nclient_ca = \"gw.key\""),
        server(
            "k",
            "[feed.mllp.tls]\ncertificate = \"gw.pem\"\nkey = \"gw.key\"\nclient_certificate = \"optional\"",
        ),
        server("l", "[feed.mllp.tls]\ncertificate = \"gw.pem\"\nkey = \"gw.key\"\nmin_version = \"1.1\""),
        server("m", "connections_max = 0\n"),
        server("n", "charset = \"8859/12\"\n"),
    ]
    .concat();
    insta::assert_snapshot!(mistakes(&text, dir.path()));
}

/// An endpoint that could let in nobody, or everybody, or that names keys that are none.
#[test]
fn mistakes_of_a_fhir_feed_are_shown_where_they_stand() {
    let dir = certificates();
    std::fs::write(dir.path().join("empty.json"), "{\"keys\": []}").unwrap();
    let endpoint = |feed: &str, rest: &str| {
        format!("[[feed]]\nname = \"{feed}\"\n[feed.fhir]\nlisten = \"127.0.0.1:0\"\n{rest}\n")
    };
    let tls = "[feed.fhir.tls]\ncertificate = \"gw.pem\"\nkey = \"gw.key\"";
    let text = [
        "[gateway]\nid = \"ward-3\"\n".to_owned(),
        endpoint("a", ""),
        endpoint("b", tls),
        endpoint("c", &format!("{tls}\nclient_ca = \"absent.pem\"")),
        endpoint("d", "plain_text_on_loopback = true\nbody_bytes_max = 1"),
        endpoint("e", &format!("url = \"https://h\"\n{tls}\n[[feed.fhir.client]]\nid = \"lab\"\njwks = \"empty.json\"")),
        endpoint("f", &format!("{tls}\n[[feed.fhir.client]]\nid = \"lab\"\njwks = \"absent.json\"\nscopes = [\"system/*.read\"]")),
        endpoint("g", "plain_text = true"),
        "[[feed]]\nname = \"h\"\n[feed.fhir]\nplain_text_on_loopback = true\n[feed.mllp]\n".to_owned(),
    ]
    .concat();
    insta::assert_snapshot!(mistakes(&text, dir.path()));
}

#[test]
fn certificates_that_end_soon_are_worth_a_word_and_stop_nobody() {
    let dir = certificates();
    let text = MINIMAL.replace(
        "[[destination]]",
        "[feed.mllp.tls]\ncertificate = \"gw.pem\"\nkey = \"gw.key\"\n\n[[destination]]",
    );
    let checked = sound(&text, dir.path());
    let days_before = |days: i64| {
        let end: i64 = 4_000_000_000_000_000;
        let shown =
            render(&checked.certificate_warnings(Timestamp::from_micros(end - days * 86_400_000_000)));
        shown.replace(&dir.path().display().to_string(), "DIR")
    };
    assert_eq!(days_before(31), "");
    insta::assert_snapshot!(format!("{}\n{}", days_before(12), days_before(-1)));
}

/// Also those in one section, and in the tables below it.
#[test]
fn a_mistake_hides_no_other() {
    let text = r#"[gateway]
id = "Ward 3"
data_dir = 5
data_drr = "data"

[operations]
listne = 1
listen = "localhost:9090"

[[feed]]
name = "adt"
lane = "clincal"
[feed.mllp]
listen = 2575
idle_timeout = 5
connections_max = "many"

[[feed]]
nmae = "oximeter"
[feed.mqtt]
url = 1
topics = "ward/+/plx"

[[destination]]
name = "lake"
policy = 7
[destination.batch]
records_max = -1
[destination.lakehouse]
url = "https://landing.example:9443"
ca = ["ca.pem"]
"#;
    insta::assert_snapshot!(mistakes(text, Path::new("/absent")));
}

const ROUTES: &str = r#"
[[feed.route]]
name = "labs"
destinations = ["lake"]
when = [{ type = "ORU^*" }, { path = "PID-3.4", one_of = ["WEST", "EAST"] }]

[[feed.route]]
destinations = ["lake"]
otherwise = true

[[destination]]"#;

#[test]
fn routes_are_compiled_once() {
    let dir = certificates();
    let text = MINIMAL.replace("[[destination]]", ROUTES);
    let checked = sound(&text, dir.path());
    assert!(checked.routers[&"adt".parse().unwrap()].names(&"lake".parse().unwrap()));
    assert_eq!(checked.warnings, vec![]);
    let partial = text.replace("otherwise = true", "when = [{ segment = \"ZPI\" }]");
    let checked = sound(&partial, dir.path());
    assert!(render(&checked.warnings).contains("goes nowhere"), "{}", render(&checked.warnings));
}

#[test]
fn mistakes_in_routes_are_shown_where_they_stand() {
    let dir = certificates();
    let text = r#"[gateway]
id = "ward-3"

[[feed]]
name = "a"
destinations = ["lake"]
[feed.mllp]
[[feed.route]]
name = "same"
destinations = ["lake", "lkae"]
when = [
    { type = "ADT^A01" },
    { path = "PID3", equals = "x" },
    { path = "PID-3", matches = "[" },
]
[[feed.route]]
name = "same"
destinations = []
when_any = [{ }]
otherwise = true

[[feed]]
name = "b"
[feed.mqtt]
url = "mqtt://127.0.0.1:1883"
client_id = "w"
topics = ["ward/+/plx"]
profile = "bluetooth.plx"
[[feed.route]]
destinations = ["lake"]

[[feed]]
name = "c"
[feed.mllp]
listen = "127.0.0.1:0"
[[feed.route]]
destinations = ["lake"]
when = [{ typ = "ADT^A01" }]

[[feed]]
name = "d"
[feed.mllp]
listen = "127.0.0.1:0"
[[feed.route]]
destinations = ["lake"]
when = [{ type = 3 }]

[[destination]]
name = "lake"
policy = "treatment"
[destination.lakehouse]
url = "https://landing.example:9443"
ca = "ca.pem"
certificate = "gw.pem"
key = "gw.key"
"#;
    insta::assert_snapshot!(mistakes(text, dir.path()));
}

#[test]
fn what_is_no_toml_is_said_with_its_place() {
    let findings = check("g.toml", "[gateway\nid = 3\n[[feed]\n", Path::new("."), now()).unwrap_err();
    assert_eq!((findings[0].line, findings[0].file.as_str()), (1, "g.toml"));
}

#[test]
fn a_certificate_of_another_gateway_is_noticed_before_the_landing_does() {
    let dir = certificates();
    let findings = check("g.toml", &MINIMAL.replace("ward-3", "ward-4"), dir.path(), now()).unwrap_err();
    assert_eq!(findings.len(), 1, "{}", render(&findings));
    assert!(
        findings[0].message.contains("names gateway `ward-3`, the box is `ward-4`"),
        "{}",
        findings[0].message
    );
}

#[test]
fn a_policy_of_the_site_is_compiled_and_its_mistakes_are_shown_in_its_file() {
    let dir = certificates();
    let text = format!("{MINIMAL}\n[[policy]]\nname = \"ours\"\nfile = \"ours.toml\"\n")
        .replace("\"treatment\"", "\"ours\"");
    let policy = "language = 1\nlabel = \"safe-harbor\"\nwhatever = 1\n[types]\nDTM = \"date-shift\"\n";
    std::fs::write(dir.path().join("ours.toml"), policy).unwrap();
    let findings = check("g.toml", &text, dir.path(), now()).unwrap_err();
    for (line, said) in [(3, "whatever"), (5, "types.DTM"), (1, "envelope.received_at")] {
        let is_it =
            |f: &Finding| f.file.ends_with("ours.toml") && f.line == line && f.message.starts_with(said);
        assert!(findings.iter().any(is_it), "{said}: {}", render(&findings));
    }
}

#[test]
fn no_two_listeners_share_a_port() {
    let dir = certificates();
    let findings =
        check("g.toml", &MINIMAL.replace("0.0.0.0:2575", "127.0.0.1:8443"), dir.path(), now()).unwrap_err();
    assert_eq!(findings.len(), 1);
    assert!(findings[0].message.contains("and so does web"), "{}", findings[0].message);
    assert_eq!(findings[0].line, 9);
}

#[test]
fn an_unreadable_file_is_a_finding() {
    let findings = check_file(Path::new("/nonexistent/gateway.toml"), now()).unwrap_err();
    assert!(findings[0].message.contains("cannot be read"), "{}", findings[0].message);
}

/// The published schema is the one that the code means. `UPDATE=1 cargo test -p wardgate-control` writes it.
#[test]
fn the_published_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/gateway.schema.json");
    let current = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        current,
        "run: UPDATE=1 cargo test -p wardgate-control"
    );
}

#[test]
fn the_audit_log_s_witnesses_are_checked() {
    let dir = certificates();
    let told = |audit: &str| {
        let text = format!("[gateway]\nid = \"ward-3\"\n{audit}");
        let findings = check("g.toml", &text, dir.path(), now()).err().unwrap_or_default();
        findings.into_iter().map(|f| f.message).collect::<Vec<_>>()
    };
    assert_eq!(told("[audit]\ncheckpoint_entries = 1\ncheckpoint_every_s = 86400\n"), Vec::<String>::new());
    let both = told("[audit]\ncheckpoint_entries = 0\ncheckpoint_every_s = 86401\n");
    assert_eq!(both, ["checkpoint_entries is from 1 to 10000", "checkpoint_every_s is from 1 to 86400"]);
    let syslog = |to: &str, ca: &str| {
        told(&format!(
            "[audit.syslog]\nto = \"{to}\"\nformat = \"atna\"\n[audit.syslog.tls]\nca = \"{ca}\"\n"
        ))
    };
    let [no_ca] = syslog("siem.example", "missing.pem").try_into().unwrap();
    assert!(no_ca.contains("missing.pem"), "{no_ca}");
    assert!(syslog("https://siem.example", "missing.pem").iter().any(|m| m.contains("more than a host")));
    let in_the_clear = told("[audit.syslog]\nto = \"siem.example\"\n");
    assert!(in_the_clear.iter().any(|m| m.contains("tls")), "{in_the_clear:?}");
    for (to, dialled) in [
        ("siem.example", "siem.example:6514"),
        ("siem.example:1", "siem.example:1"),
        ("[::1]", "[::1]:6514"),
        ("[::1]:7", "[::1]:7"),
    ] {
        let text = format!("to = \"{to}\"\n[tls]\nca = \"ca.pem\"\n");
        let syslog: crate::Syslog = toml::from_str(&text).unwrap();
        assert_eq!(syslog.receiver().to, dialled);
    }
}

/// What the empty pages tell a person to write is what the document takes.
#[test]
fn the_examples_of_the_pages_are_documents() {
    let dir = certificates();
    let text = format!("[gateway]\nid = \"ward-3\"\n{}\n{}\n", web::FEED_EXAMPLE, web::DESTINATION_EXAMPLE);
    let findings = check("g.toml", &text, dir.path(), now()).err().unwrap_or_default();
    let about_files = |f: &Finding| f.message.contains("cannot be used");
    let others: Vec<&Finding> = findings.iter().filter(|f| !about_files(f)).collect();
    assert!(others.is_empty(), "{}", render(&findings));
}

#[test]
fn an_mllp_destination_is_checked_and_device_feeds_are_warned_of() {
    let dir = certificates();
    let base = MINIMAL.split("[[destination]]").next().unwrap();
    let with = |mllp: &str| {
        let text = format!(
            "{base}[[destination]]\nname = \"ris\"\npolicy = \"treatment\"\n[destination.mllp]\n{mllp}"
        );
        check("gateway.toml", &text, dir.path(), now())
    };
    let checked = with(
        "to = \"ris.example\"\n[destination.mllp.tls]\nca = \"ca.pem\"\ncertificate = \"gw.pem\"\nkey = \"gw.key\"\n",
    )
    .unwrap_or_else(|f| panic!("{}", render(&f)));
    assert_eq!(checked.warnings, vec![]);
    let tls = checked.document.destinations[0].mllp.as_ref().unwrap().tls.as_ref().unwrap();
    assert_eq!((&tls.ca, tls.key.as_ref()), (&dir.path().join("ca.pem"), Some(&dir.path().join("gw.key"))));
    for (mllp, words) in [
        ("to = \"ris:hl7\"\n", "write host:port"),
        ("to = \"ris\"\nanswer_timeout_s = 0\n", "answer_timeout_s is 0"),
        ("to = \"ris\"\nwindow = 4\n", "no key `window`"),
        ("to = \"ris\"\n[destination.mllp.tls]\nca = \"gone.pem\"\n", "gone.pem"),
        (
            "to = \"ris\"\n[destination.lakehouse]\nurl = \"https://l\"\nca = \"ca.pem\"\ncertificate = \"gw.pem\"\nkey = \"gw.key\"\n",
            "both lakehouse and mllp",
        ),
    ] {
        let findings = render(&with(mllp).unwrap_err());
        assert!(findings.contains(words), "{mllp}: {findings}");
    }
    let text = "[gateway]\nid = \"ward-3\"\n[[feed]]\nname = \"oximeters\"\ndestinations = [\"ris\"]\n[feed.mqtt]\nurl = \"mqtt://127.0.0.1\"\nclient_id = \"ward-3\"\ntopics = [\"ward/+/plx\"]\nprofile = \"PROFILE\"\n[[destination]]\nname = \"ris\"\npolicy = \"treatment\"\n[destination.mllp]\nto = \"ris\"\n";
    let catalogue = profile::Catalogue::builtin().unwrap();
    let text = text.replace("PROFILE", catalogue.ids().next().unwrap());
    let checked = sound(&text, dir.path());
    let said = render(&checked.warnings);
    assert!(said.contains("brings no HL7 v2") && said.contains("not-routed"), "{said}");
}

/// What `docs/feeds.md` tells a person to write is what the document takes.
#[test]
fn the_examples_of_the_manual_are_documents() {
    let page = include_str!("../../../docs/feeds.md");
    let examples: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|e| e.split("```").next()).collect();
    let dir = certificates();
    for (from, to) in [("gw.pem", "lab.pem"), ("gw.key", "lab.key"), ("ca.pem", "hospital-ca.pem")] {
        std::fs::copy(dir.path().join(from), dir.path().join(to)).unwrap();
    }
    let destination = MINIMAL.split_once("[[destination]]").unwrap().1;
    let destinations: String = ["lake", "research", "registry"]
        .iter()
        .map(|name| format!("[[destination]]{}", destination.replace("\"lake\"", &format!("\"{name}\""))))
        .collect();
    let text = format!("[gateway]\nid = \"ward-3\"\n{}\n{destinations}", examples.concat());
    let checked = sound(&text, dir.path());
    assert_eq!((examples.len(), checked.document.feeds.len(), checked.routers.len()), (4, 3, 1));
    assert_eq!(checked.warnings, vec![]);
}
