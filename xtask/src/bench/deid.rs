//! De-identification of what has structure: `tests/bench`, in one process on one core, policy, rules and output gate.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Args;
use super::parse::{below, files};
use super::spread::Spread;
use crate::{setup, shell};

/// How long a round lasts.
const RUN_MS: u64 = 500;
/// Fewest megabytes a second of one core, by the median.
const RATE_MIN: f64 = 40.0;
/// Public Bundles beside the repository; elsewhere with `WARDGATE_CORPUS`.
const BUNDLES: &str = "fhir-r4";

pub(super) fn run(args: &Args) -> Result<()> {
    let mut build = shell::cargo();
    build.args(["build", "--locked", "--release", "-p", "wardgate-bench"]);
    eprintln!("$ {}", shell::shown(&build));
    if !build.status()?.success() {
        bail!("the benchmark does not build");
    }
    let mut inputs = files()?;
    let bundles = setup::corpus().join(BUNDLES);
    if bundles.is_dir() {
        below(&bundles, &mut inputs)?;
        inputs.retain(|file| !file.starts_with(&bundles) || file.extension().is_some_and(|e| e == "json"));
    } else {
        eprintln!(
            "no {BUNDLES} at WARDGATE_CORPUS or ../shared/corpus: measured with messages mapped to FHIR"
        );
    }
    let mut bench = std::process::Command::new(shell::target_dir()?.join("release/wardgate-bench"));
    bench.arg("deid").arg(args.pairs.to_string()).arg(RUN_MS.to_string()).args(inputs);
    let measured = shell::json(&mut bench)?;
    let slow = report(args, &measured).context("the benchmark printed something else than expected")?;
    if !slow.is_empty() && !args.dev {
        bail!("less than {RATE_MIN} MB/s: {}", slow.join("; "));
    }
    Ok(())
}

/// Prints, and names what is too slow.
fn report(args: &Args, measured: &Value) -> Option<Vec<String>> {
    let mut slow = Vec::new();
    let mut listed = measured.clone();
    if !args.json {
        println!(
            "\nrelease by processor time of one core, decoding and gate included; median of {} rounds [quartiles]\n",
            args.pairs
        );
    }
    for (name, of) in measured.as_object()? {
        let rates = Spread::of(of.get("rates")?.as_array()?.iter().filter_map(Value::as_f64));
        let count = |key: &str| of.get(key).and_then(Value::as_u64).unwrap_or_default();
        if rates.median < RATE_MIN {
            slow.push(name.clone());
        }
        let out = listed.get_mut(name)?.as_object_mut()?;
        out.remove("rates");
        out.insert("mb_per_s".to_owned(), json!(rates.json()));
        if !args.json {
            let (inputs, bytes, held) = (count("inputs"), count("bytes_per_input"), count("held"));
            println!("{name:<36} {rates}   MB/s   {inputs} of {bytes} bytes, {held} held");
        }
    }
    if args.json {
        println!("{listed}");
    } else {
        println!("\nbar: {RATE_MIN} MB/s");
    }
    Some(slow)
}
