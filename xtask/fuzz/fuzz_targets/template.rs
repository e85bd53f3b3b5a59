//! See `properties/template.rs`.

#![no_main]

#[path = "../properties/template.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|text: &str| property::holds(text));
