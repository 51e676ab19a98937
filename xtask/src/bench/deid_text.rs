//! How well and how fast free text is scrubbed: `tests/bench/deid-text`, over the program as it is shipped.

use anyhow::{Result, bail};

use super::{Args, profile};
use crate::{binaries, setup, shell};

pub(super) fn run(args: &Args) -> Result<()> {
    let corpus = std::env::var_os("WARDGATE_CORPUS");
    let corpus = corpus.map_or_else(|| shell::root().join("../shared/corpus"), Into::into);
    if !corpus.join("deid").is_dir() {
        bail!("no folder `deid` in {}: WARDGATE_CORPUS says where the corpus is", corpus.display());
    }
    let folder = "tests/bench/deid-text";
    let python = setup::python("deid-text-venv", &format!("{folder}/requirements.txt"))?;
    let programs = binaries::build(profile(args))?;
    let mut bench = std::process::Command::new(python);
    bench.arg("-B").arg(shell::root().join(folder).join("bench.py"));
    bench.arg("--wardgate").arg(&programs.wardgate).args(args.json.then_some("--json"));
    shell::run(bench.env("WARDGATE_CORPUS", corpus))
}
