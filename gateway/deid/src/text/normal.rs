//! A text as a reader sees it: invisible characters gone, look-alikes as the Latin letters they imitate, accents off;
//! and the way back to the bytes it came from.

/// A text in its plain form.
#[derive(Debug, Default)]
pub(super) struct Normal {
    /// Case kept.
    text: String,
    /// The same in lower case: byte for byte as long.
    lower: String,
    /// For each byte of `text`, where the character it came from begins; empty where nothing changed.
    origins: Vec<usize>,
    /// Length of the source, in bytes.
    source: usize,
}

impl Normal {
    pub(super) fn of(source: &str) -> Self {
        let mut normal = Self { source: source.len(), ..Self::default() };
        if source.is_ascii() {
            normal.text = source.to_owned();
            normal.lower = source.to_ascii_lowercase();
            return normal;
        }
        normal.text.reserve(source.len());
        normal.lower.reserve(source.len());
        normal.origins.reserve(source.len());
        for (at, c) in source.char_indices() {
            if is_invisible(c) {
                continue;
            }
            let plain = plain(c);
            let mut lower = plain.to_lowercase();
            let small = match (lower.next(), lower.next()) {
                (Some(small), None) if small.len_utf8() == plain.len_utf8() => small,
                _ => plain,
            };
            normal.text.push(plain);
            normal.lower.push(small);
            normal.origins.resize(normal.text.len(), at);
        }
        normal
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn lower(&self) -> &str {
        &self.lower
    }

    /// Where a place of the plain text is in the source. The end of a range takes the invisible with it.
    pub(super) fn origin(&self, at: usize) -> usize {
        if self.origins.is_empty() && self.text.len() == self.source {
            return at.min(self.source);
        }
        self.origins.get(at).copied().unwrap_or(self.source)
    }
}

/// Zero-width, directional and variation characters, soft hyphens, accents written apart, tags.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e01ef}')
}

/// Letters with an accent, and what they are without.
const ACCENTS: [(&str, char); 42] = [
    ("ÀÁÂÃÄÅĀĂĄǍ", 'A'),
    ("àáâãäåāăąǎ", 'a'),
    ("ÇĆĈĊČ", 'C'),
    ("çćĉċč", 'c'),
    ("ĎĐÐ", 'D'),
    ("ďđð", 'd'),
    ("ÈÉÊËĒĔĖĘĚ", 'E'),
    ("èéêëēĕėęě", 'e'),
    ("ĜĞĠĢ", 'G'),
    ("ĝğġģ", 'g'),
    ("ĤĦ", 'H'),
    ("ĥħ", 'h'),
    ("ÌÍÎÏĨĪĬĮİ", 'I'),
    ("ìíîïĩīĭįı", 'i'),
    ("Ĵ", 'J'),
    ("ĵ", 'j'),
    ("Ķ", 'K'),
    ("ķ", 'k'),
    ("ĹĻĽĿŁ", 'L'),
    ("ĺļľŀł", 'l'),
    ("ÑŃŅŇ", 'N'),
    ("ñńņňŉ", 'n'),
    ("ÒÓÔÕÖØŌŎŐ", 'O'),
    ("òóôõöøōŏő", 'o'),
    ("ŔŖŘ", 'R'),
    ("ŕŗř", 'r'),
    ("ŚŜŞŠȘ", 'S'),
    ("śŝşšșß", 's'),
    ("ŢŤŦȚ", 'T'),
    ("ţťŧț", 't'),
    ("ÙÚÛÜŨŪŬŮŰŲ", 'U'),
    ("ùúûüũūŭůűų", 'u'),
    ("Ŵ", 'W'),
    ("ŵ", 'w'),
    ("ÝŶŸ", 'Y'),
    ("ýŷÿ", 'y'),
    ("ŹŻŽ", 'Z'),
    ("źżž", 'z'),
    ("’‘ʼ＇´`ʹ′", '\''),
    ("‐‑‒–—―−﹣－", '-'),
    ("“”„″", '"'),
    ("＠﹫", '@'),
];
/// Letters of other scripts that look like Latin ones.
const CYRILLIC_AND_GREEK: &str = "АаВЕеЅѕІіЈјКкМНОоРрСсТуУХхҺһԁԛԜԝɡΑαΒΕΖΗΙιΚκΜΝΟοΡρΤΥυΧχνɑӀӏ";
const LOOK_LIKE: &str = "AaBEeSsIiJjKkMHOoPpCcTyYXxHhdqWwgAaBEZHIiKkMNOoPpTYuXxvaIl";
/// First letters of runs of small or circled ones.
const RUNS: [(u32, u32, char); 5] =
    [(0x24b6, 26, 'A'), (0x24d0, 26, 'a'), (0x1f130, 26, 'A'), (0x1f150, 26, 'A'), (0x1f170, 26, 'A')];
