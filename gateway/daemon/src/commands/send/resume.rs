//! Where an interrupted run goes on.
//!
//! **Format.** A line for every settled message: how many of the file's messages are settled, a tab, the file's path as
//! given. The highest number of a file counts; a line that was cut off counts for nothing, so one message may go twice.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;

#[derive(Debug)]
pub(super) struct Resume {
    done: HashMap<String, u64>,
    path: PathBuf,
    file: Mutex<File>,
}

impl Resume {
    /// Reads what earlier runs have settled, and adds to it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = || format!("--resume {}", path.display());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e).with_context(shown),
        };
        let mut done: HashMap<String, u64> = HashMap::new();
        for line in text.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')) {
            let read = line.split_once('\t').and_then(|(n, file)| Some((n.parse::<u64>().ok()?, file)));
            let (number, file) =
                read.with_context(|| format!("{}: not a file that `send` wrote", shown()))?;
            let known = done.entry(file.to_owned()).or_default();
            *known = number.max(*known);
        }
        let mut file = File::options().create(true).append(true).open(path).with_context(shown)?;
        if !text.is_empty() && !text.ends_with('\n') {
            // Behind a line that was cut off: it must not swallow the next, and says nothing itself.
            file.set_len((text.rfind('\n').map_or(0, |at| at + 1)) as u64)
                .and_then(|()| file.flush())
                .with_context(shown)?;
        }
        Ok(Self { done, path: path.to_owned(), file: Mutex::new(file) })
    }

    /// How many messages of a file are settled.
    pub(super) fn done(&self, file: &Path) -> u64 {
        self.done.get(&*file.to_string_lossy()).copied().unwrap_or(0)
    }

    pub(super) fn settled(&self, file: &Path, number: u64) -> anyhow::Result<()> {
        let line = format!("{number}\t{}\n", file.to_string_lossy());
        let mut to = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        to.write_all(line.as_bytes()).with_context(|| format!("--resume {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_where_the_last_line_says_and_a_torn_one_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("done");
        let (a, b) = (Path::new("a.hl7"), Path::new("b c.hl7"));
        let resume = Resume::open(&path).unwrap();
        assert_eq!(resume.done(a), 0);
        for (file, number) in [(a, 1), (b, 1), (a, 2)] {
            resume.settled(file, number).unwrap();
        }
        std::fs::write(&path, [&std::fs::read(&path).unwrap()[..], b"30\ta.h"].concat()).unwrap();
        let resume = Resume::open(&path).unwrap();
        assert_eq!((resume.done(a), resume.done(b)), (2, 1));
        resume.settled(a, 3).unwrap();
        assert_eq!(Resume::open(&path).unwrap().done(a), 3);
        std::fs::write(&path, "MSH|^~\\&|\n").unwrap();
        assert!(Resume::open(&path).unwrap_err().to_string().contains("not a file that `send` wrote"));
    }
}
