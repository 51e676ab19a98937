use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Header, Message};

fn decoded(payload: &[u8]) -> Decoded {
    decode(&Bytes::copy_from_slice(payload), None)
}

fn text(payload: &[u8]) -> String {
    String::from_utf8(decoded(payload).text.to_vec()).unwrap()
}

/// A message with this MSH-18 and this PID-5, in these bytes.
fn message(charset: &str, name: &[u8]) -> Vec<u8> {
    let mut out = format!("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5||||||{charset}\rPID|1||7||").into_bytes();
    out.extend_from_slice(name);
    out.extend_from_slice(b"|x\r");
    out
}

fn name_of(payload: Vec<u8>) -> (String, Charset, usize) {
    let message = Message::decode(payload, None).unwrap();
    let pid = message.first(b"PID").unwrap();
    assert_eq!(pid.field(6).unwrap().raw(), b"x", "no field was shifted");
    (pid.field(5).unwrap().text().into_owned(), message.charset().unwrap(), message.undecodable())
}

#[test]
fn names_are_read_as_senders_write_them() {
    for (names, charset) in [
        (&["ASCII", "ascii", "US-ASCII", "ISO IR6"][..], Charset::Ascii),
        (&["UNICODE UTF-8", "UTF-8", "UTF8", "utf_8", "UNICODE", "Unicode UTF8"], Charset::Utf8),
        (
            &["8859/1", "8859-1", "ISO-8859-1", "ISO8859_1", "ISO 8859/1", "ISO/IEC 8859-1", "latin1"],
            Charset::Iso8859(Part(1)),
        ),
        (&["8859/15", "ISO8859-15"], Charset::Iso8859(Part(15))),
        (&["WINDOWS-1252", "cp1252", "ANSI"], Charset::FALLBACK),
        (&["GB 18030-2000", "GB18030", "gbk"], Charset::Gb18030),
        (&["BIG-5", "Big5"], Charset::Big5),
        (&["KS X 1001", "EUC-KR"], Charset::KsX1001),
        (&["ISO IR87", "ISO IR159", "ISO IR14", "ISO-2022-JP"], Charset::Iso2022Jp),
        (&["UNICODE UTF-16", "UTF-16"], Charset::Utf16Le),
    ] {
        for name in names {
            assert_eq!(name.parse(), Ok(charset), "{name}");
        }
    }
    for unknown in [
        "",
        "8859",
        "8859/12",
        "8859/17",
        "8859/01x",
        "CNS 11643-1992",
        "UNICODE UTF-32",
        "WINDOWS-1259",
        "1252",
        "é",
    ] {
        assert_eq!(unknown.parse::<Charset>(), Err(NotACharset), "{unknown}");
    }
    assert_eq!(Charset::read(&[b'A'; 1000]), None);
}

#[test]
fn each_one_is_decoded() {
    for (declared, bytes, meant) in [
        ("8859/1", &b"M\xfcller"[..], "Müller"),
        ("8859/1", b"\x80 50", "€ 50"),
        ("8859/2", b"Wa\xb3\xeasa", "Wałęsa"),
        ("8859/5", b"\xb8\xd2\xd0\xdd", "Иван"),
        ("8859/15", b"\xa4", "€"),
        ("WINDOWS-1251", b"\xc8\xe2\xe0\xed", "Иван"),
        ("UNICODE UTF-8", "Müller".as_bytes(), "Müller"),
        ("UTF-8", "Müller".as_bytes(), "Müller"),
        // The second byte of each of these letters is a delimiter: 7C, 5E, 5C, 7E.
        ("GB 18030-2000", b"\x81\x7c\x81\x5e\x81\x5c\x81\x7e", "亅乛乗亊"),
        ("BIG-5", b"\xa5\x7c\xa5\x5c\xb1\x5e", "四功崗"),
        ("SHIFT_JIS", b"\x83\x5c\x83\x7c", "ソポ"),
        ("KS X 1001", b"\xb1\xe8", "김"),
        ("EUC-JP", b"\xbb\xb3", "山"),
        ("~ISO IR87", b"Yamada\x1b$B;3ED\x1b(B", "Yamada山田"),
        // 46 7C: the second byte is the field separator.
        ("~ISO IR87", b"\x1b$BF|\x1b(B", "日"),
        ("~ISO IR87~ISO IR159", b"\x1b$(D0!\x1b(B", "丂"),
        ("~ISO IR14", b"\x1b(I4A\x1b(J", "ｴﾁ"),
        ("ISO IR14", b"\xb4\xc1", "ｴﾁ"),
    ] {
        let (name, charset, undecodable) = name_of(message(declared, bytes));
        assert_eq!((name.as_str(), undecodable), (meant, 0), "{declared} {charset}");
    }
}