/// Zeros of digits: Arabic, Persian, Devanagari, full width; superscripts and subscripts from four on.
const ZEROS: [u32; 6] = [0x660, 0x6f0, 0x966, 0xff10, 0x2070, 0x2080];

fn plain(c: char) -> char {
    if c.is_ascii() {
        return c;
    }
    // Of a unit: micrograms are no word.
    if matches!(c, '\u{b5}' | '\u{3bc}') {
        return 'u';
    }
    if c.is_whitespace() {
        return if c == '\u{85}' || c == '\u{2028}' || c == '\u{2029}' { '\n' } else { ' ' };
    }
    let code = c as u32;
    // Full width.
    if (0xff01..=0xff5e).contains(&code) {
        return char::from_u32(code - 0xfee0).unwrap_or(c);
    }
    // Mathematical letters: thirteen alphabets of fifty-two; then digits, five times ten.
    if (0x1d400..0x1d6a4).contains(&code) {
        let letter = (code - 0x1d400) % 52;
        let (first, at) = if letter < 26 { ('A', letter) } else { ('a', letter - 26) };
        return char::from_u32(first as u32 + at).unwrap_or(c);
    }
    if (0x1d7ce..=0x1d7ff).contains(&code) {
        return char::from_u32(0x30 + (code - 0x1d7ce) % 10).unwrap_or(c);
    }
    if let Some(zero) = ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code)) {
        return char::from_u32(0x30 + code - zero).unwrap_or(c);
    }
    if let Some((start, _, first)) = RUNS.iter().find(|(start, n, _)| (*start..start + n).contains(&code)) {
        return char::from_u32(*first as u32 + code - start).unwrap_or(c);
    }
    if let Some((_, plain)) = ACCENTS.iter().find(|(accented, _)| accented.contains(c)) {
        return *plain;
    }
    let latin = CYRILLIC_AND_GREEK.chars().zip(LOOK_LIKE.chars()).find(|(look, _)| *look == c);
    // Bullets and the like stand between sentences.
    latin.map_or(if c.is_alphanumeric() { c } else { '*' }, |(_, latin)| latin)
}

/// The form in which misread characters are alike: `J0HN`, `john` and `jOhn`; `rn` and `m`.
pub(super) fn skeleton(lower: &str) -> String {
    let mut out = String::with_capacity(lower.len());
    for c in lower.chars() {
        out.push(match c {
            '0' => 'o',
            '1' | 'i' | '|' | '!' => 'l',
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '6' | '9' => 'g',
            '7' => 't',
            '8' => 'b',
            '\'' | '-' => continue,
            c => c,
        });
    }
    if out.contains("rn") || out.contains("vv") { out.replace("rn", "m").replace("vv", "w") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_alike_is_alike() {
        assert_eq!(CYRILLIC_AND_GREEK.chars().count(), LOOK_LIKE.chars().count());
        for (written, read) in [
            ("Jo\u{200b}hn", "john"),
            ("Ｊｏｈｎ", "john"),
            ("Jоhn", "john"),
            ("𝐉𝐨𝐡𝐧", "john"),
            ("Müller", "muller"),
            ("Mu\u{308}ller", "muller"),
            ("٥٥٥", "555"),
            ("O’Brien", "o'brien"),
        ] {
            assert_eq!(Normal::of(written).lower(), read, "{written}");
        }
        assert_eq!(skeleton("j0hn"), skeleton("john"));
        assert_eq!(skeleton("rnary"), skeleton("mary"));
    }

    #[test]
    fn places_lead_back_to_the_source() {
        let source = "é\u{200b}X Müller.";
        let normal = Normal::of(source);
        let at = normal.lower().find("muller").unwrap();
        assert_eq!(source.get(normal.origin(at)..normal.origin(at + 6)), Some("Müller"));
        assert_eq!(normal.origin(normal.text().len()), source.len());
    }
}
