use proptest::prelude::*;

use super::*;
use crate::mllp::frame;

fn message(control_id: &str, accept: &str, application: &str) -> Vec<u8> {
    format!("MSH|^~\\&|A|B|C|D|20261125||ADT^A08|{control_id}|P|2.5.1|||{accept}|{application}\rPID|1\r")
        .into()
}

fn answer(code: &str, control_id: &str) -> Vec<u8> {
    frame(format!("MSH|^~\\&|C|D|A|B|20261125||ACK|X|P|2.5.1\rMSA|{code}|{control_id}\r").as_bytes())
}

/// Feeds bytes and says, in short, what they were.
fn feed(exchange: &mut Exchange, bytes: &[u8]) -> Vec<String> {
    let mut input = bytes;
    let mut heard = Vec::new();
    loop {
        match exchange.next(&mut input) {
            Ok(Some(Event::Settled(a))) => heard.push(format!("{} settles", a.code().as_str())),
            Ok(Some(Event::Late(a))) => heard.push(format!("{} late", a.code().as_str())),
            Ok(None) => return heard,
            Err(fault) => {
                heard.push(format!("{fault:?}"));
                return heard;
            }
        }
    }
}

#[test]
fn what_settles_a_message_is_what_it_asks_for() {
    let cases: &[(&str, &str, &[&str], &[&str])] = &[
        // Original mode: whatever comes first.
        ("", "", &["AA"], &["AA settles"]),
        ("", "", &["CA"], &["CA settles"]),
        ("", "", &["AE"], &["AE settles"]),
        ("", "", &["CA", "AA"], &["CA settles", "AA late"]),
        // Both: the application's word, after the accept acknowledgement or without it.
        ("AL", "AL", &["CA", "AA"], &["AA settles"]),
        ("AL", "AL", &["AA"], &["AA settles"]),
        ("AL", "AL", &["CA", "AE"], &["AE settles"]),
        ("AL", "AL", &["CE"], &["CE settles"]),
        ("AL", "SU", &["CR"], &["CR settles"]),
        ("NE", "AL", &["CA", "AR"], &["AR settles"]),
        ("AL", "AL", &["CA", "CA"], &["Unasked"]),
        // The accept acknowledgement alone; an error of the application may follow.
        ("AL", "NE", &["CA"], &["CA settles"]),
        ("AL", "", &["CA"], &["CA settles"]),
        ("AL", "ER", &["CA", "AE"], &["CA settles", "AE late"]),
        ("AL", "ER", &["CA", "AE", "AE"], &["CA settles", "AE late", "Unasked"]),
        // Receivers that know the original mode alone.
        ("AL", "NE", &["AA"], &["AA settles"]),
        ("NE", "NE", &["AA"], &["AA settles"]),
        ("ER", "ER", &["CE"], &["CE settles"]),
        // A second answer.
        ("", "", &["AA", "AA"], &["AA settles", "Unasked"]),
        ("AL", "NE", &["CA", "CA"], &["CA settles", "Unasked"]),
    ];
    for (accept, application, answers, expected) in cases {
        let mut exchange = Exchange::new(WaitFor::AsAsked);
        exchange.sent(&message("M1", accept, application));
        let bytes: Vec<u8> = answers.iter().flat_map(|code| answer(code, "M1")).collect();
        assert_eq!(&feed(&mut exchange, &bytes), expected, "{accept}/{application} {answers:?}");
    }
}

#[test]
fn what_a_message_asks_for() {
    for (accept, application, as_asked, first) in [
        ("", "", Wanted::Any, Wanted::Any),
        ("AL", "AL", Wanted::Application, Wanted::Any),
        ("NE", "SU", Wanted::Application, Wanted::Any),
        ("SU", "NE", Wanted::Any, Wanted::Any),
        ("AL", "ER", Wanted::Any, Wanted::Any),
        ("NE", "NE", Wanted::Nothing, Wanted::Nothing),
        ("ER", "", Wanted::Nothing, Wanted::Nothing),
        ("", "ER", Wanted::Nothing, Wanted::Nothing),
    ] {
        let message = message("M1", accept, application);
        assert_eq!(Exchange::new(WaitFor::AsAsked).sent(&message), as_asked, "{accept}/{application}");
        assert_eq!(Exchange::new(WaitFor::FirstAnswer).sent(&message), first, "{accept}/{application}");
    }
}

