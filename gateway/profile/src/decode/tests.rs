use super::*;
use crate::{Catalogue, Sfloat, Vector};
use proptest::prelude::*;

/// Heart Rate Measurement (0x2A37), Bluetooth SIG Heart Rate Service 1.0, section 3.1: here as proof that the
/// language holds another device without a line of Rust.
const HEART_RATE: &str = include_str!("heart-rate.toml");

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn vector(payload: &str, expect: &[(&str, &str)]) -> String {
    let mut document = format!("case = \"heart rate\"\nderived = \"by hand\"\npayload = \"{payload}\"\n");
    for (metric, outcome) in expect {
        let codes = match *metric {
            "MDC_ECG_HEART_RATE" => "loinc = \"8867-4\"\nucum = \"/min\"",
            "MDC_ECG_TIME_PD_RR_GL" => "loinc = \"8637-1\"\nucum = \"ms\"",
            _ => "ucum = \"kJ\"",
        };
        document.push_str(&format!("[[expect]]\nmetric = \"{metric}\"\n{codes}\n{outcome}\n"));
    }
    document
}

#[test]
fn heart_rate_is_a_data_file() {
    let vectors = [
        // 60/min in one byte; contact not supported.
        vector("00 3C", &[("MDC_ECG_HEART_RATE", "value = 60")]),
        // 300/min in two bytes: 0x012C.
        vector("01 2C01", &[("MDC_ECG_HEART_RATE", "value = 300")]),
        // Contact supported (bit 2) and not detected (bit 1).
        vector("04 3C", &[("MDC_ECG_HEART_RATE", "absent = \"sensor-off\"")]),
        vector("06 3C", &[("MDC_ECG_HEART_RATE", "value = 60")]),
        // Energy expended 0x0064 = 100 kJ, then RR 1024/1024 s and 512/1024 s.
        vector(
            "18 3C 6400 0004 0002",
            &[
                ("MDC_ECG_HEART_RATE", "value = 60"),
                ("MDC_PHYS_ENERGY_EXPENDED", "value = 100"),
                ("MDC_ECG_TIME_PD_RR_GL", "value = 1000"),
                ("MDC_ECG_TIME_PD_RR_GL", "value = 500"),
            ],
        ),
        // RR flagged, none there: permitted, the device had none to send.
        vector("10 3C", &[("MDC_ECG_HEART_RATE", "value = 60")]),
    ];
    let named = vectors.iter().map(|document| ("heart-rate", document.as_str()));
    let profile = Profile::load(HEART_RATE, named).unwrap_or_else(|e| panic!("{e}"));

    let half = profile.decode(&[0x10, 0x3c, 0x00], None, at(0)).unwrap_err();
    assert_eq!(half.to_string(), "the frame ends inside field rr: 4 bytes are needed, 3 came");
    let ten: Vec<u8> = [0x10, 0x3c].into_iter().chain([1; 20]).collect();
    assert_eq!(profile.decode(&ten, None, at(0)), Err(DecodeError::Trailing { read: 16, got: 22 }));
}

#[test]
fn device_and_time_are_copied_and_nothing_else_is_invented() {
    let catalogue = Catalogue::builtin().unwrap();
    let plx = catalogue.get("bluetooth.plx").unwrap();
    let observations = plx.decode(&[0, 97, 0, 72, 0], Some("bed-12"), at(5)).unwrap();
    assert_eq!(observations.len(), 2);
    for observation in observations {
        assert_eq!(observation.device.as_deref(), Some("bed-12"));
        assert_eq!(observation.time, Some(TimeValue::Instant(at(5))));
        assert_eq!(observation.device_time, None);
    }
}

#[test]
fn errors_hold_no_content() {
    let catalogue = Catalogue::builtin().unwrap();
    let plx = catalogue.get("bluetooth.plx").unwrap();
    for payload in [&[][..], &[0x1f, 1, 2, 3], &[0, 97, 0, 72, 0, 123], &[0; 65]] {
        let error = plx.decode(payload, Some("bed-12"), at(0)).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("123") && !text.contains("bed-12"), "{text}");
    }
}

