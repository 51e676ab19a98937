//! Things that stop working for a while: the landing, the network, the disk, the state store, the gateway itself.
//! Each time: a clear word where one is due, and nothing lost.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::time::Duration;

use system_tests::disk::SmallDisk;
use system_tests::mllp::{self, Connection, Load};
use system_tests::proxy::Proxy;
use system_tests::site::{self, Site, backlog, days_from_now};
use system_tests::{hl7, http, readers, wait};

const PACE: Duration = Duration::from_millis(10);

fn log_durable(site: &Site) -> u64 {
    site.status().unwrap()["lanes"][1]["last_durable"].as_u64().unwrap()
}

#[test]
fn a_landing_that_is_away_for_a_while_gets_everything_later() {
    let site = Site::new();
    let (mut gateway, mut landing) = site.start();
    let load = Load::start(site.ports.mllp, 3, "away", PACE);
    load.progress(30);
    landing.stop();
    load.progress(100);
    // At first it says that the connection broke off; then, what an operator can do something about.
    let why = site.complaint("lake", "refused the connection");
    assert!(why.contains("not reachable") && why.contains("127.0.0.1"), "{why}");
    assert!(backlog(&site.status().unwrap()) > 0);
    let (code, body) = http::get(site.ports.operations, "/readyz").unwrap();
    assert_eq!(code, 200, "a landing that is away keeps nobody from sending: {body}");
    let (_, metrics) = http::get(site.ports.operations, "/metrics").unwrap();
    assert!(metrics.contains("wardgate_destination_up{destination=\"lake\"} 0"), "{metrics}");
    let mut landing = site.start_landing();
    load.progress(30);
    let sent = load.stop();
    site.drained();
    gateway.stop();
    landing.stop();
    readers::accounted(&sent, &site.root("lake"), &[&site.root("research")]);
    site.nothing_to_find();
}

#[test]
fn a_landing_that_starts_after_the_gateway_gets_everything() {
    let site = Site::small();
    site.write();
    let mut gateway = site.start_gateway();
    let load = Load::start(site.ports.mllp, 2, "later", PACE);
    load.progress(100);
    let sent = load.stop();
    site.complaint("lake", "not reachable");
    // The gateway is restarted too, before it has met any landing.
    gateway.stop();
    let mut gateway = site.start_gateway();
    let mut landing = site.start_landing();
    site.drained();
    gateway.stop();
    landing.stop();
    readers::accounted(&sent, &site.root("lake"), &[]);
    readers::sums(&site.root("lake"));
}

#[test]
fn a_network_that_flaps_and_a_landing_that_hangs_lose_nothing() {
    let mut site = Site::small();
    let proxy = Proxy::start(site.ports.landing);
    site.destinations[0].port = Some(proxy.port());
    let (mut gateway, mut landing) = site.start();
    let load = Load::start(site.ports.mllp, 3, "flap", PACE);
    for round in 0..6 {
        load.progress(20);
        match round % 3 {
            0 => proxy.cut(),
            1 => proxy.lose_answers(),
            _ => landing.freeze(),
        }
        load.progress(20);
        // Whoever waits for a lost answer is told that the connection is gone.
        proxy.cut();
        landing.thaw();
        proxy.mend();
    }
    let sent = load.stop();
    site.drained();
    gateway.stop();
    landing.stop();
    readers::accounted(&sent, &site.root("lake"), &[]);
    readers::sums(&site.root("lake"));
    site.nothing_to_find();
}

