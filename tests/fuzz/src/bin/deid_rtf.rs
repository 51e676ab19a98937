#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| deid::documents::fuzz_rtf(input));
