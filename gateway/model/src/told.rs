//! Errors in words, for whoever reads a program's last line.

use std::error::Error;

/// An error with its causes, each said once: many of ours already end with the words of their cause.
pub fn told<'e>(chain: impl IntoIterator<Item = &'e (dyn Error + 'static)>) -> String {
    let mut text = String::new();
    for cause in chain.into_iter().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if cause.starts_with(&text) {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(&'static str);

    #[test]
    fn a_cause_is_said_once() {
        let root = "Address already in use";
        for (chain, text) in [
            (vec![root], root),
            (vec!["cannot listen", root], "cannot listen: Address already in use"),
            (vec!["", root], root),
            (
                vec!["feed adt", "feed adt: cannot listen: Address already in use", root],
                "feed adt: cannot listen: Address already in use",
            ),
        ] {
            let chain: Vec<Said> = chain.into_iter().map(Said).collect();
            assert_eq!(told(chain.iter().map(|said| said as &(dyn Error + 'static))), text);
        }
    }
}
