//! Where the programs are that the tests start. `cargo xtask test` builds or installs all of them.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::site;

/// The gateway.
pub fn wardgate() -> PathBuf {
    named("WARDGATE_BIN", "the binary `wardgate`")
}

/// The landing.
pub fn landing() -> PathBuf {
    named("WARDGATE_LANDING_BIN", "the binary `wardgate-landing`")
}

/// The interpreter with the packages of `tests/readers/requirements.txt`.
pub fn python() -> PathBuf {
    named("WARDGATE_PYTHON", "the Python environment of the independent readers")
}

/// The broker, an installed package.
pub fn mosquitto() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian puts it where a user's path does not lead.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir: PathBuf| dir.join("mosquitto"))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("mosquitto is not installed: run `cargo xtask test`, which installs it"))
}

/// A maker of MLLP software, whose client and server `tests/peers/README.md` describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// npm `@medplum/hl7`.
    Medplum,
    /// Maven `ca.uhn.hapi`.
    Hapi,
    /// PyPI `hl7`.
    PythonHl7,
}

impl Maker {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Medplum, Self::Hapi, Self::PythonHl7];

    /// For names of files and connections.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Medplum => "medplum",
            Self::Hapi => "hapi",
            Self::PythonHl7 => "python-hl7",
        }
    }

    /// Its client: takes `HOST PORT FILE` after these words.
    pub fn sender(self) -> Vec<PathBuf> {
        self.program("send.mjs", "peers.Send", "send_lines.py")
    }

    /// Its server: takes `PORT` after these words.
    pub fn receiver(self) -> Vec<PathBuf> {
        self.program("receive.mjs", "peers.Receive", "receive_hl7.py")
    }

    fn program(self, script: &str, class: &str, reader: &str) -> Vec<PathBuf> {
        match self {
            Self::Medplum => {
                let dir = repository().join("tests/peers/node");
                let installed = dir.join("node_modules").is_dir();
                assert!(installed, "the Medplum peer is not installed: run `cargo xtask test --stage setup`");
                vec!["node".into(), dir.join(script)]
            }
            Self::Hapi => {
                let home = std::env::var("WARDGATE_HAPI_PEERS").unwrap_or_else(|_| {
                    panic!("WARDGATE_HAPI_PEERS does not say where the HAPI peer is: run `cargo xtask test`, which builds it")
                });
                vec!["java".into(), "-cp".into(), format!("{home}/classes:{home}/lib/*").into(), class.into()]
            }
            Self::PythonHl7 => vec![python(), repository().join("tests/readers").join(reader)],
        }
    }
}

/// HAPI's FHIR client at work: `peers.Client` with these arguments.
pub fn hapi_fhir_client(arguments: &[&str], dir: &Path) -> Output {
    let home = named("WARDGATE_FHIR_HAPI", "the folder of HAPI's FHIR programs");
    let classes = format!("{}/lib/*", home.display());
    site::run(Path::new("java"), &[&["-cp", &classes, "peers.Client"], arguments].concat(), dir)
}

/// A program of `tests/fhir`, which judges FHIR without a line of ours; it finds the validators by itself.
pub fn fhir_judge(name: &str, arguments: &[&str]) -> Output {
    // Built by `cargo xtask test`; the judge itself says so where it is missing.
    let program = repository().join("tests/fhir").join(name);
    let mut all = vec![program.to_str().unwrap()];
    all.extend(arguments);
    site::run(&python(), &all, &repository())
}

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Public HL7 samples that are not part of the repository: `WARDGATE_CORPUS`, or `../shared/corpus` beside the
/// repository. `None`, with a note, where there are none.
pub fn corpus() -> Option<PathBuf> {
    let told = std::env::var_os("WARDGATE_CORPUS").map(PathBuf::from);
    let place = told.clone().unwrap_or_else(|| repository().join("../shared/corpus"));
    if place.join("hl7").is_dir() {
        return Some(place.canonicalize().unwrap());
    }
    assert!(told.is_none(), "WARDGATE_CORPUS names {}, where there is no folder hl7", place.display());
    eprintln!("note: no corpus at {}; only tests/fixtures is used", place.display());
    None
}

fn named(variable: &str, what: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable).map(PathBuf::from) else {
        panic!(
            "{variable} does not say where {what} is: run `cargo xtask test`, which builds and installs it"
        );
    };
    assert!(
        path.exists(),
        "{variable} names {}, which is not there: run `cargo xtask test`, which builds and installs it",
        path.display()
    );
    path
}