#[test]
fn the_source_counts_more_than_the_header_and_the_header_more_than_the_bytes() {
    let payload = Bytes::from(message("8859/1", "ü".as_bytes()));
    assert_eq!(
        (decode(&payload, None).basis, decode(&payload, None).charset),
        (Basis::Header, Charset::Iso8859(Part(1)))
    );
    let by_source = decode(&payload, Some(Charset::Utf8));
    assert_eq!((by_source.basis, by_source.charset, by_source.text), (Basis::Source, Charset::Utf8, payload));
    for (declared, bytes, charset) in [
        ("", "ü".as_bytes(), Charset::Utf8),
        ("", b"\xfc", Charset::FALLBACK),
        // It declares what it does not send.
        ("ASCII", b"\xfc", Charset::FALLBACK),
        ("ASCII", "ü".as_bytes(), Charset::Utf8),
        ("UNICODE UTF-16", "ü".as_bytes(), Charset::Utf8),
        ("no such", "ü".as_bytes(), Charset::Utf8),
        ("", b"\x1b$B;3\x1b(B", Charset::Iso2022Jp),
        ("8859/1", b"plain", Charset::Ascii),
        ("", b"an \x1b[1m escape of a terminal", Charset::Ascii),
    ] {
        let found = decoded(&message(declared, bytes));
        assert_eq!(
            (found.basis, found.charset, found.undecodable),
            (Basis::Detected, charset, 0),
            "{declared}"
        );
    }
    let switching = decoded(&message("8859/1", b"an \x1b$B escape that it does not have"));
    assert_eq!((switching.basis, switching.charset), (Basis::Header, Charset::Iso8859(Part(1))));
    // Several names: the first that says more than ASCII, or ISO 2022.
    for (declared, charset) in
        [("~8859/1", "8859/1"), ("ASCII~8859/2", "8859/2"), ("8859/1~ISO IR87", "ISO-2022-JP")]
    {
        assert_eq!(decoded(&message(declared, b"\xfc")).charset.to_string(), charset, "{declared}");
    }
    // In a batch the first message decides.
    let batch = [b"FHS|^~\\&|\xfc\rBHS|^~\\&\r".to_vec(), message("8859/5", b"\xb8")].concat();
    assert_eq!(decoded(&batch).charset.to_string(), "8859/5");
}

#[test]
fn utf16_is_recognised_and_read() {
    let plain = "MSH|^~\\&|Ä|B|||2026||ADT^A01|1|P|2.5||||||UNICODE UTF-16\rPID|1||7||Müller^😀|x\r";
    for (big_endian, mark) in
        [(false, ""), (false, "\u{feff}"), (true, ""), (true, "\u{feff}"), (true, "\r\n"), (false, " \n")]
    {
        let charset = if big_endian { Charset::Utf16Be } else { Charset::Utf16Le };
        let payload = charset.encode(&format!("{mark}{plain}")).unwrap();
        let message = Message::decode(payload.clone(), None).unwrap();
        assert_eq!((message.charset(), message.undecodable()), (Some(charset), 0));
        assert_eq!(message.payload(), &payload, "the bytes stay as they came");
        assert_eq!(message.first(b"PID").unwrap().field(5).unwrap().text(), "Müller^😀");
        assert_eq!(message.prefix(), mark.as_bytes());
        // From a stream, cut anywhere after the header.
        for end in (plain.find('\r').unwrap() * 2 + 8)..payload.len() {
            assert_eq!(Header::read(&payload[..end], false).unwrap().control_id(), b"1");
        }
    }
    let half = [Charset::Utf16Le.encode("MSH|^~\\&|").unwrap(), vec![0x00, 0xd8, b'x', 0, b'y']].concat();
    let found = decoded(&half);
    assert_eq!((found.undecodable, &found.text[..]), (3, &b"MSH|^~\\&|\\X00D8\\x\\X79\\"[..]));
}