#[test]
fn a_full_budget_refuses_until_there_is_room() {
    let mut site = Site::small();
    site.spool = "segment_bytes = 1048576\nclinical_bytes_max = 3145728".to_owned();
    site.write();
    let mut gateway = site.start_gateway();
    // Nobody takes anything: the log fills up.
    let load = Load::start(site.ports.mllp, 4, "full", Duration::ZERO);
    let before = wait::until("a refusal", || {
        let accepted = load.acknowledged();
        (load.refused() > 0).then_some(accepted)
    });
    let (code, why) = http::get(site.ports.operations, "/readyz").unwrap();
    assert_eq!(code, 503);
    assert!(why.contains("clinical lane") && why.contains("budget"), "{why}");
    let answer = mllp::send(site.ports.mllp, &hl7::observation("full-x", 1));
    assert_eq!(answer.code(), "AE", "{answer:?}");
    assert!(answer.to_string().contains("no room left"), "{answer:?}");
    gateway.still_runs();
    // Now somebody does.
    let mut landing = site.start_landing();
    wait::until("acceptance", || (load.acknowledged() > before + 50).then_some(()));
    let sent = load.stop();
    site.drained();
    let (code, _) = http::get(site.ports.operations, "/readyz").unwrap();
    assert_eq!(code, 200);
    gateway.stop();
    landing.stop();
    readers::accounted(&sent, &site.root("lake"), &[]);
    site.nothing_to_find();
}

