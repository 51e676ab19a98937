//! `wardgate hl7 parse|ack|fhir|route`: filters over HL7 v2 files.

use std::collections::HashMap;
use std::io::{BufWriter, Read as _, Write as _};

use anyhow::Context as _;
use hl7::batch::{BatchAnswer, Event, Line, Splitter};
use hl7::{Ack, Charset, Fate, Fault, Header, Mode};
use model::{Clock as _, Timestamp};

use super::{broken_pipe_is_fine, hl7_parse, nothing_to_read, print_bytes};
use crate::cli::Hl7;
use crate::clock::SystemClock;
use crate::exit;

pub(crate) fn hl7(command: Hl7) -> anyhow::Result<()> {
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input).context("standard input")?;
    match command {
        Hl7::Parse { source } => parse(&input, source.charset),
        Hl7::Ack => ack(&input),
        Hl7::Fhir { report, trace, source, zone, key_file } => {
            let charset = source.charset;
            super::hl7_fhir::convert(&input, charset, report.as_deref(), trace, &zone, key_file.as_deref())
        }
        Hl7::Route { config, feed, source } => {
            super::hl7_route::route(&input, source.charset, &config.config, feed.as_ref())
        }
    }
}

fn parse(input: &[u8], charset: Option<Charset>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = hl7_parse::run(input, charset, &mut out).and_then(|counts| out.flush().map(|()| counts));
    let Some((messages, findings)) = broken_pipe_is_fine(written)? else { return Ok(()) };
    nothing_to_read(input, messages)?;
    if findings == 0 { Ok(()) } else { Err(exit::Printed.into()) }
}

/// What a feed with the default settings would answer: an acknowledgement for each message, or two, or none, as it
/// asks; for a file that is a batch, the batch of its acknowledgements. CR-terminated segments, without MLLP's frame.
fn ack(input: &[u8]) -> anyhow::Result<()> {
    let mut answers = Answers { now: SystemClock.now(), written: 0, faults: 0, links: HashMap::new() };
    let (out, messages) = if is_batch(input) { answers.batch(input) } else { answers.messages(input) };
    print_bytes(&out)?;
    nothing_to_read(input, messages)?;
    if answers.faults == 0 { Ok(()) } else { Err(exit::Printed.into()) }
}

/// Whether a frame of these bytes would be taken as a batch.
fn is_batch(input: &[u8]) -> bool {
    let (mut splitter, mut rest) = (Splitter::new(), input);
    while splitter.next(&mut rest).is_some() {
        if splitter.is_batch() {
            return true;
        }
    }
    false
}

struct Answers {
    now: Timestamp,
    /// For fresh control ids.
    written: usize,
    faults: usize,
    /// The last sequence number of each link.
    links: HashMap<Vec<u8>, i64>,
}

impl Answers {
    fn messages(&mut self, input: &[u8]) -> (Vec<u8>, usize) {
        let (mut out, mut messages) = (Vec::new(), 0);
        for bytes in ::hl7::split(input) {
            messages += 1;
            out.extend(self.acks(bytes).concat());
        }
        (out, messages)
    }

    fn batch(&mut self, input: &[u8]) -> (Vec<u8>, usize) {
        let (mut answer, mut splitter, mut rest) = (BatchAnswer::new(), Splitter::new(), input);
        let (mut message, mut lines, mut messages) = (Vec::new(), Vec::new(), 0);
        while let Some(event) = splitter.next(&mut rest).or_else(|| splitter.finish()) {
            match event {
                Event::Data { bytes, of_message: true } => message.extend_from_slice(bytes),
                Event::Data { .. } => {}
                Event::Line(line) => {
                    lines.push((line, splitter.line().to_vec()));
                    if message.is_empty() {
                        self.lines(&mut answer, &mut lines);
                    }
                }
                Event::Begin => {
                    messages += self.message(&mut answer, &mut message);
                    self.lines(&mut answer, &mut lines);
                }
            }
        }
        messages += self.message(&mut answer, &mut message);
        self.lines(&mut answer, &mut lines);
        if messages == 0 {
            return (self.acks(input).concat(), 1);
        }
        (if answer.is_empty() { Vec::new() } else { answer.finish() }, messages)
    }

    /// Answers the message, if there is one, and empties it.
    fn message(&mut self, answer: &mut BatchAnswer, message: &mut Vec<u8>) -> usize {
        if message.is_empty() {
            return 0;
        }
        for ack in self.acks(&std::mem::take(message)) {
            answer.acknowledgement(&ack);
        }
        1
    }

    fn lines(&mut self, answer: &mut BatchAnswer, lines: &mut Vec<(Line, Vec<u8>)>) {
        for (line, bytes) in lines.drain(..) {
            match (line, Header::read(&bytes, true)) {
                (Line::FileHeader | Line::BatchHeader, Ok(header)) => {
                    let control_id = self.control_id();
                    answer.header(&header, &control_id, &self.now.to_hl7());
                }
                _ => answer.trailer(line),
            }
        }
    }

