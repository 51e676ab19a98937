//! `wardgate keys`, with everything that may keep a root key: files, a passphrase, a credential, a TPM (swtpm), an HSM
//! (SoftHSM2) and a key in the cloud (moto, which verifies signatures).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking, with what it saw"
)]

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use system_tests::process::Process;
use system_tests::site::{self, Site, free_port, shown};
use system_tests::{hl7, mllp, peers, readers, wait};

/// Where Debian has the library.
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
const CONFIG: [&str; 2] = ["--config", "gateway.toml"];

/// `wardgate keys …`, with the environment that the site's programs have.
fn keys(site: &Site, arguments: &[&str]) -> Output {
    let wardgate = peers::wardgate();
    let mut all: Vec<&str> = site.environment.iter().map(String::as_str).collect();
    all.extend([wardgate.to_str().unwrap(), "keys"]);
    all.extend(arguments);
    all.extend(CONFIG);
    site::run(Path::new("/usr/bin/env"), &all, &site.dir)
}

#[track_caller]
fn done(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(0), "{}", shown(out));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[track_caller]
fn refused(out: &Output, code: i32, word: &str) {
    assert_eq!(out.status.code(), Some(code), "{word}: {}", shown(out));
    assert!(shown(out).contains(word), "{word}: {}", shown(out));
}

#[track_caller]
fn status(site: &Site) -> Value {
    serde_json::from_str(&done(&keys(site, &["status", "--json"]))).unwrap()
}

fn private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn the_root_key_is_rotated_and_a_day_erased_while_the_gateway_runs() {
    let site = Site::small();
    site.write();
    refused(&keys(&site, &["status"]), 1, "does not exist");
    let (mut gateway, mut landing) = site.start();
    mllp::accepted(site.ports.mllp, &hl7::observation("keys-1", 1));
    site.drained();
    let first = status(&site);
    assert_eq!(
        (first["kept_by"]["provider"].as_str(), first["running"].as_bool()),
        (Some("key-file"), Some(true))
    );
    assert!(
        first["worth"].as_str().unwrap().contains("whoever takes the disk and the file reads everything")
    );
    assert_eq!(first["epochs"].as_array().unwrap().len(), 1, "{first}");

    // Rotated while messages come in; killed; and everything is there and lands.
    let traffic = mllp::Load::start(site.ports.mllp, 2, "keys", std::time::Duration::from_millis(5));
    traffic.progress(20);
    done(&keys(&site, &["rotate"]));
    traffic.progress(20);
    let second = status(&site);
    assert_ne!(second["root_key"], first["root_key"]);
    assert_eq!(second["ring"], first["ring"]);
    let sent = traffic.stop();
    gateway.kill();
    let offline = status(&site);
    assert_eq!((&offline["root_key"], offline["running"].as_bool()), (&second["root_key"], Some(false)));
    assert!(offline["epochs"][0]["needed_for"].is_null(), "nobody knows: {offline}");
    refused(&keys(&site, &["erase", "--epoch", "1"]), 3, "is it running?");
    // Without the gateway it can be rotated, too.
    done(&keys(&site, &["rotate", "--json"]));
    let mut gateway = {
        drop(gateway);
        site.start_gateway()
    };
    site.drained();
    let landed = readers::payloads(&site.root("lake")).len();
    assert!(landed > sent.len(), "{landed} of {}", sent.len() + 1);

    // What is not delivered cannot be erased.
    landing.stop();
    mllp::accepted(site.ports.mllp, &hl7::observation("keys-2", 1));
    refused(&keys(&site, &["erase", "--epoch", "1"]), 1, "not delivered");
    let epoch = &status(&site)["epochs"][0];
    assert!(epoch["needed_for"][0].as_str().unwrap().starts_with("clinical: not delivered"), "{epoch}");
    let mut landing = site.start_landing();
    site.drained();
    let erased = wait::until("the epoch to be erased", || {
        let out = keys(&site, &["erase", "--epoch", "1", "--json"]);
        (out.status.code() == Some(0)).then(|| serde_json::from_slice::<Value>(&out.stdout).unwrap())
    });
    assert!(erased["segments"].as_u64().unwrap() >= 1, "{erased}");
    refused(&keys(&site, &["erase", "--epoch", "1"]), 1, "no key epoch 1");
    refused(&keys(&site, &["erase", "--day", "1999-12-31"]), 1, "no key epoch began");
    refused(&keys(&site, &["erase"]), 2, "--epoch");
    let after = status(&site);
    assert_eq!(
        (after["erased"].as_u64(), after["epochs"][0]["epoch"].as_u64()),
        (Some(1), Some(2)),
        "{after}"
    );

    // Life goes on, and both sides' checks find nothing.
    mllp::accepted(site.ports.mllp, &hl7::observation("keys-3", 1));
    site.drained();
    gateway.kill();
    drop(gateway);
    let mut gateway = site.start_gateway();
    mllp::accepted(site.ports.mllp, &hl7::observation("keys-4", 1));
    site.drained();
    site.nothing_to_find();
    gateway.stop();
    landing.stop();

    // A copy of the ring that is damaged is a finding until the next start.
    std::fs::write(site.data().join("spool/keys/ring-a"), b"rot").unwrap();
    refused(&keys(&site, &["status"]), 1, "keys/ring-a is not what it should be");
}

