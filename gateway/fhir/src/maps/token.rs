//! Words of a map line.

/// Cuts a line into words at blanks; a quoted text, an object and an array are one word each, also behind `=`.
/// Everything behind a `#` at the beginning of a word is a comment.
///
/// # Errors
/// What is not closed.
pub(crate) fn words(line: &str) -> Result<Vec<&str>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let end = word_end(rest)?;
        let (word, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        words.push(word);
        rest = tail.trim_start();
    }
    Ok(words)
}

fn word_end(text: &str) -> Result<usize, String> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        if quoted {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => quoted = true,
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if c.is_whitespace() && depth == 0 => return Ok(at),
            _ => {}
        }
    }
    if quoted || depth > 0 { Err("a quote or a brace is not closed".into()) } else { Ok(text.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_objects_are_one_word() {
        let got = words(r#"  = a.b "x y" with c={"d": "e f"} # note"#).unwrap();
        assert_eq!(got, ["=", "a.b", "\"x y\"", "with", r#"c={"d": "e f"}"#]);
        assert!(words("\"open").is_err());
        assert_eq!(words("# only").unwrap(), Vec::<&str>::new());
    }
}
