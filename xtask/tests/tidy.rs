//! Rules that a reader would otherwise have to keep in mind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod common;

use common::{files, root};

/// A file is one idea.
const LINES_MAX: usize = 600;
/// Longer ones, and why.
const LONG: &[(&str, &str)] = &[];

/// Folders whose files are as others wrote them, or as a device sends them.
const AS_THEY_CAME: &[&str] = &["third_party/", "tests/fixtures/"];

fn sources(extensions: &[&str]) -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter(|name| extensions.iter().any(|extension| name.ends_with(extension)))
        .filter(|name| !AS_THEY_CAME.iter().any(|dir| name.starts_with(dir)))
        .map(|name| {
            let bytes = std::fs::read(root().join(&name)).unwrap();
            (name, String::from_utf8_lossy(&bytes).into_owned())
        })
        .collect()
}

#[test]
fn a_file_is_one_idea() {
    for (name, text) in sources(&[".rs"]) {
        let lines = text.lines().count();
        let excused = LONG.iter().any(|(long, _)| *long == name);
        assert!(
            lines <= LINES_MAX || excused,
            "{name} has {lines} lines; at most {LINES_MAX}, or a reason in LONG"
        );
        assert!(lines > LINES_MAX || !excused, "{name} has become short: take it out of LONG");
    }
}

#[test]
fn nothing_is_left_to_do_in_secret() {
    // Put together here, so that this file does not find itself.
    let unfinished =
        [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME"), concat!("XX", "X:")];
    for (name, text) in sources(&[".rs", ".py", ".sh"]) {
        for (number, line) in text.lines().enumerate() {
            for word in unfinished {
                assert!(
                    !line.contains(word),
                    "{name}:{}: {word} (open work belongs in docs/PROMISES.md)",
                    number + 1
                );
            }
        }
    }
}

#[test]
fn nobody_elses_machine_is_named() {
    let private =
        [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    for (name, text) in sources(&[""]) {
        for (number, line) in text.lines().enumerate() {
            for path in private {
                // A path may well have such a folder in its middle; only a machine's own begins with it.
                let begins = line.match_indices(path).any(|(at, _)| {
                    line[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && !"._-~".contains(c))
                });
                assert!(!begins, "{name}:{}: a path of one machine ({path})", number + 1);
            }
        }
    }
}

#[test]
fn no_private_key_is_committed() {
    let begin = concat!("-----BEGIN ", "");
    for (name, text) in sources(&[""]) {
        for line in text.lines() {
            let key = line.trim_start().starts_with(begin) && line.contains(concat!("PRIVATE", " KEY-----"));
            assert!(!key, "{name} holds a private key: tests make theirs on the spot");
        }
    }
}

#[test]
fn text_ends_with_a_newline_and_lines_without_blanks() {
    for (name, text) in sources(&[".rs", ".toml", ".md", ".py", ".sh", ".service", ".sysusers", ".tmpfiles"])
    {
        assert!(text.is_empty() || text.ends_with('\n'), "{name} does not end with a newline");
        for (number, line) in text.lines().enumerate() {
            assert!(line == line.trim_end(), "{name}:{}: blanks at the end of the line", number + 1);
        }
    }
}
