//! See `properties/protocol.rs`.

#![no_main]

#[path = "../properties/protocol.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|line: &[u8]| property::holds(line));
