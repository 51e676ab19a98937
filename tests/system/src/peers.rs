//! Where the programs are that the tests start. `cargo xtask test` builds or installs all of them.

use std::path::{Path, PathBuf};

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
        path.is_file(),
        "{variable} names {}, which is not there: run `cargo xtask test`, which builds and installs it",
        path.display()
    );
    path
}
