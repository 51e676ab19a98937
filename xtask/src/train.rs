//! The weights of the text engine's tagger, made again: labelled documents by `tests/bench/deid-text/training.py`, weights
//! of them by `gateway/deid/examples/train-text.rs`. The recipe is `gateway/deid/data/model.md`.

use std::fs::File;

use anyhow::{Context as _, Result, bail};

use crate::{setup, shell};

const WEIGHTS: &str = "gateway/deid/data/model.zst";
const RECIPE: &str = "gateway/deid/data/model.md";
/// Digits of the hash in the recipe.
const HASH_DIGITS: usize = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fails where the weights are not those of the repository, and writes none
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let documents = shell::target_dir()?.join("train-text.jsonl");
    let made = documents.with_file_name("model.zst");
    let mut write = setup::deid_text("training.py")?;
    let file = File::create(&documents).with_context(|| documents.display().to_string())?;
    shell::run(write.stdout(file))?;
    let mut train = shell::cargo();
    train.args(["run", "--release", "-p", "wardgate-deid", "--example", "train-text", "--", "train"]);
    train.arg("--from").arg(&documents).arg("--to").arg(&made);
    let printed = shell::output(&mut train)?;
    let hash = printed.trim();
    if args.check {
        if std::fs::read(&made)? != std::fs::read(shell::root().join(WEIGHTS))? {
            bail!("the weights that were made have SHA-256 {hash}, and are not those of {WEIGHTS}");
        }
        println!("{WEIGHTS} is what its recipe makes: SHA-256 {hash}");
        return Ok(());
    }
    std::fs::copy(&made, shell::root().join(WEIGHTS)).context(WEIGHTS)?;
    let recipe = shell::root().join(RECIPE);
    let text = std::fs::read_to_string(&recipe).context(RECIPE)?;
    std::fs::write(&recipe, with_hash(&text, hash)?).context(RECIPE)?;
    println!("{WEIGHTS}: SHA-256 {hash}; the benchmark says how good it is");
    Ok(())
}

/// The recipe with another hash in place of the one it has.
fn with_hash(recipe: &str, hash: &str) -> Result<String> {
    let is_hash = |word: &&str| word.len() == HASH_DIGITS && word.bytes().all(|b| b.is_ascii_hexdigit());
    let old = recipe.split(|c: char| !c.is_ascii_alphanumeric()).find(is_hash);
    Ok(recipe.replace(old.with_context(|| format!("no hash in {RECIPE}"))?, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_gets_the_hash_that_was_made() {
        let (old, new) = ("0".repeat(HASH_DIGITS), "a".repeat(HASH_DIGITS));
        assert_eq!(with_hash(&format!("SHA-256 `{old}`."), &new).unwrap(), format!("SHA-256 `{new}`."));
        assert!(with_hash("no hash", &new).is_err());
    }
}