/// What keeps a root key in a test, and how it is taken away and brought back.
struct Keeper {
    site: Site,
    arguments: Vec<String>,
    /// Takes it away; what the gateway then says.
    away: Box<dyn FnMut(&Site) -> &'static str>,
    back: Box<dyn FnMut(&Site)>,
}

fn by_passphrase() -> Keeper {
    let site = Site::small();
    private(&site.dir.join("words"), "six random words in a row\n");
    Keeper {
        arguments: vec!["--provider".into(), "passphrase".into(), "--passphrase".into(), "file:words".into()],
        away: Box::new(|site| {
            private(&site.dir.join("words"), "six other words in a row\n");
            "the passphrase is wrong"
        }),
        back: Box::new(|site| private(&site.dir.join("words"), "six random words in a row\n")),
        site,
    }
}

fn by_credential() -> Keeper {
    let mut site = Site::small();
    let folder = site.dir.join("credentials");
    std::fs::create_dir(&folder).unwrap();
    private(&folder.join("spool-key"), &"0123456789abcdef".repeat(4));
    site.environment.push(format!("CREDENTIALS_DIRECTORY={}", folder.display()));
    Keeper {
        arguments: vec!["--provider".into(), "credential".into(), "--credential".into(), "spool-key".into()],
        away: Box::new(|site| {
            private(&site.dir.join("credentials/spool-key"), &"another credential".repeat(4));
            "sealed under another credential"
        }),
        back: Box::new(|site| {
            private(&site.dir.join("credentials/spool-key"), &"0123456789abcdef".repeat(4));
        }),
        site,
    }
}

fn swtpm(site: &Site, state: &str) -> Process {
    let (state, socket) = (site.dir.join(state), site.dir.join("tpm.sock"));
    std::fs::create_dir_all(&state).unwrap();
    std::fs::remove_file(&socket).ok();
    let arguments = [
        "socket",
        "--tpm2",
        "--flags",
        "not-need-init,startup-clear",
        "--tpmstate",
        &format!("dir={}", state.display()),
        "--server",
        &format!("type=unixio,path={}", socket.display()),
    ];
    let mut tpm = Process::start("swtpm", Path::new("swtpm"), &arguments, &site.dir, &site.logs());
    wait::until("swtpm", || {
        tpm.still_runs();
        socket.exists().then_some(())
    });
    tpm
}

