//! The sequence number protocol, receiving side: MSH-13 answered in MSA-4.
//!
//! | MSH-13 | meaning | MSA-4 |
//! |---|---|---|
//! | 0 | the link starts: what is expected? | last accepted + 1; -1 where nothing is known |
//! | -1 | the link begins anew with whatever number comes next | -1 |
//! | n, expected or nothing known | accepted | n |
//! | n, not expected | messages are missing, or come again | n where it is taken all the same, else the expected |
//! | anything else | the field is not used by this protocol | empty |
//!
//! Source: HL7 v2.8.2 §2.10.1.

/// Most digits of a number that is understood.
const DIGITS_MAX: usize = 15;

/// Reads MSH-13. `None` where it is empty or is no number of this protocol: -1, 0 or positive.
pub fn read(field: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(field.trim_ascii()).ok()?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| *number >= -1)
}

/// What a number means on its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// MSA-4 when the message is taken.
    pub answer: i64,
    /// MSA-4 when it is not taken for being out of sequence.
    pub expected: i64,
    /// Whether the number is another than the expected.
    pub is_gap: bool,
    /// What is to be remembered as the link's last number when the message is taken; -1 for nothing known.
    pub last: Option<i64>,
}

/// Holds a number against the last that was accepted on its link; `last` is `None` or -1 where nothing is known.
pub fn check(last: Option<i64>, received: i64) -> Verdict {
    let expected = last.filter(|last| *last > 0).map(|last| last.saturating_add(1));
    match received {
        0 => {
            let answer = expected.unwrap_or(-1);
            Verdict { answer, expected: answer, is_gap: false, last: None }
        }
        ..0 => Verdict { answer: -1, expected: -1, is_gap: false, last: Some(-1) },
        number => Verdict {
            answer: number,
            expected: expected.unwrap_or(number),
            is_gap: expected.is_some_and(|expected| expected != number),
            last: Some(number),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_of_the_protocol_are_read() {
        for (field, number) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("+7", Some(7)),
            ("007", Some(7)),
            ("0", Some(0)),
            ("-1", Some(-1)),
        ] {
            assert_eq!(read(field.as_bytes()), number, "{field}");
        }
        for field in ["", "-2", "7.5", "x", "A7", "1234567890123456", "+", "-", "\"\"", "7^8"] {
            assert_eq!(read(field.as_bytes()), None, "{field}");
        }
        assert_eq!(read(b"\xff"), None);
    }

    /// A conversation: (MSH-13, MSA-4, whether it is a gap), the link's state carried along.
    #[test]
    fn a_link_starts_runs_breaks_and_begins_anew() {
        let mut last = None;
        for (received, answer, is_gap) in [
            (0, -1, false),
            (41, 41, false),
            (42, 42, false),
            (0, 43, false),
            (43, 43, false),
            (45, 45, true),
            (46, 46, false),
            (46, 46, true),
            (2, 2, true),
            (-1, -1, false),
            (0, -1, false),
            (900, 900, false),
        ] {
            let verdict = check(last, received);
            assert_eq!((verdict.answer, verdict.is_gap), (answer, is_gap), "{received}");
            last = verdict.last.or(last);
        }
        assert_eq!(check(Some(45), 47).expected, 46);
        assert!(!check(Some(i64::MAX), i64::MAX).is_gap, "no overflow");
    }
}
