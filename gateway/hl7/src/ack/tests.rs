use super::*;
use crate::{HeaderScan, Message};

const TIME: &str = "20261124083000+0000";

fn header(text: &str) -> Header {
    let mut scan = HeaderScan::new();
    scan.push(text.as_bytes());
    scan.finish().unwrap()
}

fn msh(version: &str) -> Header {
    header(&format!(
        "MSH|^~\\&|LAB|WEST|EHR|MAIN|20260101||ORU^R01^ORU_R01|A-42|P|{version}||||||8859/1\rPID|1\r"
    ))
}

/// The answer, a segment a line.
fn answer(code: AckCode, fault: Option<Fault<'_>>, header: Option<&Header>) -> String {
    let ack = Ack { code, fault, control_id: "W1", sent_at: TIME, expected_sequence: None };
    let bytes = ack.to_bytes(header);
    Message::parse(bytes.clone()).unwrap();
    assert!(crate::mllp::can_frame(&bytes));
    assert_eq!(bytes, ack.to_bytes(header), "the same input gives the same bytes");
    String::from_utf8(bytes).unwrap().replace('\r', "\n")
}

fn full() -> Fault<'static> {
    Fault { code: ErrorCode::Internal, location: None, text: "No room | send again" }
}

fn located() -> Fault<'static> {
    Fault {
        code: ErrorCode::RequiredFieldMissing,
        location: Some(Location { segment: "MSH", occurrence: 1, field: Some(10) }),
        text: "MSH-10 is empty",
    }
}

#[test]
fn positive_answers_speak_the_sender_s_version() {
    let answers: Vec<String> = ["2.1", "2.2", "2.3", "2.3.1", "2.5.1", "2.8", "2.5^DEU", ""]
        .map(|version| answer(AckCode::Accept, None, Some(&msh(version))))
        .into();
    insta::assert_snapshot!(answers.concat(), @r"
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK|W1|P|2.1||||||8859/1
    MSA|AA|A-42
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK^R01|W1|P|2.2||||||8859/1
    MSA|AA|A-42
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK^R01|W1|P|2.3||||||8859/1
    MSA|AA|A-42
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK^R01^ACK|W1|P|2.3.1||||||8859/1
    MSA|AA|A-42
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK^R01^ACK|W1|P|2.5.1||||||8859/1
    MSA|AA|A-42
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK^R01^ACK|W1|P|2.8||||||8859/1
    MSA|AA|A-42
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK^R01^ACK|W1|P|2.5^DEU||||||8859/1
    MSA|AA|A-42
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK^R01^ACK|W1|P|||||||8859/1
    MSA|AA|A-42
    ");
}

#[test]
fn negative_answers_say_why_in_the_version_s_form() {
    let answers: Vec<String> = ["2.2", "2.4", "2.5", "2.7"]
        .into_iter()
        .flat_map(|version| [(version, full()), (version, located())])
        .map(|(version, fault)| answer(AckCode::Error, Some(fault), Some(&msh(version))))
        .collect();
    insta::assert_snapshot!(answers.concat());
}

#[test]
fn without_a_header_the_answer_is_a_plain_rejection() {
    let error = ParseError::NoHeader { offset: 0 };
    let text = error.to_string();
    let fault = Fault { code: fault_of(&error), location: None, text: &text };
    insta::assert_snapshot!(answer(AckCode::Reject, Some(fault), None), @r"
    MSH|^~\&|||||20261124083000+0000||ACK|W1|P|2.5
    MSA|AR||byte 0: the message does not begin with an MSH, FHS or BHS segment
    ERR|||100^Segment sequence error^HL70357|E||||byte 0: the message does not begin with an MSH, FHS or BHS segment
    ");
}

#[test]
fn delimiters_are_the_sender_s_and_texts_are_escaped_with_them() {
    let own = header("MSH#*~!$#LAB#WEST#EHR#MAIN#2026##ADT*A01#7#T#2.4\r");
    let fault = Fault { text: "a#b*c!d|e", ..located() };
    insta::assert_snapshot!(answer(AckCode::Reject, Some(fault), Some(&own)), @r"
    MSH#*~!$#EHR#MAIN#LAB#WEST#20261124083000+0000##ACK*A01*ACK#W1#T#2.4
    MSA#AR#7#a!F!b!S!c!E!d|e
    ERR#MSH*1*10*101$Required field missing$HL70357
    ");
    let few = header("MSH|^|LAB||||||ADT^A01|7|P|2.4\r");
    insta::assert_snapshot!(answer(AckCode::Error, Some(full()), Some(&few)), @r"
    MSH|^|||LAB||20261124083000+0000||ACK^A01^ACK|W1|P|2.4
    MSA|AE|7|No room   send again
    ERR|^^^207
    ");
}

#[test]
fn a_batch_without_messages_is_answered_by_its_own_id() {
    let batch = header("BHS|^~\\&|LAB|WEST|EHR|MAIN|2026|||c|B-7\rBTS|0\r");
    insta::assert_snapshot!(answer(AckCode::Accept, None, Some(&batch)), @r"
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK|W1|P|2.5
    MSA|AA|B-7
    ");
}

#[test]
fn a_header_cannot_break_the_answer() {
    let hostile = header("MSH|^~\\&|A\u{1c}|\u{b}B|C|D|||ADT^A\u{1c}|7\u{1c}|P\u{1c}|2.5\u{1c}");
    let bytes =
        Ack { code: AckCode::Accept, fault: None, control_id: "W1", sent_at: TIME, expected_sequence: None }
            .to_bytes(Some(&hostile));
    assert!(crate::mllp::can_frame(&bytes));
    let message = Message::parse(bytes).unwrap();
    assert_eq!(message.get(&"MSA-2".parse().unwrap()), Some(&b"7"[..]));
    assert_eq!(message.len(), 2);
}

#[test]
fn codes_read_as_written() {
    for code in AckCode::ALL {
        assert_eq!(AckCode::read(code.as_str().as_bytes()), Some(code));
    }
    assert_eq!(AckCode::read(b"XX"), None);
    assert!(AckCode::Accept.is_positive() && !AckCode::Reject.is_positive());
}

#[test]
fn an_expected_sequence_number_stands_in_msa_4() {
    let numbered = |version: &str, code, fault| {
        let ack = Ack { code, fault, control_id: "W1", sent_at: TIME, expected_sequence: Some(-1) };
        let text = String::from_utf8(ack.to_bytes(Some(&msh(version)))).unwrap();
        text.split('\r').nth(1).unwrap().to_owned()
    };
    assert_eq!(numbered("2.5", AckCode::Accept, None), "MSA|AA|A-42||-1");
    assert_eq!(numbered("2.5", AckCode::Error, Some(located())), "MSA|AE|A-42|MSH-10 is empty|-1");
    assert_eq!(numbered("2.8", AckCode::CommitError, Some(located())), "MSA|CE|A-42||-1");
}

/// Both acknowledgements of enhanced mode, positive and negative, over the versions.
#[test]
fn both_levels_speak_the_sender_s_version() {
    use crate::{Condition, Fate, Mode};
    let both = Mode::Enhanced { accept: Condition::OnSuccess, application: Condition::Always };
    let mut answers = String::new();
    for version in ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.6", "2.7", "2.8.2"] {
        for (fate, fault) in
            [(Fate::Accepted, None), (Fate::Failed, Some(full())), (Fate::Rejected, Some(located()))]
        {
            for code in both.codes(fate) {
                answers.push_str(&answer(code, fault, Some(&msh(version))));
            }
        }
    }
    insta::assert_snapshot!(answers);
}
