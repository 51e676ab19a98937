//! Embeds every folder of `firmware-profiles/devices`, so that a new device touches its own folder alone.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let devices =
        Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../firmware-profiles/devices").canonicalize()?;
    // A directory here stands for all that is in it.
    write_line(&format!("cargo::rerun-if-changed={}", devices.display()))?;

    let mut source = String::from("static EMBEDDED: &[Embedded] = &[\n");
    for folder in sorted(&devices)?.iter().filter(|folder| folder.is_dir()) {
        let name = folder.file_name().and_then(|n| n.to_str()).ok_or("a folder's name is not UTF-8")?;
        let vectors = folder.join("vectors");
        writeln!(source, "    Embedded {{ folder: {name:?},")?;
        writeln!(source, "        profile: include_str!({:?}),", folder.join("profile.toml"))?;
        writeln!(source, "        readme: include_str!({:?}),", folder.join("README.md"))?;
        writeln!(source, "        vectors: &[")?;
        for vector in if vectors.is_dir() { sorted(&vectors)? } else { Vec::new() } {
            if vector.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let name = vector.file_name().and_then(|n| n.to_str()).ok_or("a vector's name is not UTF-8")?;
            writeln!(source, "            ({name:?}, include_str!({vector:?})),")?;
        }
        writeln!(source, "        ],\n    }},")?;
    }
    source.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("embedded.rs"), source)?;
    Ok(())
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut entries = fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    Ok(entries)
}

fn write_line(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}")
}
