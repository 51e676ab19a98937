//! Packs the word lists into one table of the binary: `third_party/words` and the two of `data/`.
//!
//! A word follows as what it shares with the one before (4 bits) and its kinds (4 bits), the length of the rest (1 byte),
//! the rest; the whole under zstd. It is a sixth of the text. `src/text/words.rs` reads it.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::{env, fs, io};

#[path = "src/text/kinds.rs"]
mod kinds;

use kinds::{GIVEN, GRAMMAR, SURNAME, WORD};

const SHARED_MAX: usize = 15;
const LEVEL: i32 = 19;

fn main() -> Result<(), Box<dyn Error>> {
    let lists =
        [("../../third_party/words/words.txt", 0), ("data/clinic.txt", WORD), ("data/grammar.txt", GRAMMAR)];
    let mut words = BTreeMap::<String, u8>::new();
    for (path, kind) in lists {
        writeln!(io::stdout(), "cargo::rerun-if-changed={path}")?;
        for line in fs::read_to_string(path)?.lines() {
            let (word, kinds) = match line.split_once(' ') {
                Some((word, digit)) if kind == 0 => (word, digit.parse::<u8>()?),
                _ => (line, kind),
            };
            if kinds == 0 || kinds & !(GIVEN | SURNAME | WORD | GRAMMAR) != 0 {
                return Err(format!("{path}: `{line}` is no line of this list").into());
            }
            *words.entry(word.to_owned()).or_default() |= kinds;
        }
    }
    let mut packed = Vec::new();
    let mut before = "";
    for (word, kinds) in &words {
        let shared = before.bytes().zip(word.bytes()).take(SHARED_MAX).take_while(|(a, b)| a == b).count();
        let rest = word.as_bytes().get(shared..).unwrap_or_default();
        packed.extend([u8::try_from(shared << 4)? | kinds, u8::try_from(rest.len())?]);
        packed.extend_from_slice(rest);
        before = word;
    }
    let out = Path::new(&env::var("OUT_DIR")?).join("words.zst");
    fs::write(out, zstd::bulk::compress(&packed, LEVEL)?)?;
    writeln!(io::stdout(), "cargo::rerun-if-changed=src/text/kinds.rs")?;
    Ok(())
}
