//! The collector of fields, every rule, and the schema of a body.

use serde_json::json;

use super::names::{check_name, check_username};
use super::rules::{self, flag, flag_or_bit, name, text, username};
use super::*;

crate::body! {
    /// A body with one field for each rule.
    struct Sample {
        /// One line of text.
        title: String = text(5) => "milk",
        completed: Option<bool> = flag() => true,
        order: Option<i64> = integer(0..=9) => 1,
        items: Option<Vec<String>> = texts(9, 5) => ["a"],
        due: Option<Option<String>> = date() => "2026-12-31",
    }
    ignored: url;
    read_only: id;
}

fn read(value: Value) -> Result<Sample, Vec<String>> {
    let problem = match Sample::read(Fields::new(value).unwrap()) {
        Ok(sample) => return Ok(sample),
        Err(problem) => problem,
    };
    assert_eq!(problem.status, 422);
    Err(problem.errors.iter().map(|e| format!("{} {}", e.field, e.detail)).collect())
}

/// The mistake in a single value, or nothing.
fn mistake<R: rules::Rule>(rule: &R, value: Value) -> Option<String> {
    rule.read(value).err().map(|(_, mistake)| mistake.to_string())
}

#[test]
fn every_mistake_is_reported_with_its_field() {
    let found = read(json!({"completed": "yes", "order": 10, "items": ["a", 1], "due": 5}));
    assert_eq!(
        found.unwrap_err(),
        [
            "title is missing",
            "completed must be true or false, not text",
            "order must be a whole number from 0 to 9",
            "items[1] must be text, not a number",
            "due must be a day such as 2026-12-31, or null",
        ]
    );
}

#[test]
fn unknown_fields_are_mistakes_unless_ignored() {
    let found = read(json!({"title": "x", "compleated": true, "url": 1, "id": 2, "titel": "x"}));
    let unknown = "is not a field of this request";
    assert_eq!(
        found.unwrap_err(),
        [
            "id cannot be changed".to_owned(),
            format!("compleated {unknown}"),
            format!("titel {unknown}"),
        ]
    );
}

#[test]
fn absent_fields_differ_from_null() {
    let sample = read(json!({"title": "x"})).unwrap();
    assert_eq!((sample.completed, sample.due), (None, None));
    assert_eq!(read(json!({"title": "x", "due": null})).unwrap().due, Some(None));
    assert_eq!(read(json!({"title": null})).unwrap_err(), ["title must be text, not null"]);
}

#[test]
fn schema_has_the_limits_of_the_rules() {
    use crate::openapi::{Components, Schema as _};
    let mut components = Components::default();
    let reference = Sample::schema(&mut components);
    assert_eq!(reference, json!({"$ref": "#/components/schemas/Sample"}));
    let schema = components.into_schemas()["Sample"].clone();
    assert_eq!(schema["description"], "A body with one field for each rule.");
    assert_eq!(
        (&schema["required"], &schema["additionalProperties"]),
        (&json!(["title"]), &json!(false))
    );
    let title = &schema["properties"]["title"];
    assert_eq!(
        (&title["maxLength"], &title["description"]),
        (&json!(5), &json!("One line of text."))
    );
    assert_eq!(schema["properties"]["order"]["maximum"], 9);
    assert!(schema["properties"]["url"].is_object(), "{schema}");
    assert!(schema["properties"].get("id").is_none(), "{schema}");
    // The example is a correct body.
    assert!(read(schema["examples"][0].clone()).is_ok());
}

#[test]
fn text_limit_counts_characters_and_blank_is_empty() {
    assert_eq!(mistake(&text(3), json!("äöü")), None);
    assert_eq!(mistake(&text(3), json!(" ")).unwrap(), "must not be empty");
    assert_eq!(mistake(&text(2), json!("äöü")).unwrap(), "has 3 characters, at most 2");
}

#[test]
fn names_unusable_in_paths_are_rejected() {
    for name in [".", "..", "a\nb", " "] {
        assert!(check_name(name, 10).is_err(), "{name:?}");
    }
    assert_eq!(mistake(&name(20), json!("shopping / food")), None);
}

#[test]
fn usernames_that_look_alike_are_rejected() {
    for name in [
        "a\u{200b}b",
        "a\u{202e}b",
        "\u{3164}",
        "a\u{a0}b",
        " a",
        "a ",
        "a\u{fe0f}",
        "\u{feff}a",
        "e\u{301}",
        "\u{fb01}",
        "\u{ff41}",
        "a  b",
        "a\u{2800}b",
        "a\u{2065}b",
        "a\u{e000}b",
        "a\u{fffc}b",
        "a\u{16fe4}b",
        "\u{1d159}a",
        "\u{301}a",
        "\u{20e3}",
    ] {
        assert!(check_username(name, 10).is_err(), "{name:?}");
    }
    for name in ["luckas", "saurabh badhwar", "\u{e9}", "ß", "日本", "👍"] {
        assert_eq!(check_username(name, 20), Ok(()), "{name:?}");
    }
    let found = mistake(&username(10), json!("e\u{301}"));
    assert_eq!(found.unwrap(), "must be in the Unicode form NFKC: \"é\"");
}

#[test]
fn dates_exist_in_the_calendar() {
    for day in ["2026-12-31", "2024-02-29", "2000-02-29", "0001-01-01"] {
        assert!(rules::is_date(day), "{day}");
    }
    for wrong in [
        "",
        "2026-2-3",
        "2026-13-01",
        "2025-02-29",
        "1900-02-29",
        "2026-04-31",
        "2026-00-01",
        "2026-01-00",
        "2026/01/01",
        "+026-01-01",
        "2026-01-011",
        "\u{661}026-01-01",
    ] {
        assert!(!rules::is_date(wrong), "{wrong}");
    }
}

#[test]
fn integers_may_be_written_as_floats() {
    let rule = rules::integer(-9..=MAX_INTEGER);
    for (number, expected) in [(json!(5), 5), (json!(5.0), 5), (json!(-9e0), -9)] {
        assert_eq!(rules::Rule::read(&rule, number), Ok(expected));
    }
    for wrong in [json!(1.5), json!(1e300), json!(9007199254740992_u64), json!(-10.0)] {
        assert!(mistake(&rule, wrong).unwrap().starts_with("must be a whole number"));
    }
}

#[test]
fn flag_or_bit_reads_zero_and_one() {
    assert_eq!(rules::Rule::read(&flag_or_bit(), json!(1)), Ok(true));
    assert_eq!(rules::Rule::read(&flag_or_bit(), json!(false)), Ok(false));
    assert_eq!(mistake(&flag_or_bit(), json!(2)).unwrap(), "must be 0, 1, true or false");
    assert_eq!(mistake(&flag(), json!(1)).unwrap(), "must be true or false, not a number");
}

#[test]
fn non_object_body_is_rejected() {
    assert_eq!(Fields::new(json!([])).unwrap_err().status, 422);
}
