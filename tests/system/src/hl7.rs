//! Messages of patients who do not exist, and just enough reading to look at answers. Shares no code with the
//! gateway.

/// A field of the first segment of this name, as it stands. MSH-1 is the separator itself.
pub fn field<'m>(message: &'m [u8], segment: &str, number: usize) -> Option<&'m [u8]> {
    let separator = *message.get(3)?;
    let line = message.split(|b| *b == b'\r').find(|line| line.starts_with(segment.as_bytes()))?;
    let place = if segment == "MSH" { number.checked_sub(1)? } else { number };
    line.split(|b| *b == separator).nth(place)
}

/// The identifiers of patient `n` in [`admission`] and [`observation`]: what must stay where policy keeps it.
pub fn identifiers(n: u64) -> [String; 5] {
    [
        format!("ZQFAM{n:04}X"),
        format!("ZQGIV{n:04}X"),
        format!("77{n:06}13"),
        format!("555-01{n:04}"),
        format!("19{:02}{:02}{:02}", 30 + n % 60, 1 + n % 12, 1 + n % 28),
    ]
}

/// An admission (ADT^A01) of patient `n`.
pub fn admission(control_id: &str, n: u64) -> Vec<u8> {
    let [family, given, mrn, phone, born] = identifiers(n);
    format!(
        "MSH|^~\\&|ADT1|WARD3|LAKE|CLOUD|20261101083000+0100||ADT^A01^ADT_A01|{control_id}|P|2.5.1\r\
         EVN|A01|20261101083000+0100\r\
         PID|1||{mrn}^^^ZQHOSP^MR||{family}^{given}||{born}|F|||7 ZQSTREET^^ZQTOWN^NY^10001||{phone}\r\
         PV1|1|I|W3^312^1||||1234567890^ZQDOCTOR^ANNA|||MED||||1|||||V{mrn}\r"
    )
    .into_bytes()
}

/// A result (ORU^R01) of patient `n`: a pulse of 60 and the last two digits of `n`.
pub fn observation(control_id: &str, n: u64) -> Vec<u8> {
    let [family, given, mrn, phone, born] = identifiers(n);
    format!(
        "MSH|^~\\&|LAB|WARD3|LAKE|CLOUD|20261101083000+0100||ORU^R01^ORU_R01|{control_id}|P|2.5.1\r\
         PID|1||{mrn}^^^ZQHOSP^MR||{family}^{given}||{born}|F|||7 ZQSTREET^^ZQTOWN^NY^10001||{phone}\r\
         OBR|1||{control_id}|8867-4^Heart rate^LN|||20261101083000+0100\r\
         OBX|1|NM|8867-4^Heart rate^LN||{}|/min^^UCUM|50-120|N|||F|||20261101083000+0100\r",
        60 + n % 40
    )
    .into_bytes()
}

/// An [`observation`] with a note of a quarter of a megabyte that compresses by no more than a quarter: five fill a segment
/// of one megabyte.
pub fn large(control_id: &str, n: u64) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut message = observation(control_id, n);
    message.extend_from_slice(b"NTE|1||");
    let mut state = n + 1;
    message.extend((0..255_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        DIGITS[(state >> 58) as usize]
    }));
    message.push(b'\r');
    message
}
