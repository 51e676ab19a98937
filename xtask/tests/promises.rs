//! `docs/PROMISES.md` names the test of each promise. A test that was renamed or removed is found here.
//!
//! A reference stands in backticks: `path/from/the/root.rs::name_of_the_test`, or a path alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod common;

use common::root;

const EXTENSIONS: &[&str] = &[".rs", ".py", ".toml", ".service", ".md", ".sh"];

/// The references of a text: path, and the function if one is named.
fn references(text: &str) -> Vec<(String, Option<String>)> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| !span.contains(char::is_whitespace) && span.contains('/'))
        .filter_map(|span| {
            let (path, function) = match span.split_once("::") {
                Some((path, rest)) => (path, rest.rsplit("::").next().map(str::to_owned)),
                None => (span, None),
            };
            EXTENSIONS.iter().any(|e| path.ends_with(e)).then(|| (path.to_owned(), function))
        })
        .collect()
}

/// Whether an attribute right above the function says `ignore`.
fn is_ignored(source: &str, function: &str) -> bool {
    let lines: Vec<&str> = source.lines().collect();
    let Some(at) = lines.iter().position(|line| line.contains(function)) else { return false };
    lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.trim_start().starts_with('#'))
        .any(|l| l.contains("ignore"))
}

#[test]
fn every_promise_names_a_test_that_exists() {
    let text = std::fs::read_to_string(root().join("docs/PROMISES.md")).expect("docs/PROMISES.md");
    let references = references(&text);
    assert!(!references.is_empty(), "docs/PROMISES.md names no test");
    for (path, function) in references {
        let Ok(source) = std::fs::read_to_string(root().join(&path)) else {
            panic!("docs/PROMISES.md names {path}, which is not there");
        };
        if let Some(function) = function {
            let keyword = if path.ends_with(".py") { "def" } else { "fn" };
            let function = &format!("{keyword} {function}(");
            assert!(
                source.contains(function),
                "docs/PROMISES.md names {path} with `{function}`, which is not there"
            );
            assert!(!is_ignored(&source, function), "{path}: `{function}` enforces a promise and is ignored");
        }
    }
}

#[test]
fn an_ignored_test_enforces_nothing() {
    let source = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n\n#[test]\nfn b() {}\n";
    assert!(is_ignored(source, "fn a(") && !is_ignored(source, "fn b("));
}

#[test]
fn references_are_recognised() {
    let text = "P1 `a/b.rs::tests::it_holds` and `c/d.service`, not `cargo xtask`, `Receipt` or `/healthz`.";
    assert_eq!(
        references(text),
        [("a/b.rs".to_owned(), Some("it_holds".to_owned())), ("c/d.service".to_owned(), None)]
    );
}