#[test]
fn whatever_is_no_answer_to_the_message_is_a_fault() {
    let own = frame(&message("M1", "", ""));
    let too_long = frame(&vec![b'A'; 1 + ANSWER_BYTES_MAX as usize]);
    let cases: [(&[u8], &str); 9] = [
        (&answer("AA", "M2"), "OtherMessage"),
        (&answer("AA", ""), "OtherMessage"),
        (&frame(b"MSH|^~\\&|C|D|A|B|20261125||ACK|X|P|2.5.1\r"), "NotAnAck"),
        (&answer("ZZ", "M1"), "NotAnAck"),
        (&own, "NotAnAck"),
        (&frame(b"thank you"), "NotAnAck"),
        (&frame(b""), "NotAnAck"),
        (b"\x0bMSH|^~\\&|C\x0bMSH|", "Broken"),
        (&too_long, "TooLong"),
    ];
    for (bytes, fault) in cases {
        let mut exchange = Exchange::new(WaitFor::AsAsked);
        exchange.sent(&message("M1", "", ""));
        assert_eq!(
            feed(&mut exchange, bytes),
            [fault],
            "{}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
        );
    }
    let mut exchange = Exchange::new(WaitFor::AsAsked);
    assert_eq!(feed(&mut exchange, &answer("AA", "M1")), ["Unasked"], "before anything was sent");
}

#[test]
fn junk_before_an_answer_is_tolerated_and_bounded() {
    let mut exchange = Exchange::new(WaitFor::AsAsked);
    exchange.sent(&message("M1", "", ""));
    assert_eq!(feed(&mut exchange, b"\r\n\0"), [""; 0]);
    assert!(exchange.heard_junk());
    assert_eq!(feed(&mut exchange, &answer("AA", "M1")), ["AA settles"]);
    assert!(!exchange.heard_junk());
    let page = vec![b'<'; 1 + JUNK_BYTES_MAX as usize];
    assert_eq!(feed(&mut exchange, &page), ["NotMllp"]);
}

#[test]
fn an_answer_whose_last_byte_was_lost_counts_when_the_stream_ends() {
    let mut exchange = Exchange::new(WaitFor::AsAsked);
    exchange.sent(&message("M1", "", ""));
    let whole = answer("AA", "M1");
    assert_eq!(feed(&mut exchange, &whole[..whole.len() - 1]), [""; 0]);
    assert!(matches!(exchange.finish(), Ok(Some(Event::Settled(_)))));
    exchange.sent(&message("M2", "", ""));
    assert_eq!(feed(&mut exchange, &answer("AA", "M2")[..20]), [""; 0]);
    assert_eq!(exchange.finish().unwrap_err(), Fault::Broken);
    assert!(matches!(exchange.finish(), Ok(None)), "between frames");
}

#[test]
fn control_ids_with_escapes_and_other_delimiters_are_the_same() {
    let mut exchange = Exchange::new(WaitFor::AsAsked);
    exchange.sent(b"MSH|^~\\&|A|B|C|D|20261125||ADT^A08|M#1|P|2.5.1\r");
    let other = frame(b"MSH#*~\\&#C#D#A#B#20261125##ACK#X#P#2.5.1\rMSA#AA#M\\F\\1\r");
    assert_eq!(feed(&mut exchange, &other), ["AA settles"]);
}

#[test]
fn equal_and_missing_control_ids_need_a_connection_of_their_own() {
    let mut exchange = Exchange::new(WaitFor::AsAsked);
    let [one, two, none] = ["M1", "M2", ""].map(|id| message(id, "", ""));
    for m in [&one, &two, &none] {
        assert!(exchange.can_tell_apart(m), "a new connection takes anything");
    }
    exchange.sent(&one);
    assert!(!exchange.can_tell_apart(&one));
    assert!(exchange.can_tell_apart(&two));
    assert!(!exchange.can_tell_apart(&none));
    let mut exchange = Exchange::new(WaitFor::AsAsked);
    exchange.sent(&none);
    assert!(!exchange.can_tell_apart(&one), "any answer may still be the nameless one's");
    // On a connection of its own it is answered by whatever the receiver makes of the missing id.
    assert_eq!(feed(&mut exchange, &answer("AA", "GENERATED")), ["AA settles"]);
}

