//! Settings: what is right, and what is said of what is wrong.

use super::super::Error;
use super::{Config, config};

#[test]
fn brokers_are_where_the_url_says() {
    for (url, expected) in [
        ("mqtt://broker", Some(("broker:1883", false))),
        ("mqtts://broker.ward3", Some(("broker.ward3:8883", true))),
        ("mqtt://10.1.2.3:1884", Some(("10.1.2.3:1884", false))),
        ("mqtt://[fd00::1]:1884/", Some(("[fd00::1]:1884", false))),
        ("mqtt://[fd00::1]", Some(("[fd00::1]:1883", false))),
        ("mqtts://[fd00::1]", None),
        ("mqtt://fd00::1", None),
        ("mqtt://user:secret@broker", None),
        ("mqtt://broker/path", None),
        ("mqtt://broker:0", None),
        ("mqtt://broker:70000", None),
        ("mqtt://", None),
        ("mqtt://:1883", None),
        ("tcp://broker", None),
        ("broker:1883", None),
        ("", None),
    ] {
        let broker = Config { url: url.into(), ..config(1) }.broker();
        let found = broker.as_ref().ok().map(|b| (b.to_string(), b.tls));
        assert_eq!(found, expected.map(|(broker, tls)| (broker.to_owned(), tls)), "{url}");
        if let Err(error) = broker {
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}

#[test]
fn wrong_settings_are_named() {
    type Spoil = fn(&mut Config);
    let cases: [(&str, Spoil); 14] = [
        ("client_id", |c| c.client_id.clear()),
        ("client_id", |c| c.client_id = "a b".into()),
        ("topics", |c| c.topics.clear()),
        ("topics", |c| c.topics = vec!["a/#/b".into()]),
        ("topics", |c| c.topics = vec!["$share/group/a".into()]),
        ("topics", |c| c.topics = vec!["a".into(); 65]),
        ("profile", |c| c.profile.clear()),
        ("password_file", |c| c.password_file = Some("p".into())),
        ("certificate", |c| c.key = Some("k".into())),
        ("ca", |c| c.url = "mqtts://broker".into()),
        ("url", |c| c.ca = Some("ca.pem".into())),
        ("keep_alive_s", |c| c.keep_alive_s = 0),
        ("inflight_max", |c| c.inflight_max = 0),
        ("payload_bytes_max", |c| c.payload_bytes_max = 1 << 20),
    ];
    config(1).check().unwrap();
    for (setting, spoil) in cases {
        let mut spoiled = config(1);
        spoil(&mut spoiled);
        match spoiled.check() {
            Err(Error::Setting { setting: named, .. }) => assert_eq!(named, setting),
            other => panic!("{setting}: {other:?}"),
        }
    }
}

#[test]
fn unknown_settings_are_refused_and_known_ones_survive() {
    let unknown = toml::from_str::<Config>("url = \"mqtt://b\"\nqos = 0\n").unwrap_err();
    assert!(unknown.to_string().contains("unknown field `qos`"), "{unknown}");
    let written = toml::to_string(&config(1883)).unwrap();
    assert_eq!(toml::from_str::<Config>(&written).unwrap(), config(1883));
}

#[test]
fn a_password_is_one_line_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let with = Config { username: Some("gw".into()), password_file: Some(path.clone()), ..config(1) };
    assert!(matches!(with.link(), Err(Error::Password { .. })));
    std::fs::write(&path, "geheim \r\n").unwrap();
    let login = with.link().unwrap().login.unwrap();
    assert_eq!((login.0.as_str(), login.1.as_str()), ("gw", "geheim "));
    std::fs::write(&path, "x".repeat(5000)).unwrap();
    assert!(matches!(with.link(), Err(Error::Password { .. })));
}
