//! A template of any text: its parts, put together again, are the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xtask_core::template::{Part, parse};

fuzz_target!(|text: &str| {
    let mut at = 0;
    for part in parse(text) {
        match part {
            Part::Literal(literal) => {
                let dollar = literal == "$" && text[at..].starts_with("$$");
                assert!(dollar || text[at..].starts_with(literal), "{literal:?} at {at}");
                at += if dollar { 2 } else { literal.len() };
            }
            Part::Reference { bytes, .. } | Part::Fault { bytes, .. } => {
                assert_eq!(bytes.start, at, "there is a gap");
                assert!(text.get(bytes.clone()).is_some_and(|part| part.starts_with('$')));
                at = bytes.end;
            }
        }
    }
    assert_eq!(at, text.len(), "the end is missing");
});
