#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| deid::text::fuzz_written(input));
