//! Narratives of FHIR: limited XHTML (R4, narrative). Elements stay, attributes go but for spans of columns and rows; images,
//! comments and instructions go. What is no such XHTML is not read.

use quick_xml::events::BytesStart;

use super::xml::{Part, Refused, local, read};
use crate::text::Written;

/// Longest narrative that is read, in bytes.
pub const NARRATIVE_BYTES_MAX: usize = 1 << 20;
const NAMESPACE: &[u8] = b" xmlns=\"http://www.w3.org/1999/xhtml\"";
/// Elements between which a word does not end.
const INLINE: [&[u8]; 17] = [
    b"a", b"abbr", b"acronym", b"b", b"big", b"cite", b"code", b"em", b"i", b"q", b"small", b"span",
    b"strong", b"sub", b"sup", b"tt", b"u",
];
/// Other elements.
const BLOCKS: [&[u8]; 33] = [
    b"address",
    b"blockquote",
    b"br",
    b"caption",
    b"col",
    b"colgroup",
    b"dd",
    b"del",
    b"dfn",
    b"div",
    b"dl",
    b"dt",
    b"h1",
    b"h2",
    b"h3",
    b"h4",
    b"h5",
    b"h6",
    b"hr",
    b"ins",
    b"kbd",
    b"li",
    b"ol",
    b"p",
    b"pre",
    b"samp",
    b"table",
    b"tbody",
    b"td",
    b"tfoot",
    b"th",
    b"thead",
    b"tr",
];
/// As the others, at the end of the alphabet.
const LISTS: [&[u8]; 2] = [b"ul", b"var"];
/// Most digits of a span.
const SPAN_DIGITS_MAX: usize = 3;

/// A narrative without what is not its text or its form, and its text.
#[derive(Debug, Default)]
pub(crate) struct Narrative {
    pub(crate) markup: Vec<u8>,
    pub(crate) written: Written,
}

impl Narrative {
    /// Reads a `div`; `None` where it is none.
    pub(crate) fn of(div: &str) -> Option<Self> {
        if div.len() > NARRATIVE_BYTES_MAX {
            return None;
        }
        let mut narrative = Self::default();
        // Names of the elements that are open, as they are written.
        let mut open: Vec<Option<Vec<u8>>> = Vec::new();
        read(div, |part| {
            match part {
                Part::Start(start) => {
                    let name = local(&start).to_ascii_lowercase();
                    if open.is_empty() && name != b"div" {
                        return Err(Refused);
                    }
                    narrative.start(&name, &start, open.is_empty(), &mut open)?;
                }
                Part::End => narrative.end(open.pop().flatten()),
                Part::Text(raw) => narrative.text(raw, None),
                Part::Reference(c, name) => {
                    let raw = [b"&", name, b";"].concat();
                    narrative.text(&raw, Some(c));
                }
                Part::Data(_) => return Err(Refused),
            }
            Ok(())
        })
        .ok()?;
        Some(narrative)
    }

    fn start(
        &mut self,
        name: &[u8],
        start: &BytesStart<'_>,
        is_root: bool,
        open: &mut Vec<Option<Vec<u8>>>,
    ) -> Result<(), Refused> {
        if name == b"img" {
            open.push(None);
            return Ok(());
        }
        let is_inline = INLINE.contains(&name);
        if !is_inline && !BLOCKS.contains(&name) && !LISTS.contains(&name) {
            return Err(Refused);
        }
        if !is_inline {
            self.gap();
        }
        self.markup.push(b'<');
        self.markup.extend_from_slice(name);
        if is_root {
            self.markup.extend_from_slice(NAMESPACE);
        }
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| Refused)?;
            let (key, value) = (attribute.key.into_inner(), &*attribute.value);
            if matches!(key, b"colspan" | b"rowspan")
                && (1..=SPAN_DIGITS_MAX).contains(&value.len())
                && value.iter().all(u8::is_ascii_digit)
            {
                self.markup.push(b' ');
                self.markup.extend_from_slice(key);
                self.markup.extend_from_slice(b"=\"");
                self.markup.extend_from_slice(value);
                self.markup.push(b'"');
            }
        }
        self.markup.push(b'>');
        open.push(Some(name.to_vec()));
        Ok(())
    }

    fn end(&mut self, name: Option<Vec<u8>>) {
        let Some(name) = name else { return };
        if matches!(name.as_slice(), b"br" | b"hr" | b"col") && self.markup.ends_with(b">") {
            self.markup.pop();
            self.markup.extend_from_slice(b"/>");
        } else {
            self.markup.extend_from_slice(b"</");
            self.markup.extend_from_slice(&name);
            self.markup.push(b'>');
        }
        if !INLINE.contains(&name.as_slice()) {
            self.gap();
        }
    }

    /// A word ends here.
    fn gap(&mut self) {
        let at = self.markup.len();
        self.written.other(b"\n", at..at);
    }

    fn text(&mut self, raw: &[u8], meant: Option<char>) {
        let start = self.markup.len();
        self.markup.extend_from_slice(raw);
        let at = start..self.markup.len();
        match meant {
            Some(c) => self.written.other(c.encode_utf8(&mut [0; 4]).as_bytes(), at),
            None => self.written.literal(&self.markup, at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(div: &str) -> Option<String> {
        Narrative::of(div).map(|n| n.written.text().unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_narrative_is_read_and_its_form_stays() {
        let div = "<div xmlns=\"http://www.w3.org/1999/xhtml\" id=\"x\" title=\"John\"><!-- John --><p class=\"y\">Mr <b>Jo</b>hn &amp; \
                   &#233;<br/>was</p><table><tr><td colspan=\"2\">well</td></tr></table><img src=\"j.png\" alt=\"John\"/></div>";
        let read = Narrative::of(div).unwrap();
        assert_eq!(text(div).unwrap(), "Mr John & é was well");
        assert_eq!(
            String::from_utf8(read.markup.clone()).unwrap(),
            "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Mr <b>Jo</b>hn &amp; &#233;<br/>was</p><table><tr><td colspan=\"2\">\
             well</td></tr></table></div>"
        );
        let at = read.written.text().unwrap().find("John").unwrap();
        let replaced = read.written.replaced(&read.markup, [(at..at + 4, &b"[NAME]"[..])]);
        assert!(String::from_utf8(replaced).unwrap().contains("<p>Mr <b>[NAME]</b> &amp;"));
    }

    #[test]
    fn quotes_and_blanks_in_attributes_are_read() {
        let div = "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p title=\"a &quot;b&quot; \\ \n\tµ —\">\"b\" \\ µ — x.\n\ty</p></div>";
        assert_eq!(text(div).as_deref(), Some("\"b\" \\ µ — x. y"));
    }

    #[test]
    fn what_is_no_narrative_is_not_read() {
        let deep = format!("<div>{}{}</div>", "<p>".repeat(200), "</p>".repeat(200));
        for div in [
            "",
            "John",
            "<p>John</p>",
            "<div>John",
            "<div><script>x</script></div>",
            "<!DOCTYPE div [<!ENTITY j \"John\">]><div>&j;</div>",
            "<div>&j;</div>",
            "<div><![CDATA[John]]></div>",
            "<div/><div/>",
            "<div>&#0;</div>",
            deep.as_str(),
        ] {
            assert_eq!(text(div), None, "{div}");
        }
    }
}