#[test]
fn the_reason_of_a_refusal_names_places_and_never_words() {
    let of = |segments: &str| {
        let payload = format!("MSH|^~\\&|C|D|A|B|20261125||ACK|X|P|2.5.1\r{segments}");
        Answer::read(payload.into_bytes()).unwrap().reason()
    };
    for (segments, reason) in [
        ("MSA|AR|M1\r", "AR"),
        ("MSA|AR|M1|KESTREL is unknown\r", "AR"),
        (
            "MSA|AE|M1\rERR||PID^1^3^1^4|103^Table value not found^HL70357|E||||KESTREL\r",
            "AE, condition 103 at PID-3.4",
        ),
        ("MSA|AE|M1\rERR||PID^1|101|E\r", "AE, condition 101 at PID"),
        ("MSA|AR|M1\rERR|PID^1^5^103&Table value not found&HL70357\r", "AR, condition 103 at PID-5"),
        ("MSA|CR|M1\rERR||KESTREL^1^7100037|7100037|E\r", "CR"),
        ("MSA|CR|M1\rERR||PID^1^ISADORA||E\r", "CR at PID"),
    ] {
        assert_eq!(of(segments), reason, "{segments}");
    }
}

/// What a receiver does with what it has read: any of its answers, at any time, again and out of order.
#[derive(Debug, Clone)]
enum Step {
    Send,
    Answer { which: usize, code: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let send = Just(Step::Send);
    let answer = (0_usize..4, 0_usize..6).prop_map(|(which, code)| Step::Answer { which, code });
    prop::collection::vec(prop_oneof![2 => send, 3 => answer], 1..60)
}

proptest! {
    /// Whatever a receiver repeats, delays or exchanges, as long as MSA-2 is that of the message it answers: an answer
    /// settles only the very message it was made for. MSA-3 of the model's answers tells which that was.
    #[test]
    fn no_answer_settles_another_message(
        steps in steps(),
        ids in prop::collection::vec(prop::sample::select(vec!["", "SAME", "A", "B", "C", "D"]), 60),
        modes in prop::collection::vec((prop::sample::select(vec!["", "AL", "NE"]), prop::sample::select(vec!["", "AL", "ER"])), 60),
    ) {
        let mut exchange = Exchange::new(WaitFor::AsAsked);
        // Of this connection: the number of each message the receiver has read, and its id.
        let mut read: Vec<usize> = Vec::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Send => {
                    if exchange.waiting() > 0 {
                        continue;
                    }
                    let (accept, application) = modes[next];
                    let message = message(ids[next], accept, application);
                    if !exchange.can_tell_apart(&message) {
                        exchange = Exchange::new(WaitFor::AsAsked);
                        read.clear();
                    }
                    exchange.sent(&message);
                    read.push(next);
                    next += 1;
                }
                Step::Answer { which, code } => {
                    let Some(&number) = read.iter().rev().nth(which) else { continue };
                    let code = AckCode::ALL[code].as_str();
                    let bytes = frame(format!("MSH|^~\\&|||||||ACK|X|P|2.5.1\rMSA|{code}|{}|{number}\r", ids[number]).as_bytes());
                    let waited = exchange.waiting();
                    match exchange.next(&mut &bytes[..]) {
                        Ok(Some(Event::Settled(answer))) => {
                            prop_assert_eq!(waited, 1);
                            prop_assert_eq!(answer.text(), Some((next - 1).to_string()));
                        }
                        Ok(Some(Event::Late(answer))) => {
                            prop_assert!(answer.text().unwrap().parse::<usize>().unwrap() < next);
                        }
                        Ok(None) => {}
                        Err(_) => {
                            exchange = Exchange::new(WaitFor::AsAsked);
                            read.clear();
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn answers_may_come_in_any_pieces(cut in 0_usize..200, noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut exchange = Exchange::new(WaitFor::AsAsked);
        exchange.sent(&message("M1", "AL", "AL"));
        let bytes: Vec<u8> = [answer("CA", "M1"), answer("AA", "M1")].concat();
        let (one, two) = bytes.split_at(cut.min(bytes.len()));
        let mut heard = feed(&mut exchange, one);
        heard.extend(feed(&mut exchange, two));
        prop_assert_eq!(heard, ["AA settles"]);
        // Whatever comes then settles nothing.
        let more = feed(&mut exchange, &noise);
        prop_assert!(more.iter().all(|m| !m.contains("settles")), "{:?}", more);
    }
}