#[test]
fn a_full_disk_refuses_until_there_is_room_also_across_a_restart() {
    let mut site = Site::small();
    site.spool = "segment_bytes = 1048576".to_owned();
    let data = site.data();
    let Some(_disk) = SmallDisk::mount(&data, 24) else { return };
    let (mut gateway, mut landing) = site.start();
    let load = Load::start(site.ports.mllp, 4, "disk", Duration::ZERO);
    load.progress(50);
    landing.stop();
    // Somebody else takes the rest of the disk.
    let ballast = data.join("ballast");
    let fill = || {
        let zeros = vec![0_u8; 64 << 10];
        let mut file = std::fs::File::options().create(true).append(true).open(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
    };
    fill();
    wait::until("a refusal", || {
        fill();
        (load.refused() > 0).then_some(())
    });
    let answer = mllp::send(site.ports.mllp, &hl7::observation("disk-x", 1));
    assert_eq!(answer.code(), "AE", "{answer:?}");
    gateway.still_runs();
    let (code, why) = http::get(site.ports.operations, "/readyz").unwrap();
    assert_eq!(code, 503, "{why}");
    // It starts with the disk full, and says so instead of taking anything in.
    gateway.kill();
    let mut gateway = site.launch_gateway();
    wait::until("the gateway to answer", || {
        gateway.still_runs();
        http::get(site.ports.operations, "/healthz")
    });
    std::fs::remove_file(&ballast).unwrap();
    load.progress(50);
    let mut landing = site.start_landing();
    load.progress(50);
    let sent = load.stop();
    site.drained();
    gateway.stop();
    landing.stop();
    readers::accounted(&sent, &site.root("lake"), &[]);
    site.nothing_to_find();
}

#[test]
fn a_disk_that_others_have_filled_does_not_stop_delivery() {
    let mut site = Site::small();
    site.spool = "segment_bytes = 1048576".to_owned();
    let data = site.data();
    let Some(_disk) = SmallDisk::mount(&data, 24) else { return };
    site.write();
    let mut gateway = site.start_gateway();
    let load = Load::start(site.ports.mllp, 2, "filled", Duration::ZERO);
    load.progress(300);
    let sent = load.stop();
    let ballast = data.join("ballast");
    let fill = || {
        let zeros = vec![0_u8; 4096];
        let mut file = std::fs::File::options().create(true).append(true).open(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
    };
    fill();
    let mut landing = site.start_landing();
    // Not a byte is free, and whatever the box gives back is taken at once. The cursor moves all the same.
    wait::until("everything to be delivered", || {
        fill();
        (backlog(&site.status().unwrap()) == 0).then_some(())
    });
    gateway.still_runs();
    assert_eq!(site.status().unwrap()["destinations"][0]["state"]["name"], "idle");
    std::fs::remove_file(&ballast).unwrap();
    mllp::resent_until_accepted(site.ports.mllp, &hl7::observation("filled-x", 1));
    site.drained();
    gateway.stop();
    landing.stop();
    assert_eq!(readers::rows(&site.root("lake"), "raw").len(), sent.len() + 1);
    readers::sums(&site.root("lake"));
    site.nothing_to_find();
}

#[test]
fn a_full_disk_stops_the_bulk_lane_first_and_the_urgent_lane_last() {
    let mut site = Site::small();
    site.spool = "segment_bytes = 1048576".to_owned();
    let (bulk, urgent) = (site::free_port(), site::free_port());
    for (lane, port) in [("bulk", bulk), ("urgent", urgent)] {
        site.more += &format!(
            "[[feed]]\nname = \"{lane}\"\nlane = \"{lane}\"\n[feed.mllp]\nlisten = \"127.0.0.1:{port}\"\n"
        );
    }
    let data = site.data();
    let Some(_disk) = SmallDisk::mount(&data, 40) else { return };
    site.write();
    let mut gateway = site.start_gateway();
    let feeds = [("bulk", bulk), ("clinical", site.ports.mllp), ("urgent", urgent)];
    let mut sent = Vec::new();
    // Nobody takes anything. Each lane is filled until it refuses; those behind it still take a record then.
    for (i, (lane, port)) in feeds.into_iter().enumerate() {
        for n in 0.. {
            let message = hl7::large(&format!("{lane}-{n}"), n);
            let answer = mllp::send(port, &message);
            match answer.code().as_str() {
                "AA" => sent.push(message),
                "AE" if answer.to_string().contains("no room left") => break,
                _ => panic!("{lane}: {answer:?}"),
            }
        }
        for (later, port) in feeds.into_iter().skip(i + 1) {
            let message = hl7::observation(&format!("{lane}-full-{later}"), 1);
            mllp::accepted(port, &message);
            sent.push(message);
        }
        let (_, why) = http::get(site.ports.operations, "/readyz").unwrap();
        assert!(why.contains(&format!("the {lane} lane takes nothing in")), "{why}");
        gateway.still_runs();
    }
    let status = site.status().unwrap();
    assert!(status["disk"]["used_percent"].as_u64().unwrap() >= 75, "{status}");
    for lane in status["lanes"].as_array().unwrap() {
        assert_eq!(lane["used_percent"], 100, "{lane}");
    }
    let (_, metrics) = http::get(site.ports.operations, "/metrics").unwrap();
    assert!(metrics.contains("wardgate_pressure{of=\"bulk\"} 2"), "{metrics}");
    assert!(metrics.contains("wardgate_room_left_bytes{of=\"urgent\"} 0"), "{metrics}");
    wait::until("a warning", || gateway.log().contains("room runs out").then_some(()));

    // It is killed and starts again with the disk as it is; then somebody takes the records.
    gateway.kill();
    let mut gateway = site.launch_gateway();
    wait::until("the gateway to answer", || {
        gateway.still_runs();
        http::get(site.ports.operations, "/healthz")
    });
    let mut landing = site.start_landing();
    site.drained();
    for (lane, port) in feeds {
        let message = hl7::large(&format!("{lane}-again"), 1);
        mllp::accepted(port, &message);
        sent.push(message);
    }
    site.drained();
    let status = site.status().unwrap();
    for lane in status["lanes"].as_array().unwrap() {
        assert!(lane["used_percent"].as_u64().unwrap() < 90, "delivered records do not count: {lane}");
    }
    gateway.stop();
    landing.stop();
    let mut rows = readers::payloads(&site.root("lake"));
    rows.sort();
    sent.sort();
    assert!(rows == sent, "{} rows of {} records", rows.len(), sent.len());
    readers::sums(&site.root("lake"));
    site.nothing_to_find();
}

#[test]
fn a_stop_under_load_finishes_what_it_accepted() {
    let site = Site::new();
    let (mut gateway, mut landing) = site.start();
    let load = Load::start(site.ports.mllp, 4, "drain", Duration::ZERO);
    for _ in 0..3 {
        load.progress(100);
        gateway.stop();
        gateway = site.start_gateway();
    }
    load.progress(50);
    landing.stop();
    load.progress(50);
    // The landing is away: what is not delivered stays for the next start.
    gateway.stop();
    let sent = load.stop();
    let mut landing = site.start_landing();
    let mut gateway = site.start_gateway();
    site.drained();
    gateway.stop();
    landing.stop();
    readers::accounted(&sent, &site.root("lake"), &[&site.root("research")]);
    site.nothing_to_find();
}

#[test]
fn an_identical_resend_has_an_identical_answer_also_after_a_kill() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    let message = hl7::admission("resend-1", 7);
    let mut connection = Connection::open(site.ports.mllp).unwrap();
    let first = connection.exchange(&message).unwrap();
    assert_eq!(first.code(), "AA");
    assert_eq!(connection.exchange(&message).unwrap(), first);
    assert_eq!(mllp::send(site.ports.mllp, &message), first, "from another connection");
    gateway.kill();
    let mut gateway = site.start_gateway();
    assert_eq!(mllp::send(site.ports.mllp, &message), first, "after a kill");
    gateway.stop();
    let mut gateway = site.start_gateway();
    assert_eq!(mllp::send(site.ports.mllp, &message), first, "after a stop");
    assert_eq!(log_durable(&site), 1);
    assert_eq!(site.status().unwrap()["feeds"][0]["duplicates"], 1);

    // The same control id with another body is another message, and so is the same body with another time.
    let other = String::from_utf8(message.clone()).unwrap().replace("W3^312", "W3^313").into_bytes();
    let later = String::from_utf8(message.clone()).unwrap().replacen("083000", "083001", 1).into_bytes();
    let answers = [&other, &later].map(|m| mllp::accepted(site.ports.mllp, m));
    assert!(answers.iter().all(|answer| *answer != first), "an answer of its own");
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")), [message, other, later]);
    gateway.stop();
    landing.stop();
}

#[test]
fn a_state_store_that_is_lost_or_garbled_is_rebuilt() {
    let site = Site::new();
    let (mut gateway, mut landing) = site.start();
    let load = Load::start(site.ports.mllp, 2, "state", PACE);
    load.progress(60);
    let mut sent = load.stop();
    site.drained();
    let state = site.data().join("spool/state");
    let message = sent[0].message.clone();
    let first = mllp::accepted(site.ports.mllp, &message);
    for (run, garble) in [("state-b", false), ("state-c", true)] {
        gateway.kill();
        if garble {
            for (path, bytes) in system_tests::fixtures::files(&state) {
                let noise: Vec<u8> = bytes.iter().enumerate().map(|(n, b)| b ^ (n as u8) | 0x11).collect();
                std::fs::write(path, noise).unwrap();
            }
        } else {
            std::fs::remove_dir_all(&state).unwrap();
        }
        gateway = site.start_gateway();
        assert!(gateway.log().contains("state store"), "it says so: {}", gateway.tail());
        assert_eq!(mllp::send(site.ports.mllp, &message), first, "a resend is still recognised");
        let load = Load::start(site.ports.mllp, 2, run, PACE);
        load.progress(40);
        sent.extend(load.stop());
        site.drained();
    }
    gateway.stop();
    landing.stop();
    readers::accounted(&sent, &site.root("lake"), &[&site.root("research")]);
    readers::sums(&site.root("lake"));
    site.nothing_to_find();
}

#[test]
fn certificates_renewed_on_the_disk_are_taken_into_use_without_a_restart() {
    let mut site = Site::small();
    let proxy = Proxy::start(site.ports.landing);
    site.destinations[0].port = Some(proxy.port());
    let (mut gateway, mut landing) = site.start();
    let expiry = |site: &Site| site.destination("lake").unwrap()["certificate_expires_at"].clone();
    let old = expiry(&site);
    let load = Load::start(site.ports.mllp, 2, "renew", PACE);
    load.progress(20);
    let (from, to) = (days_from_now(-1), days_from_now(60));
    site.gateway_certificate(from, to);
    site.landing_certificate(from, to);
    wait::until("the gateway's new certificate", || (expiry(&site) != old).then_some(()));
    wait::until("the landing's new certificate", || landing.log().contains("new certificate").then_some(()));
    // The next connection is made with both.
    proxy.cut();
    proxy.mend();
    load.progress(50);
    let sent = load.stop();
    site.drained();
    gateway.stop();
    landing.stop();
    readers::accounted(&sent, &site.root("lake"), &[]);
}