#[test]
fn negative_zero_is_zero() {
    let catalogue = Catalogue::builtin().unwrap();
    let plx = catalogue.get("bluetooth.plx").unwrap();
    // Mantissa 0 with exponent -1.
    let observations = plx.decode(&[0, 0, 0xf0, 72, 0], None, at(0)).unwrap();
    let Value::Number(number) = observations[0].value else { panic!("a number") };
    assert!(number == 0.0 && number.is_sign_positive());
}

/// The characteristic written a second time, forwards: what a device would send for given values.
fn encode(
    values: &[(i16, i8); 2],
    fast: Option<u32>,
    slow: Option<u32>,
    measurement: Option<u16>,
    device: Option<u32>,
) -> Vec<u8> {
    let mut frame = vec![
        u8::from(fast.is_some())
            | u8::from(slow.is_some()) << 1
            | u8::from(measurement.is_some()) << 2
            | u8::from(device.is_some()) << 3,
    ];
    for (mantissa, exponent) in values {
        frame.extend(Sfloat::from_decimal(*mantissa, *exponent).unwrap().0.to_le_bytes());
    }
    frame.extend(fast.into_iter().chain(slow).flat_map(u32::to_le_bytes));
    frame.extend(measurement.into_iter().flat_map(u16::to_le_bytes));
    frame.extend(device.into_iter().flat_map(|bits| bits.to_le_bytes().into_iter().take(3)));
    frame
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(payload in prop::collection::vec(any::<u8>(), 0..80)) {
        let catalogue = Catalogue::builtin().unwrap();
        for profile in catalogue.iter() {
            if let Ok(observations) = profile.decode(&payload, None, at(0)) {
                for observation in observations {
                    let Value::Number(number) = observation.value else { continue };
                    prop_assert!(number.is_finite());
                }
            }
        }
        let heart = Profile::compile(HEART_RATE).unwrap();
        drop(heart.decode(&payload, None, at(0)));
    }

    /// What was encoded comes back, in whatever company; a forced absence wins over every number.
    #[test]
    fn what_the_device_sent_comes_back(
        spo2 in 0_i16..=1000, rate in 0_i16..=2000,
        fast: Option<u32>, slow: Option<u32>, measurement: Option<u16>, device in prop::option::of(0_u32..1 << 24),
    ) {
        let catalogue = Catalogue::builtin().unwrap();
        let plx = catalogue.get("bluetooth.plx").unwrap();
        let frame = encode(&[(spo2, -1), (rate, -1)], fast, slow, measurement, device);
        let observations = plx.decode(&frame, None, at(0)).unwrap();
        prop_assert_eq!(observations.len(), 2 + 2 * usize::from(fast.is_some()) + 2 * usize::from(slow.is_some()));
        let off = device.unwrap_or(0) & (1 << 15 | 1 << 11 | 1 << 14 | 1 << 1) != 0
            || measurement.unwrap_or(0) & (1 << 12 | 1 << 13 | 1 << 15) != 0;
        for (observation, tenths) in observations.iter().zip([spo2, rate]) {
            match observation.value {
                Value::Number(number) => {
                    prop_assert!(!off);
                    prop_assert_eq!(number, f64::from(tenths) / 10.0);
                }
                Value::Absent(_) => prop_assert!(off),
            }
        }
        let test = measurement.unwrap_or(0) & (1 << 10 | 1 << 11) != 0;
        prop_assert_eq!(observations[0].quality == Quality::Test, test);
    }

    #[test]
    fn a_cut_frame_is_truncated(cut in 0_usize..20) {
        let catalogue = Catalogue::builtin().unwrap();
        let plx = catalogue.get("bluetooth.plx").unwrap();
        let everything = catalogue_vector("02-everything.toml");
        let error = plx.decode(&everything.payload()[..cut], None, at(0)).unwrap_err();
        prop_assert_eq!(error.as_str(), "truncated");
    }
}

fn catalogue_vector(name: &str) -> Vector {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../firmware-profiles/devices/bluetooth-plx/vectors")
        .join(name);
    Vector::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}
