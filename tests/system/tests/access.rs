//! Who gets in, and which message goes where: TLS with a sender of OpenSSL, lists, a flood, routes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]
#![allow(clippy::disallowed_methods, reason = "real senders take real time")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use system_tests::mllp::{Connection, accepted};
use system_tests::site::{Site, days_from_now, filter, free_port, run, shown};
use system_tests::{hl7, http, peers, readers, wait};

/// Sends over TLS with Python's OpenSSL; what `tests/readers/tls_sender.py` prints.
fn over_tls(site: &Site, shown: Option<&str>, more: &[&str], messages: &[Vec<u8>]) -> Value {
    let messages: Vec<String> = messages.iter().map(|m| String::from_utf8(m.clone()).unwrap()).collect();
    let program = peers::repository().join("tests/readers/tls_sender.py");
    let port = site.ports.mllp.to_string();
    let ca = site.certificate("ca.pem");
    let mut arguments = vec![program.to_str().unwrap(), "127.0.0.1", &port, ca.to_str().unwrap()];
    let files = shown.map(|name| {
        [format!("{name}.pem"), format!("{name}.key.pem")]
            .map(|f| site.certificate(&f).to_str().unwrap().to_owned())
    });
    if let Some([certificate, key]) = &files {
        arguments.extend(["--certificate", certificate, "--key", key]);
    }
    arguments.extend(more);
    let out = filter(&peers::python(), &arguments, json!(messages).to_string().as_bytes());
    assert!(out.status.success(), "{}", self::shown(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn metric(site: &Site, sample: &str) -> u64 {
    let (_, text) = http::get(site.ports.operations, "/metrics").unwrap();
    let line =
        text.lines().find(|l| l.starts_with(sample)).unwrap_or_else(|| panic!("no {sample} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_sender_of_another_make_gets_in_over_mutual_tls_and_nobody_else_does() {
    let mut site = Site::small();
    site.certificate_of("lab-engine");
    site.certificate_of("another");
    site.mllp = "[feed.mllp.tls]\ncertificate = \"certificates/landing.pem\"\n\
        key = \"certificates/landing.key.pem\"\nclient_ca = \"certificates/ca.pem\"\n\
        [feed.mllp.allow]\nnetworks = [\"127.0.0.0/8\"]\n\
        certificates = [\"uri:urn:wardgate:gateway:lab-engine\"]\n"
        .to_owned();
    let (mut gateway, mut landing) = site.start();
    let messages: Vec<Vec<u8>> = (0..3).map(|n| hl7::observation(&format!("tls-{n}"), n)).collect();
    let taken = over_tls(&site, Some("lab-engine"), &[], &messages);
    assert_eq!((&taken["version"], &taken["codes"]), (&json!("TLSv1.3"), &json!(["AA", "AA", "AA"])));

    let refused = hl7::observation("refused", 9);
    for (shown, more) in [(None, &[][..]), (Some("another"), &[]), (Some("lab-engine"), &["--max", "1.2"])] {
        let answer = over_tls(&site, shown, more, std::slice::from_ref(&refused));
        assert!(answer["error"].is_string(), "{shown:?} {more:?}: {answer}");
    }
    assert!(Connection::open(site.ports.mllp).unwrap().exchange(&refused).is_err(), "plain text");
    for words in [
        "showed no certificate",
        "its certificate is none of those in `allow`",
        "does not speak TLS 1.3",
        "min_version",
        "does not speak TLS but MLLP in plain text",
    ] {
        wait::until(&format!("the log to say {words:?}"), || gateway.log().contains(words).then_some(()));
    }
    let closed = |reason: &str| {
        metric(&site, &format!("wardgate_connections_closed_total{{feed=\"adt\",reason=\"{reason}\"}}"))
    };
    assert_eq!((closed("handshake"), closed("not-allowed"), closed("limit")), (3, 1, 0));

    let faults = wait::until("the faults to be kept", || {
        let all = site.json(&["faults", "--config", "gateway.toml", "--json"]);
        (all.as_array().unwrap().len() >= 4).then_some(all)
    });
    let of = |kind: &str| faults.as_array().unwrap().iter().filter(|f| f["kind"] == kind).count();
    assert_eq!((of("tls-failed"), of("not-allowed")), (3, 1), "{faults}");

    // The product's own sender.
    let file = site.dir.join("one.hl7");
    std::fs::write(&file, hl7::observation("own", 4)).unwrap();
    let to = format!("127.0.0.1:{}", site.ports.mllp);
    let own = ["send", "--to", &to, "--tls", "--ca", "certificates/ca.pem", file.to_str().unwrap(), "--json"];
    let with = [
        &own[..],
        &["--certificate", "certificates/lab-engine.pem"],
        &["--key", "certificates/lab-engine.key.pem"],
    ];
    assert_eq!(site.json(&with.concat())["acknowledged"], 1);
    let out = site.wardgate(&own);
    assert!(!out.status.success() && shown(&out).contains("requires a certificate"), "{}", shown(&out));

    // The simulated hospital says why it does not get in, and does not try for ever.
    let hospital = ["simulate", "--to", &to, "--tls", "--ca", "certificates/ca.pem", "--count", "3"];
    let out = site.wardgate(&hospital);
    assert_eq!(out.status.code(), Some(3), "{}", shown(&out));
    assert!(shown(&out).contains("requires a certificate"), "{}", shown(&out));
    let own = ["--certificate", "certificates/lab-engine.pem", "--key", "certificates/lab-engine.key.pem"];
    assert_eq!(site.json(&[&hospital[..], &own, &["--json"]].concat())["acknowledged"], 3);

    // A renewed certificate is shown within seconds, and the box was not restarted.
    site.landing_certificate(days_from_now(-1), days_from_now(20));
    let renewed = wait::until("the renewed certificate", || {
        let answer = over_tls(&site, Some("lab-engine"), &[], &[]);
        (answer["sha256"] != taken["sha256"]).then(|| answer["sha256"].clone())
    });
    assert!(renewed.is_string());
    site.drained();
    let rows = readers::rows(&site.root("lake"), "raw");
    assert_eq!(rows.len(), 3 + 1 + 3);
    for row in &rows {
        let peer = row["peer"].as_str().unwrap();
        assert!(peer.starts_with("urn:wardgate:gateway:lab-engine (127.0.0.1:"), "{peer}");
    }
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}

#[test]
fn messages_go_where_their_routes_lead_and_the_tables_account_for_all_of_them() {
    let mut site = Site::new();
    site.more = "[[feed.route]]\nname = \"results\"\ndestinations = [\"lake\", \"research\"]\n\
        when = [{ type = \"ORU^R01\" }, { path = \"OBX-8\", equals = \"N\" }]\n\
        [[feed.route]]\nname = \"odd\"\ndestinations = [\"research\"]\n\
        when = [{ path = \"PID-3.1\", matches = \"^77[0-9]*[13579]13$\" }, { type = \"ADT^*\" }]\n\
        [[feed.route]]\nname = \"rest\"\ndestinations = [\"lake\"]\notherwise = true\n"
        .to_owned();
    let (mut gateway, mut landing) = site.start();
    let mut connection = Connection::open(site.ports.mllp).unwrap();
    let (mut to_lake, mut to_research, mut everything) = (Vec::new(), 0_u64, Vec::new());
    for n in 0..60_u64 {
        let id = format!("route-{n}");
        let message = if n % 3 == 0 { hl7::observation(&id, n) } else { hl7::admission(&id, n) };
        assert_eq!(connection.exchange(&message).unwrap().code(), "AA");
        let (result, odd) = (n % 3 == 0, n % 2 == 1);
        if result || !odd {
            to_lake.push(message.clone());
        }
        to_research += u64::from(result || odd);
        everything.extend(message);
    }
    // What cannot be read waits for a person at both, and is no row of either.
    assert_eq!(connection.exchange(b"no message at all").unwrap().code(), "AR");
    site.drained();
    assert!(readers::payloads(&site.root("lake")) == to_lake, "each once, in order, and no other");
    assert_eq!(readers::rows(&site.root("research"), "raw").len() as u64, to_research);
    for (destination, rows) in [("lake", to_lake.len() as u64), ("research", to_research)] {
        readers::sums(&site.root(destination));
        let ledger = readers::rows(&site.root(destination), "ledger");
        let sum = |key: &str| ledger.iter().map(|b| b[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!((sum("rows"), sum("skipped")), (rows, 61 - rows), "{destination}");
    }
    let trace = site.json(&["trace", "clinical-1-2", "--config", "gateway.toml", "--json"]);
    let fate = |name: &str| {
        let all = trace["destinations"].as_array().unwrap();
        all.iter().find(|f| f["destination"] == name).unwrap().clone()
    };
    assert_eq!(
        (&fate("lake")["reason"], &fate("research")["outcome"]),
        (&json!("not-routed"), &json!("landed"))
    );
    assert_eq!(trace["routes"][1]["fits"], true, "{trace}");
    let text = shown(&site.wardgate(&["trace", "clinical-1-2", "--config", "gateway.toml"]));
    assert!(text.contains("rest -> lake: does not fit: another route fits"), "{text}");

    // The filter says the same of the same messages.
    let config = site.dir.join("gateway.toml");
    let arguments = ["hl7", "route", "--config", config.to_str().unwrap()];
    let out = filter(&peers::wardgate(), &arguments, &everything);
    assert!(out.status.success(), "{}", shown(&out));
    let lines: Vec<Value> =
        String::from_utf8(out.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let leads = |to: &str| {
        lines.iter().filter(|l| l["destinations"].as_array().unwrap().contains(&json!(to))).count() as u64
    };
    assert_eq!((lines.len(), leads("lake"), leads("research")), (60, to_lake.len() as u64, to_research));
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}

#[test]
fn a_flood_on_one_feed_costs_another_nothing() {
    let mut site = Site::small();
    let second = free_port();
    site.mllp = "peer_messages_per_s_max = 100\nconnections_per_peer_max = 8\n".to_owned();
    site.more = format!("[[feed]]\nname = \"lab\"\n[feed.mllp]\nlisten = \"127.0.0.1:{second}\"\n");
    let (mut gateway, mut landing) = site.start();
    let (flooded, over) = (site.ports.mllp, AtomicBool::new(false));
    let begun = Instant::now();
    let (answered, slowest) = std::thread::scope(|threads| {
        let floods: Vec<_> = (0..12_u64)
            .map(|who| {
                let over = &over;
                threads.spawn(move || {
                    // Places for eight; the others are turned away, and try again.
                    let mut answered = 0_u64;
                    'again: while !over.load(Ordering::SeqCst) {
                        let Ok(mut line) = Connection::open(flooded) else { continue };
                        let mut n = 0;
                        while !over.load(Ordering::SeqCst) {
                            for k in 0..16 {
                                let id = format!("f{who}-{answered}-{}", n + k);
                                if line.send(&hl7::observation(&id, k)).is_err() {
                                    continue 'again;
                                }
                            }
                            for _ in 0..16 {
                                let Ok(answer) = line.answer() else { continue 'again };
                                assert_eq!(answer.code(), "AA");
                                answered += 1;
                            }
                            n += 16;
                        }
                    }
                    answered
                })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        for n in 0..100 {
            let one = Instant::now();
            accepted(second, &hl7::observation(&format!("calm-{n}"), n));
            slowest = slowest.max(one.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::SeqCst);
        (floods.into_iter().map(|t| t.join().unwrap()).sum::<u64>(), slowest)
    });
    let seconds = begun.elapsed().as_secs();
    // No figure, only that nobody starved: an answer is far from any sender's time-out.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(answered > 0 && answered <= 100 * (seconds + 2), "{answered} in {seconds} s, at 100 a second");
    assert!(metric(&site, "wardgate_paced_milliseconds_total{feed=\"adt\"}") > 0);
    assert!(metric(&site, "wardgate_connections_closed_total{feed=\"adt\",reason=\"limit\"}") > 0);
    assert_eq!(metric(&site, "wardgate_paced_milliseconds_total{feed=\"lab\"}"), 0);
    site.drained();
    let rows = readers::rows(&site.root("lake"), "raw");
    let of = |feed: &str| rows.iter().filter(|r| r["feed"] == feed).count() as u64;
    assert_eq!(of("lab"), 100);
    assert!(of("adt") >= answered, "what was acknowledged is a row");
    gateway.stop();
    landing.stop();
    readers::sums(&site.root("lake"));
    site.nothing_to_find();
}

/// A peer whose network is gone sends no FIN and no RST. It can only be tried where namespaces can be made.
#[test]
fn a_peer_that_vanishes_gives_its_place_back_within_about_a_minute() {
    let site = Site::with(Vec::new());
    let program = peers::repository().join("tests/readers/vanish.py");
    let listener = site.ports.mllp;
    let text = site
        .gateway_toml()
        .replace(&format!("127.0.0.1:{listener}"), &format!("0.0.0.0:{listener}"))
        .replace("[feed.mllp]", "[feed.mllp]\nidle_timeout_s = 0");
    std::fs::write(site.dir.join("gateway.toml"), text).unwrap();
    let (port, operations) = (listener.to_string(), site.ports.operations.to_string());
    let (wardgate, python) = (peers::wardgate(), peers::python());
    let out = run(
        "/usr/bin/unshare".as_ref(),
        &[
            "--user",
            "--map-root-user",
            "--net",
            "--kill-child",
            "--fork",
            "--pid",
            "--mount-proc",
            python.to_str().unwrap(),
            program.to_str().unwrap(),
            wardgate.to_str().unwrap(),
            &port,
            &operations,
        ],
        &site.dir,
    );
    let said = String::from_utf8_lossy(&out.stdout);
    let unshared =
        run("/usr/bin/unshare".as_ref(), &["--user", "--map-root-user", "--net", "true"], &site.dir);
    if out.status.code() == Some(77) || !unshared.status.success() {
        eprintln!("left out: no namespaces here: {}", shown(&out));
        return;
    }
    assert!(out.status.success(), "{}", shown(&out));
    let said: Value = serde_json::from_str(said.trim()).unwrap();
    let seconds = said["seconds"].as_f64().unwrap();
    // Probed after 30 s, and given up after three probes or 60 s without a word.
    assert!((25.0..=90.0).contains(&seconds), "{said}");
}
