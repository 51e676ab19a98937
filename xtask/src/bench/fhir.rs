//! HL7 v2 to FHIR R4: `tests/bench`, in one process on one core.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Args;
use super::parse::files;
use super::spread::Spread;
use crate::shell;

/// How long a round lasts.
const RUN_MS: u64 = 500;

pub(super) fn run(args: &Args) -> Result<()> {
    let mut build = shell::cargo();
    build.args(["build", "--locked", "--release", "-p", "wardgate-bench"]);
    eprintln!("$ {}", shell::shown(&build));
    if !build.status()?.success() {
        bail!("the benchmark does not build");
    }
    let mut bench = std::process::Command::new(shell::target_dir()?.join("release/wardgate-bench"));
    bench.arg("fhir").arg(args.pairs.to_string()).arg(RUN_MS.to_string()).args(files()?);
    let measured = shell::json(&mut bench)?;
    report(args, &measured).context("the benchmark printed something else than expected")
}

fn report(args: &Args, measured: &Value) -> Option<()> {
    let rates = Spread::of(measured.get("rates")?.as_array()?.iter().filter_map(Value::as_f64));
    if args.json {
        let mut out = measured.clone();
        let object = out.as_object_mut()?;
        object.remove("rates");
        object.insert("messages_per_s".to_owned(), json!(rates.json()));
        println!("{out}");
        return Some(());
    }
    let count = |key: &str| measured.get(key).and_then(Value::as_u64).unwrap_or_default();
    println!(
        "\n{} messages of {} bytes on average ({} left out) to Bundles of {} bytes; by processor time of one core;",
        count("messages"),
        count("bytes_per_message"),
        count("left_out"),
        count("bytes_per_bundle"),
    );
    println!("median of {} rounds [quartiles]\n\n{rates} messages/s", rates.runs);
    Some(())
}
