#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| hl7::fuzz::batch(input));