fn by_tpm() -> Keeper {
    let site = Site::small();
    let tpm = std::rc::Rc::new(std::cell::RefCell::new(swtpm(&site, "tpm")));
    let again = std::rc::Rc::clone(&tpm);
    Keeper {
        arguments: vec!["--provider".into(), "tpm2".into(), "--device".into(), "tpm.sock".into()],
        // The disk in another machine.
        away: Box::new(move |site| {
            tpm.borrow_mut().kill();
            *tpm.borrow_mut() = swtpm(site, "other-tpm");
            "this is another TPM"
        }),
        back: Box::new(move |site| {
            again.borrow_mut().kill();
            *again.borrow_mut() = swtpm(site, "tpm");
        }),
        site,
    }
}

fn by_hsm() -> Keeper {
    let mut site = Site::small();
    let (tokens, config) = (site.dir.join("tokens"), site.dir.join("softhsm2.conf"));
    std::fs::create_dir(&tokens).unwrap();
    std::fs::write(&config, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()))
        .unwrap();
    site.environment.push(format!("SOFTHSM2_CONF={}", config.display()));
    private(&site.dir.join("pin"), "271828\n");
    let wanted = [
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        "ward",
        "--so-pin",
        "31415926",
        "--pin",
        "271828",
    ];
    let mut arguments: Vec<&str> = site.environment.iter().map(String::as_str).collect();
    arguments.extend(wanted);
    done(&site::run(Path::new("/usr/bin/env"), &arguments, &site.dir));
    let arguments = ["--provider", "pkcs11", "--module", SOFTHSM, "--token", "ward", "--pin", "file:pin"];
    Keeper {
        arguments: arguments.map(str::to_owned).to_vec(),
        away: Box::new(|site| {
            std::fs::rename(site.dir.join("tokens"), site.dir.join("away")).unwrap();
            std::fs::create_dir(site.dir.join("tokens")).unwrap();
            "there is no token with the label \"ward\""
        }),
        back: Box::new(|site| {
            std::fs::remove_dir_all(site.dir.join("tokens")).unwrap();
            std::fs::rename(site.dir.join("away"), site.dir.join("tokens")).unwrap();
        }),
        site,
    }
}

/// The whole life of a root key that something keeps.
fn life(mut keeper: Keeper) {
    let site = &keeper.site;
    site.write();
    let with = |words: &[&str]| {
        let mut all: Vec<&str> = words.to_vec();
        all.extend(keeper.arguments.iter().map(String::as_str));
        keys(site, &all)
    };
    let provider = keeper.arguments[1].clone();
    done(&with(&["init"]));
    refused(&with(&["init"]), 1, "exists");
    let text = std::fs::read_to_string(site.dir.join("root.key")).unwrap();
    assert!(text.contains(&format!("provider = \"{provider}\"")), "{text}");
    // The landing is away: what comes in stays on the box.
    let mut gateway = site.start_gateway();
    mllp::accepted(site.ports.mllp, &hl7::observation("kept-1", 1));
    refused(&with(&["init"]), 1, "is begun already");
    let before = status(site);
    assert_eq!(before["kept_by"]["provider"], provider.as_str(), "{before}");
    done(&keys(site, &["rotate"]));
    let after = status(site);
    assert_ne!(before["root_key"], after["root_key"]);
    assert_eq!(before["kept_by"], after["kept_by"]);
    mllp::accepted(site.ports.mllp, &hl7::observation("kept-2", 1));
    gateway.kill();
    drop(gateway);
    let mut gateway = site.start_gateway();
    mllp::accepted(site.ports.mllp, &hl7::observation("kept-3", 1));
    // A copy for the safe, made while all is well.
    private(&site.dir.join("safe-words"), "words that lie in a safe\n");
    let safe = ["escrow", "--out", "safe.key", "--passphrase", "file:safe-words"];
    assert!(done(&keys(site, &safe)).contains("wrapped by a passphrase"));
    refused(&keys(site, &safe), 1, "exists already");
    assert_eq!(status(site)["recovery_copy"]["key"], after["root_key"]);
    gateway.stop();

    // Without what keeps it, nothing opens and nothing changes.
    let files = || std::fs::read(site.data().join("spool/keys/ring-a")).unwrap();
    let ring = files();
    let why = (keeper.away)(site);
    let mut failed = site.launch_gateway();
    assert!(!failed.ended().success());
    let log = std::fs::read_to_string(site.logs().join("gateway.log")).unwrap();
    assert!(log.contains(why), "{why}: {log}");
    refused(&keys(site, &["status"]), 1, why);
    refused(&keys(site, &["rotate"]), 1, why);
    assert_eq!(files(), ring);
    assert!(!site.dir.join("root.key.next").exists());
    // With it, all is as before.
    (keeper.back)(site);
    assert_eq!(status(site)["root_key"], after["root_key"]);

    // Lost for good: the copy opens the backlog, which lands.
    (keeper.away)(site);
    let recover = ["recover", "--from", "safe.key"];
    refused(&keys(site, &recover), 1, "move it away first");
    std::fs::rename(site.dir.join("root.key"), site.dir.join("lost.key")).unwrap();
    private(&site.dir.join("safe-words"), "words that lie elsewhere\n");
    refused(&keys(site, &recover), 1, "the passphrase is wrong");
    private(&site.dir.join("safe-words"), "words that lie in a safe\n");
    done(&keys(site, &recover));
    let (mut gateway, mut landing) = site.start();
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")).len(), 3);
    // The copy has been out of the safe: exchange the key. Then the copy is a former one's, and that is a finding.
    done(&keys(site, &["rotate"]));
    refused(&keys(site, &["status"]), 1, "is of a former root key");
    assert_eq!(std::fs::read(site.data().join("spool/keys/ring-a")).unwrap().len(), ring.len());
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}

