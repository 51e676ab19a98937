//! A bedside device over MQTT, through a real broker, into `observations`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use serde_json::Value;
use system_tests::process::Process;
use system_tests::site::{Site, filter, free_port, shown};
use system_tests::{peers, readers, wait};

/// A broker that keeps what its subscribers have not acknowledged.
struct Broker {
    process: Process,
    port: u16,
}

impl Broker {
    fn start(site: &Site) -> Self {
        let port = free_port();
        let config = site.dir.join("mosquitto.conf");
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n");
        std::fs::write(&config, text).unwrap();
        let arguments = ["-c", config.to_str().unwrap()];
        let process = Process::start("mosquitto", &peers::mosquitto(), &arguments, &site.dir, &site.logs());
        wait::until("the broker", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self { process, port }
    }

    fn publish(&self, lines: &str) {
        let program = peers::repository().join("tests/readers/publish.py");
        let arguments = [program.to_str().unwrap(), "127.0.0.1", &self.port.to_string()];
        let out = filter(&peers::python(), &arguments, lines.as_bytes());
        let count = lines.lines().count();
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), count.to_string(), "{}", shown(&out));
    }
}

fn connected(site: &Site) {
    wait::until("the gateway to subscribe", || {
        let status = site.status()?;
        let feed = status["feeds"].as_array()?.iter().find(|feed| feed["kind"] == "mqtt")?.clone();
        (feed["connections"] == 1).then_some(())
    });
}

fn records(site: &Site, count: u64) {
    wait::until("the records", || {
        (site.status()?["lanes"][1]["last_durable"].as_u64()? >= count).then_some(())
    });
    site.drained();
}

#[test]
fn what_an_oximeter_measures_lands_with_the_right_numbers() {
    let mut site = Site::new();
    let mut broker = Broker::start(&site);
    site.more = format!(
        "[[feed]]\nname = \"oximeters\"\n[feed.mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\nclient_id = \"wardgate\"\n\
         topics = [\"ward3/oximeter/+/plx\"]\nprofile = \"bluetooth.plx\"\n",
        broker.port
    );
    let (mut gateway, mut landing) = site.start();
    connected(&site);
    // Bluetooth SIG, Pulse Oximeter Service 1.0.1: flags, SpO2 and pulse as SFLOAT, and what the flags announce.
    broker.publish(
        "ward3/oximeter/bed-12/plx 0061004800\n\
         ward3/oximeter/bed-12/plx 0061004800\n\
         ward3/oximeter/bed-7/plx 1FCCF3CBF260004A0062004600A001000000F5E0\n\
         ward3/oximeter/bed-7/plx 0861004800000800\n\
         ward3/oximeter/bed-7/plx 00\n",
    );
    records(&site, 5);

    let numbers = |destination: &str| -> Vec<(u64, String, Option<f64>, Option<String>)> {
        readers::rows(&site.root(destination), "observations")
            .iter()
            .map(|row| {
                assert_eq!((&row["source"], &row["feed"]), (&"device".into(), &"oximeters".into()));
                (
                    row["seq"].as_u64().unwrap(),
                    row["code"].as_str().unwrap().to_owned(),
                    row["value"].as_f64(),
                    row["absent_reason"].as_str().map(str::to_owned),
                )
            })
            .collect()
    };
    let (saturation, pulse) = ("MDC_PULS_OXIM_SAT_O2", "MDC_PULS_OXIM_PULS_RATE");
    let value = |seq, code: &str, value| (seq, code.to_owned(), Some(value), None);
    let absent = |seq, code: &str| (seq, code.to_owned(), None, Some("sensor-off".to_owned()));
    let expected = vec![
        value(1, saturation, 97.0),
        value(1, pulse, 72.0),
        // Measured twice is there twice.
        value(2, saturation, 97.0),
        value(2, pulse, 72.0),
        value(3, saturation, 97.2),
        value(3, pulse, 71.5),
        value(3, &format!("{saturation}/MDC_MODALITY_FAST"), 96.0),
        value(3, &format!("{pulse}/MDC_MODALITY_FAST"), 74.0),
        value(3, &format!("{saturation}/MDC_MODALITY_SLOW"), 98.0),
        value(3, &format!("{pulse}/MDC_MODALITY_SLOW"), 70.0),
        value(3, "MDC_PULS_OXIM_PERF_REL", 2.45),
        // The finger is out of the clip: the numbers in the frame are no measurement.
        absent(4, saturation),
        absent(4, pulse),
    ];
    assert_eq!(numbers("lake"), expected);
    assert_eq!(numbers("research"), expected);

    let row = |destination: &str| readers::rows(&site.root(destination), "observations")[0].clone();
    let (lake, research) = (row("lake"), row("research"));
    assert_eq!((&lake["loinc"], &lake["ucum"]), (&"59408-5".into(), &"%".into()));
    assert_eq!(lake["device"], "bed-12");
    assert!(lake["time"].is_string(), "{lake}");
    assert_eq!((&research["device"], &research["time"]), (&Value::Null, &Value::Null));
    assert!(research["year"].as_u64().unwrap() > 2000);
    let raw = readers::rows(&site.root("lake"), "raw");
    assert_eq!(raw[0]["channel"], "ward3/oximeter/bed-12/plx");
    assert_eq!(raw[0]["payload"], "0061004800");
    let told = format!("{:?}{:?}", readers::rows(&site.root("research"), "raw"), research);
    assert!(!told.contains("bed-"), "a topic names a bed");

    // The frame that is none waits for a person, for both.
    let held = site.json(&["held", "list", "--config", "gateway.toml", "--json"]);
    let held: Vec<&str> = held.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(held, ["clinical-1-5", "clinical-1-5"]);

    // What is published while the gateway is away, or is killed, arrives later.
    gateway.kill();
    broker.publish(&"ward3/oximeter/bed-9/plx 0060004A00\n".repeat(20));
    let mut gateway = site.start_gateway();
    records(&site, 25);
    let later = readers::rows(&site.root("lake"), "observations");
    let later = later.iter().filter(|row| row["device"] == "bed-9" && row["value"] == 96.0).count();
    assert_eq!(later, 20, "at QoS 1, with a broker that did not fail, each exactly once");
    gateway.stop();
    landing.stop();
    broker.process.kill();
    for destination in ["lake", "research"] {
        readers::sums(&site.root(destination));
    }
    site.nothing_to_find();
}
