//! See `properties/manifest.rs`.

#![no_main]

#[path = "../properties/manifest.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|text: &str| {
    property::holds(&[text]);
});