#[test]
fn a_passphrase_keeps_the_root_key() {
    life(by_passphrase());
}

#[test]
fn a_credential_of_the_service_manager_keeps_the_root_key() {
    life(by_credential());
}

#[test]
fn a_tpm_keeps_the_root_key() {
    life(by_tpm());
}

#[test]
fn an_hsm_keeps_the_root_key() {
    life(by_hsm());
}

#[test]
fn a_running_gateway_changes_what_keeps_its_root_key() {
    let Keeper { site, arguments, away: _tpm, back: _same } = by_tpm();
    let (mut gateway, mut landing) = site.start();
    mllp::accepted(site.ports.mllp, &hl7::observation("moved-1", 1));
    let clear = std::fs::read_to_string(site.dir.join("root.key")).unwrap();
    assert!(clear.starts_with("wardgate-root-key-1 "));
    let mut rotate = vec!["rotate"];
    rotate.extend(arguments.iter().map(String::as_str));
    assert!(done(&keys(&site, &rotate)).contains("Sealed to this machine's TPM"));
    assert_eq!(status(&site)["kept_by"]["provider"], "tpm2");
    let sealed = std::fs::read_to_string(site.dir.join("root.key")).unwrap();
    assert!(sealed.contains("provider = \"tpm2\"") && !sealed.contains(clear[20..].trim()), "{sealed}");
    gateway.kill();
    drop(gateway);
    let mut gateway = site.start_gateway();
    site.drained();
    // A wish that cannot be met changes nothing.
    let wish = ["rotate", "--provider", "tpm2", "--device", "no-such-tpm"];
    refused(&keys(&site, &wish), 1, "no-such-tpm cannot be used");
    assert_eq!(std::fs::read_to_string(site.dir.join("root.key")).unwrap(), sealed);
    refused(&keys(&site, &["rotate", "--provider", "pkcs11"]), 2, "--module");
    gateway.stop();
    landing.stop();
}

/// The cloud's key service, with a user that may use one key.
struct Cloud {
    process: Process,
    port: u16,
    access_key: String,
    secret_key: String,
    key: String,
}

