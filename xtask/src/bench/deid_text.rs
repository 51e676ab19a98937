//! How well and how fast free text is scrubbed: `tests/bench/deid-text`, over the program as it is shipped.

use anyhow::Result;

use super::{Args, profile};
use crate::{binaries, setup, shell};

pub(super) fn run(args: &Args) -> Result<()> {
    let programs = binaries::build(profile(args))?;
    let mut bench = setup::deid_text("bench.py")?;
    bench.arg("--wardgate").arg(&programs.wardgate).args(args.json.then_some("--json"));
    shell::run(&mut bench)
}