#[test]
fn answers_go_back_in_the_senders_own_character_set() {
    let msh = "MSH|^~\\&|検査|B|C|D|2026||ADT^A01|42|P|2.5||||||";
    for declared in ["UNICODE UTF-16", "GB 18030-2000", "SHIFT_JIS", "~ISO IR87"] {
        let charset = Charset::read(declared.trim_start_matches('~').as_bytes()).unwrap();
        let payload = charset.encode(&format!("{msh}{declared}\rPID|1\r")).unwrap();
        let header = Header::read(&payload, true).unwrap();
        assert_eq!((header.field(3), header.control_id()), ("検査".as_bytes(), &b"42"[..]), "{declared}");
        let answer = header.in_its_charset("MSH|^~\\&|検査\r".as_bytes().to_vec());
        assert_eq!(answer, charset.encode("MSH|^~\\&|検査\r").unwrap(), "{declared}");
    }
    let payload = Charset::Utf16Le.encode("\u{feff}MSH|^~\\&|Ä|B|||2026||ADT^A01|42|P|2.5\rPID|1\r").unwrap();
    let header = Header::read(&payload, true).unwrap();
    let ack = crate::Ack {
        code: crate::AckCode::Accept,
        fault: None,
        control_id: "W1",
        sent_at: "2026",
        expected_sequence: None,
    };
    let ack = Message::decode(ack.to_bytes(Some(&header)), None).unwrap();
    assert_eq!(ack.charset(), Some(Charset::Utf16Le));
    let field = |segment: &[u8], n| ack.first(segment).unwrap().field(n).unwrap().text().into_owned();
    assert_eq!((field(b"MSH", 5), field(b"MSA", 2)), ("Ä".to_owned(), "42".to_owned()));
    // The others are echoed as they are, whatever they declare.
    let latin = Header::read(b"MSH|^~\\&|\xfc|B\r", true).unwrap();
    assert_eq!((latin.field(3), latin.in_its_charset(b"\xfc".to_vec())), (&b"\xfc"[..], b"\xfc".to_vec()));
    let marked = Charset::Utf16Be.encode("\u{feff}MSH|^~\\&|A\r").unwrap();
    let header = Header::read(&marked, true).unwrap();
    assert_eq!(header.in_its_charset(b"MSH".to_vec()), Charset::Utf16Be.encode("\u{feff}MSH").unwrap());
}

#[test]
fn an_answer_in_utf16_never_looks_like_the_end_of_its_frame() {
    // U+1C25, FS, U+0D0D: without the FS, which no answer holds, the bytes 1C 0D meet. Found by the fuzzer.
    let found =
        b"M\0S\0H\0|\0_\0\xd9|\x81\xffFHS|;\0\xff\xf6%\x1c\x1c\0\x0d\x0d\x09\x09\x0d\x09\x09\x0a\0\x0d";
    crate::fuzz::header(found);
    let header = Header::read(&Charset::Utf16Le.encode("MSH|^~\\&|\u{1c25}\u{d0d}").unwrap(), true).unwrap();
    let answer = header.in_its_charset("MSH|^~\\&|\u{1c25}\u{d0d}\r".as_bytes().to_vec());
    assert_eq!(answer, Charset::Utf16Le.encode("MSH|^~\\&|??\r").unwrap());
}

#[test]
fn a_header_whose_letters_hide_separators_is_read() {
    // Each of the two letters has the separator as its second byte.
    let payload = b"MSH|^~\\&|\x81\x7c|\x82\x7c|C|D|2026||ADT^A01|42|P|2.5||||||GB18030\rPID|1\r";
    let header = Header::read(payload, true).unwrap();
    assert_eq!(header.control_id(), b"42");
    assert_eq!(Message::decode(&payload[..], None).unwrap().control_id(), Some(&b"42"[..]));
}

#[test]
fn a_configured_source_stands_before_the_header_s_own_word() {
    // Two letters of GB 18030 for a sender that is configured so, four of Latin-1 for one that is configured so.
    let silent = b"MSH|^~\\&|\x81\x7c|\x82\x7c|C|D|2026||ADT^A01|42|P|2.5\r";
    let header = Header::read_in(silent, true, Some(Charset::Gb18030)).unwrap();
    assert_eq!(header.control_id(), b"42");
    assert_eq!(header.in_its_charset(header.field(3).to_vec()), b"\x81\x7c");
    let wrong = b"MSH|^~\\&|\x81\x7c|B|C|D|2026||ADT^A01|42|P|2.5||||||GB18030\r";
    let latin = Charset::read(b"8859/1");
    assert_eq!(Header::read_in(wrong, true, latin).unwrap().field(11), b"42");
    assert_eq!(Header::read(wrong, true).unwrap().field(11), b"P");
    // Values to compare are text; what goes into an answer is the sender's bytes.
    let header = Header::read_in(b"MSH|^~\\&|K\xf6ln|A||||||1||2.5||||||UTF-8\r", true, latin).unwrap();
    assert_eq!((header.field(3), &*header.text(header.field(3))), (&b"K\xf6ln"[..], "Köln".as_bytes()));
    let unsaid = Header::read(b"MSH|^~\\&|K\xf6ln|A\r", true).unwrap();
    assert_eq!(&*unsaid.text(unsaid.field(3)), b"K\xf6ln");
}

#[test]
fn every_name_that_is_offered_is_known() {
    for name in Charset::NAMES.split(", ").flat_map(|n| n.split(" to ")) {
        assert!(Charset::read(name.as_bytes()).is_some(), "{name}");
    }
}