impl Cloud {
    fn start(site: &Site) -> Self {
        let port = free_port();
        let python = peers::python();
        // Everything after the calls that make the user and the key must be signed by one who may.
        let program = ["INITIAL_NO_AUTH_ACTION_COUNT=4", python.to_str().unwrap(), "-m", "moto.server", "-p"];
        let mut arguments = program.to_vec();
        let number = port.to_string();
        arguments.push(&number);
        let mut process =
            Process::start("moto", Path::new("/usr/bin/env"), &arguments, &site.dir, &site.logs());
        wait::until("moto", || {
            process.still_runs();
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let made: Value = serde_json::from_str(&done(&readers::reader("kms.py", &[&number]))).unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Self {
            process,
            port,
            access_key: text("access_key"),
            secret_key: text("secret_key"),
            key: text("key"),
        }
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

#[test]
fn a_recovery_copy_under_a_key_in_the_cloud_brings_the_backlog_back() {
    let mut site = Site::small();
    site.write();
    let mut gateway = site.start_gateway();
    mllp::accepted(site.ports.mllp, &hl7::observation("cloud-1", 1));
    let mut cloud = Cloud::start(&site);
    let endpoint = cloud.endpoint();
    let key = cloud.key.clone();
    let escrow = |site: &Site, out: &str| {
        let words = [
            "escrow",
            "--out",
            out,
            "--kms-key",
            &key,
            "--kms-region",
            "eu-central-1",
            "--kms-endpoint",
            &endpoint,
        ];
        keys(site, &words)
    };
    refused(&escrow(&site, "copy.json"), 1, "AWS_ACCESS_KEY_ID is not set");
    site.environment = vec![
        format!("AWS_ACCESS_KEY_ID={}", cloud.access_key),
        "AWS_SECRET_ACCESS_KEY=not/the/right/one".to_owned(),
    ];
    refused(&escrow(&site, "copy.json"), 1, "SignatureDoesNotMatch");
    assert!(!site.dir.join("copy.json").exists());
    site.environment[1] = format!("AWS_SECRET_ACCESS_KEY={}", cloud.secret_key);
    assert!(done(&escrow(&site, "copy.json")).contains("wrapped by the AWS KMS key"));
    let copy = std::fs::read_to_string(site.dir.join("copy.json")).unwrap();
    let root = std::fs::read_to_string(site.dir.join("root.key")).unwrap();
    assert!(!copy.contains(root[20..].trim()));
    assert_eq!(serde_json::from_str::<Value>(&copy).unwrap()["key"], status(&site)["root_key"]);
    gateway.kill();
    drop(gateway);

    // The box's key is gone.
    let lost: PathBuf = site.dir.join("lost.key");
    std::fs::rename(site.dir.join("root.key"), &lost).unwrap();
    // A copy that is said to be of another key is refused by the service.
    let mut forged: Value = serde_json::from_str(&copy).unwrap();
    forged["key"] = "0".repeat(32).into();
    private(&site.dir.join("forged.json"), &forged.to_string());
    refused(&keys(&site, &["recover", "--from", "forged.json"]), 1, "InvalidCiphertext");
    assert!(!site.dir.join("root.key").exists());
    done(&keys(&site, &["recover", "--from", "copy.json"]));
    assert_eq!(std::fs::read(site.dir.join("root.key")).unwrap(), std::fs::read(&lost).unwrap());
    let (mut gateway, mut landing) = site.start();
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")).len(), 1);
    cloud.process.kill();
    refused(&escrow(&site, "second.json"), 3, "127.0.0.1");
    gateway.stop();
    landing.stop();
    // In the clear to another machine: never.
    let words = [
        "escrow",
        "--out",
        "x",
        "--kms-key",
        "k",
        "--kms-region",
        "r",
        "--kms-endpoint",
        "http://kms.example",
    ];
    refused(&keys(&site, &words), 1, "begins with https://");
}
