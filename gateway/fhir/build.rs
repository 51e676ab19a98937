//! Embeds every file of `maps/`, so that a map is added by adding its file.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let maps = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("maps");
    // A directory here stands for all that is in it.
    write_line(&format!("cargo::rerun-if-changed={}", maps.display()))?;
    let mut files = Vec::new();
    walk(&maps, &mut files)?;
    files.sort();
    let mut source = String::from("pub(super) static FILES: &[(&str, &str)] = &[\n");
    for file in files {
        let name = file.strip_prefix(&maps)?.to_str().ok_or("a map's name is not UTF-8")?.replace('\\', "/");
        writeln!(source, "    ({name:?}, include_str!({file:?})),")?;
    }
    source.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("maps.rs"), source)?;
    Ok(())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "map") {
            files.push(path);
        }
    }
    Ok(())
}

fn write_line(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}")
}
