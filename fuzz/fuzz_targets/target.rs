#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bento_gateway_fuzz::target(data));