    /// The acknowledgements of one message.
    fn acks(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let header = Header::read(bytes, true);
        let text;
        let (mode, fate, fault, expected_sequence) = match &header {
            Ok(header) => (Mode::asked_by(header), Fate::Accepted, None, self.sequence(header)),
            Err(error) => {
                self.faults += 1;
                text = error.to_string();
                let fault = Fault { code: ::hl7::ack::fault_of(error), location: None, text: &text };
                (Mode::Original, Fate::Rejected, Some(fault), None)
            }
        };
        let sent_at = self.now.to_hl7();
        mode.codes(fate)
            .map(|code| {
                let control_id = self.control_id();
                let ack = Ack { code, fault, control_id: &control_id, sent_at: &sent_at, expected_sequence };
                ack.to_bytes(header.as_ref().ok())
            })
            .collect()
    }

    fn control_id(&mut self) -> String {
        self.written += 1;
        format!("{:X}-{}", self.now.micros(), self.written)
    }

    fn sequence(&mut self, header: &Header) -> Option<i64> {
        let number = ::hl7::sequence::read(header.field(13))?;
        let link = [3, 4, 5, 6].map(|n| header.field(n)).join(&b'|');
        let verdict = ::hl7::sequence::check(self.links.get(&link).copied(), number);
        if let Some(last) = verdict.last {
            self.links.insert(link, last);
        }
        Some(verdict.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(input: &str) -> String {
        let mut answers = Answers {
            now: "2026-11-24T08:30:00Z".parse().unwrap(),
            written: 0,
            faults: 0,
            links: HashMap::new(),
        };
        let input = input.as_bytes();
        let (out, _) = if is_batch(input) { answers.batch(input) } else { answers.messages(input) };
        String::from_utf8(out).unwrap().replace('\r', "\n")
    }

    #[test]
    fn messages_are_answered_as_they_ask() {
        let message = |id: &str, sequence: &str, asks: &str| {
            format!("MSH|^~\\&|L|W|E|M|2026||ORU^R01|{id}|P|2.5|{sequence}||{asks}\rPID|1\r")
        };
        let file = [
            message("A", "", ""),
            message("B", "", "AL|AL"),
            message("C", "", "NE|NE"),
            message("D", "7", ""),
        ];
        insta::assert_snapshot!(answered(&file.concat()), @r"
        MSH|^~\&|E|M|L|W|20261124083000+0000||ACK^R01^ACK|661018422D200-1|P|2.5
        MSA|AA|A
        MSH|^~\&|E|M|L|W|20261124083000+0000||ACK^R01^ACK|661018422D200-2|P|2.5
        MSA|CA|B
        MSH|^~\&|E|M|L|W|20261124083000+0000||ACK^R01^ACK|661018422D200-3|P|2.5
        MSA|AA|B
        MSH|^~\&|E|M|L|W|20261124083000+0000||ACK^R01^ACK|661018422D200-4|P|2.5
        MSA|AA|D||7
        ");
        let batch =
            format!("BHS|^~\\&|L|W|E|M|2026||||B-1\r{}{}BTS|2\r", message("A", "", ""), message("B", "", ""));
        insta::assert_snapshot!(answered(&batch), @r"
        BHS|^~\&|E|M|L|W|20261124083000+0000||||661018422D200-1|B-1
        MSH|^~\&|E|M|L|W|20261124083000+0000||ACK^R01^ACK|661018422D200-2|P|2.5
        MSA|AA|A
        MSH|^~\&|E|M|L|W|20261124083000+0000||ACK^R01^ACK|661018422D200-3|P|2.5
        MSA|AA|B
        BTS|2
        ");
        insta::assert_snapshot!(answered("BHS|^~\\&|L|W|E|M|2026||||B-1\rBTS|0\r"), @r"
        MSH|^~\&|E|M|L|W|20261124083000+0000||ACK|661018422D200-2|P|2.5
        MSA|AA|B-1
        ");
    }
    #[test]
    fn a_file_in_utf16_is_answered_message_by_message_in_utf16() {
        let message = |id: &str| format!("MSH|^~\\&|L|Müller|E|M|2026||ORU^R01|{id}|P|2.5\rPID|1\r");
        for charset in [Charset::Utf16Le, Charset::Utf16Be] {
            let file = format!("\u{feff}{}{}", message("A"), message("B"));
            let mut answers = Answers {
                now: "2026-11-24T08:30:00Z".parse().unwrap(),
                written: 0,
                faults: 0,
                links: HashMap::new(),
            };
            let (out, messages) = answers.messages(&charset.encode(&file).unwrap());
            let said = ::hl7::charset::decode(&out.into(), Some(charset));
            let text = String::from_utf8(said.text.to_vec()).unwrap();
            assert_eq!((messages, answers.faults, said.charset), (2, 0, charset));
            assert!(text.contains("MSA|AA|A\r") && text.ends_with("MSA|AA|B\r"), "{text}");
            assert_eq!(text.matches("|Müller|").count(), 2, "{text}");
        }
    }
}
