//! Against swtpm.

use super::*;
use std::path::PathBuf;
use std::process::{Child, Command};

/// A software TPM with a state of its own.
struct Swtpm {
    dir: tempfile::TempDir,
    child: Child,
}

impl Swtpm {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = Self::run(dir.path());
        Self { dir, child }
    }

    fn run(dir: &Path) -> Child {
        let socket = dir.join("tpm.sock");
        drop(std::fs::remove_file(&socket));
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", dir.display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()))
            .spawn()
            .expect("swtpm is installed by `cargo xtask test --stage setup`");
        for _ in 0..500 {
            // It is bound a little before it listens.
            if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("tpm.sock")
    }

    fn restart(&mut self) {
        self.end();
        self.child = Self::run(self.dir.path());
    }

    fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn a_key_opens_in_its_tpm_alone_also_after_a_restart() {
    let mut tpm = Swtpm::start();
    let secret = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let sealed = seal(&tpm.socket(), &secret).unwrap();
    assert!(memchr::memmem::find(&sealed, &secret[..8]).is_none());
    assert_eq!(*unseal(&tpm.socket(), &sealed).unwrap(), secret);
    // Nothing is left in the TPM: its few slots are not used up.
    for _ in 0..8 {
        assert_eq!(*unseal(&tpm.socket(), &sealed).unwrap(), secret);
    }
    tpm.restart();
    assert_eq!(*unseal(&tpm.socket(), &sealed).unwrap(), secret);
    let other = Swtpm::start();
    assert!(matches!(unseal(&other.socket(), &sealed), Err(Fault::OtherTpm)));
    // Also where the name is made to fit.
    let of_other = seal(&other.socket(), &[1; 32]).unwrap();
    let forged = [&of_other[..NAME_BYTES], &sealed[NAME_BYTES..]].concat();
    let refused = unseal(&other.socket(), &forged);
    assert!(matches!(refused, Err(Fault::Refused { command: "Load", .. })), "{:?}", refused.err());
    for len in 0..sealed.len() {
        assert!(matches!(unseal(&tpm.socket(), &sealed[..len]), Err(Fault::Short)), "{len}");
    }
    for at in NAME_BYTES..sealed.len() {
        let mut spoilt = sealed.clone();
        spoilt[at] ^= 1;
        assert!(unseal(&tpm.socket(), &spoilt).is_err(), "{at}");
    }
    assert_eq!(*unseal(&tpm.socket(), &sealed).unwrap(), secret, "and refusals leave nothing behind either");
}

#[test]
fn the_key_crosses_the_bus_encrypted_and_a_changed_answer_is_noticed() {
    let tpm = Swtpm::start();
    let secret: [u8; 32] = std::array::from_fn(|i| 200 - u8::try_from(i).unwrap());
    let sealed = seal(&tpm.socket(), &secret).unwrap();
    // Somebody on the bus: hears everything, and changes one byte of the n-th answer, once.
    for change in [None, Some((2, 30)), Some((3, 20)), Some((4, 30))] {
        let tap = tpm.dir.path().join("tap.sock");
        drop(std::fs::remove_file(&tap));
        let listener = std::os::unix::net::UnixListener::bind(&tap).unwrap();
        let real = tpm.socket();
        let heard = std::thread::spawn(move || tapped(&listener, &real, change));
        let opened = unseal(&tap, &sealed);
        let heard = heard.join().unwrap();
        assert!(heard.len() > 300, "{}", heard.len());
        assert!(memchr::memmem::find(&heard, &secret).is_none());
        match change {
            None => assert_eq!(*opened.unwrap(), secret),
            Some(_) => assert!(opened.is_err(), "{change:?}"),
        }
    }
}

fn tapped(
    listener: &std::os::unix::net::UnixListener,
    real: &Path,
    change: Option<(usize, usize)>,
) -> Vec<u8> {
    let mut ours = listener.accept().unwrap().0;
    let mut theirs = UnixStream::connect(real).unwrap();
    let mut heard = Vec::new();
    let mut buffer = [0; ANSWER_BYTES_MAX];
    for count in 1.. {
        let Ok(len) = read_answer(&mut ours, &mut buffer) else { return heard };
        heard.extend_from_slice(&buffer[..len]);
        theirs.write_all(&buffer[..len]).unwrap();
        let len = read_answer(&mut theirs, &mut buffer).unwrap();
        heard.extend_from_slice(&buffer[..len]);
        if let Some((answer, at)) = change
            && answer == count
        {
            buffer[at] ^= 1;
        }
        ours.write_all(&buffer[..len]).unwrap();
    }
    heard
}

#[test]
fn what_is_no_tpm_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nothing");
    assert!(matches!(seal(&path, &[0; 32]), Err(Fault::Device { .. })));
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(seal(&path, &[0; 32]), Err(Fault::Answer(_))));
}