#[test]
fn what_cannot_be_decoded_is_visible_counted_and_comes_back() {
    let (name, _, undecodable) = name_of(message("UNICODE UTF-8", b"M\xfcller \xff\xfe."));
    assert_eq!((name.as_str(), undecodable), (r"M\XFC\ller \XFFFE\.", 3));
    let message = Message::decode(message("UNICODE UTF-8", b"M\xfcller"), None).unwrap();
    let field = message.first(b"PID").unwrap().field(5).unwrap();
    assert_eq!(&*field.unescaped(), b"M\xfcller", "the byte itself");
    // Without an escape character there is no sequence for it.
    assert_eq!(
        text(b"MSH|^~|8|||||||||||||||UTF-8\rPID|\xff\r"),
        "MSH|^~|8|||||||||||||||UTF-8\rPID|\u{fffd}\r"
    );
    // The message's own escape character.
    assert_eq!(
        text(b"MSH#*~!&#8###############UTF-8\rPID#\xff\r"),
        "MSH#*~!&#8###############UTF-8\rPID#!XFF!\r"
    );
    let (name, charset, undecodable) = name_of(self::message("~ISO IR87", b"\x1b$B~~;\x1b(B\x80"));
    assert_eq!((name.as_str(), charset, undecodable), (r"\X7E7E3B80\", Charset::Iso2022Jp, 4));
}

#[test]
fn nothing_is_copied_that_is_utf8_already() {
    for payload in [
        message("", b"plain"),
        message("8859/1", b"plain"),
        message("", "ü".as_bytes()),
        "\u{feff}MSH|^~\\&|ü".into(),
    ] {
        let payload = Bytes::from(payload);
        let decoded = decode(&payload, None);
        assert_eq!((decoded.text.as_ptr(), decoded.undecodable), (payload.as_ptr(), 0));
    }
}

proptest! {
    #[test]
    fn any_bytes_have_a_text(bytes in proptest::collection::vec(any::<u8>(), 0..200), declared in "(|UTF-8|8859/[0-9]{1,2}|GB18030|BIG-5|KS X 1001|~ISO IR87|SJIS|EUC-JP|WINDOWS-125[0-8])") {
        let payload = message(&declared, &bytes);
        crate::fuzz::message(&payload);
        crate::fuzz::charset(&[b"\0", &payload[..]].concat());
        crate::fuzz::charset(&bytes);
        prop_assert!(String::from_utf8(decoded(&payload).text.to_vec()).is_ok());
    }

    /// Who is told what it was read in reads the same text, whatever the header says.
    #[test]
    fn the_name_that_is_found_gives_the_same_text_again(
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
        piece in "(\u{1b}\\$B|\u{1b}\\(B|\u{feff}|)",
        declared in "(|ASCII|UTF-8|UTF-16|8859/[0-9]{1,2}|GB18030|BIG-5|KS X 1001|~ISO IR87|SJIS|EUC-JP|WINDOWS-125[0-8])",
        source in "(|ASCII|UTF-8|UTF-16|8859/[0-9]{1,2}|GB18030|BIG-5|KS X 1001|~ISO IR87|SJIS|EUC-JP|WINDOWS-125[0-8])",
        ascii: bool,
        marked: bool,
    ) {
        let bytes: Vec<u8> = bytes.into_iter().map(|b| if ascii { b & 0x7f } else { b }).collect();
        let mut payload = message(&declared, &[piece.as_bytes(), &bytes].concat());
        if marked {
            payload.splice(0..0, piece.bytes());
        }
        let payload = Bytes::from(payload);
        let found = decode(&payload, Charset::read(source.as_bytes()));
        prop_assert_eq!(Charset::read(found.charset.to_string().as_bytes()), Some(found.charset));
        let again = decode(&payload, Some(found.charset));
        prop_assert_eq!((again.text, again.charset, again.undecodable), (found.text, found.charset, found.undecodable));
    }

    #[test]
    fn what_a_charset_encodes_it_decodes(name in "[a-zA-Zäöüéñłßжя山田太郎한国|^~&\\\\]{0,20}", index in 0_usize..10) {
        let declared = ["8859/1", "8859/2", "8859/5", "UTF-8", "GB18030", "BIG-5", "KS X 1001", "ISO IR87", "SJIS", "EUC-JP"][index];
        let charset = Charset::read(declared.as_bytes()).unwrap();
        let whole = format!("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5||||||{declared}\rPID|1||7||{name}\r");
        if let Some(bytes) = charset.encode(&whole) {
            prop_assert_eq!(text(&bytes), whole);
        }
    }

    #[test]
    fn utf16_decodes_to_what_was_encoded(name in "\\PC{0,30}", big_endian: bool) {
        let charset = if big_endian { Charset::Utf16Be } else { Charset::Utf16Le };
        let whole = format!("MSH|^~\\&|{name}\r");
        prop_assert_eq!(text(&charset.encode(&whole).unwrap()), whole);
    }
}
