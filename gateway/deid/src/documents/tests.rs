use super::*;

const CDA: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<?xml-stylesheet type="text/xsl" href="CDA.xsl"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:sdtc="urn:hl7-org:sdtc">
  <id root="2.16.840" extension="DOC-991"/><title>Note of Quorvane</title>
  <recordTarget><patientRole><id root="1.2" extension="A-0077812"/>
    <addr><streetAddressLine>9 Hollin Street</streetAddressLine><city>Zarkov</city></addr>
    <telecom value="tel:617-555-0143"/>
    <patient><name><given>William</given><family>Quorvane</family></name><birthTime value="19310307"/></patient>
  </patientRole></recordTarget>
  <author><assignedAuthor><assignedPerson><name>Ottoline Featherstone</name></assignedPerson></assignedAuthor></author>
  <component><structuredBody><component><section>
    <code code="10160-0"/><title>Plan &amp; course</title>
    <text><paragraph>Mr <content>Quor</content>vane is <br/>well.</paragraph>
      <table><tbody><tr><th>K</th><td>4.1</td></tr></tbody></table><!-- hidden --></text>
    <entry><observation><text>coded Smith</text><value>7</value></observation></entry>
    <component><section><title>Nested</title><text>Inner &#233;</text></section></component>
  </section></component></structuredBody></component>
</ClinicalDocument>"#;

fn read(bytes: &[u8], declared: &str) -> Result<String, Unread> {
    text(bytes, Declared(declared), &mut Known::default(), 2026)
}

fn within(media: &str, representation: &str, data: &str) -> String {
    format!(
        "<ClinicalDocument xmlns=\"urn:hl7-org:v3\"><component><nonXMLBody><text mediaType=\"{media}\" {representation}>{data}</text>\
         </nonXMLBody></component></ClinicalDocument>"
    )
}

#[test]
fn of_a_cda_document_the_sections_are_read_and_the_header_is_known() {
    let mut known = Known::default();
    let text = text(CDA.as_bytes(), Declared("text/xml"), &mut known, 2026).unwrap();
    let words: Vec<_> = text.split_whitespace().collect();
    assert_eq!(words.join(" "), "Plan & course Mr Quorvane is well. K 4.1 Nested Inner é");
    let of =
        |text: &str| crate::text::scrub(text, &crate::text::spans(text, &known), crate::Label::SafeHarbor);
    for (written, scrubbed) in [
        ("quorvane is well", "[NAME] is well"),
        ("seen by featherstone", "seen by [NAME]"),
        ("number 77812", "number [ID]"),
        ("near Zarkov", "near [LOCATION]"),
        ("call 5550143", "call [PHONE]"),
    ] {
        assert_eq!(of(written), scrubbed);
    }
}

#[test]
fn a_document_in_a_document_is_read_and_not_without_end() {
    let rtf = to_base64(r"{\rtf1 Mr. Quorvane}");
    let one = within("text/rtf", "representation=\"B64\"", &rtf);
    assert_eq!(read(one.as_bytes(), "text/xml").as_deref(), Ok("Mr. Quorvane"));
    assert_eq!(read(within("text/plain", "", "a &lt; b").as_bytes(), "text/xml").as_deref(), Ok("a < b"));
    assert_eq!(
        read(within("application/pdf", "representation=\"B64\"", "JVBERi0x").as_bytes(), ""),
        Err(Unread::Kind)
    );
    let mut deep = one;
    for _ in 0..NESTED_MAX {
        deep = within("text/xml", "representation=\"B64\"", &to_base64(&deep));
    }
    assert_eq!(read(deep.as_bytes(), "text/xml"), Err(Unread::Limit));
}

#[test]
fn the_bytes_decide_and_what_is_not_known_is_not_read() {
    for (bytes, declared, text) in [
        (&b"plain"[..], "text/plain", "plain"),
        (b"plain", "TEXT/PLAIN; charset=utf-8", "plain"),
        (b"plain", "", "plain"),
        (b"<5 mmol/L", "text/plain", "<5 mmol/L"),
        (b"\xEF\xBB\xBFpl\xC3\xA9", "text/plain", "plé"),
        (b"M\xFCller", "text/plain", "Müller"),
        (b"\xCF\xF0", "text/plain; charset=\"windows-1251\"", "Пр"),
        (b"\xFF\xFEJ\0o\0", "text/plain", "Jo"),
        (br"{\rtf1 x}", "text/plain", "x"),
        (br" {\rtf1 x}", "application/msword", "x"),
    ] {
        assert_eq!(read(bytes, declared).as_deref(), Ok(text), "{declared}");
    }
    let external = format!("<!DOCTYPE x SYSTEM \"file:///etc/passwd\">{}", within("text/plain", "", "x"));
    let bomb = format!("<!DOCTYPE x [<!ENTITY a \"aaaa\">]>{}", within("text/plain", "", "&a;"));
    let deep = format!("<ClinicalDocument>{}{}</ClinicalDocument>", "<a>".repeat(200), "</a>".repeat(200));
    for (bytes, declared, why) in [
        (&b"plain"[..], "application/pdf", Unread::Kind),
        (b"%PDF-1.7", "text/plain", Unread::Kind),
        (b"PK\x03\x04", "text/plain", Unread::Kind),
        (b"\x89PNG\r\n\x1a\n\0\0", "text/plain", Unread::Kind),
        (b"a\0b", "text/plain", Unread::Kind),
        (b"x", "text/plain; charset=klingon", Unread::Kind),
        (b"<html><body>x</body></html>", "text/html", Unread::Malformed),
        (b" <b>x</b>", "text/plain", Unread::Malformed),
        (b"<ClinicalDocument>", "text/xml", Unread::Malformed),
        (external.as_bytes(), "text/xml", Unread::Malformed),
        (bomb.as_bytes(), "text/xml", Unread::Malformed),
        (within("text/plain", "", "&a;").as_bytes(), "text/xml", Unread::Malformed),
        (deep.as_bytes(), "text/xml", Unread::Malformed),
        (&vec![b'x'; DOCUMENT_TEXT_BYTES_MAX + 1], "text/plain", Unread::Limit),
        (&vec![b'x'; DOCUMENT_BYTES_MAX + 1], "text/plain", Unread::Limit),
    ] {
        assert_eq!(read(bytes, declared), Err(why), "{declared}");
    }
}

#[test]
fn base64_and_hex_are_read_as_they_are_found() {
    for text in ["Sm9obg==", "Sm9obg", "Sm9o\r\nbg==", " Sm9obg= ="] {
        assert_eq!(base64(text.as_bytes()).as_deref(), Ok(&b"John"[..]), "{text}");
    }
    assert_eq!(base64(b"Sm9*"), Err(Unread::Malformed));
    assert_eq!(hex(b"4A6f 68\n6e").as_deref(), Ok(&b"John"[..]));
    assert_eq!(hex(b"4A6"), Err(Unread::Malformed));
    assert_eq!(hex(b"4Ag0"), Err(Unread::Malformed));
}
