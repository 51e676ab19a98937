//! Disks with little room.

use std::path::{Path, PathBuf};

use crate::site;

/// A file system of a few megabytes, for as long as this lives.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one, where that may be done here.
    pub fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={megabytes}m,mode=0700");
        let out = site::run(
            Path::new("/usr/bin/env"),
            &["mount", "-t", "tmpfs", "-o", &size, "tmpfs", at.to_str().unwrap()],
            Path::new("/"),
        );
        if !out.status.success() {
            eprintln!("note: only root can mount a small disk ({}); other tests run", site::shown(&out));
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        site::run(Path::new("/usr/bin/env"), &["umount", "-l", self.0.to_str().unwrap()], Path::new("/"));
    }
}
