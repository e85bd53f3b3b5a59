//! Documents made from handlers: answers, problems, schemas and references.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::Problem;

crate::answer! {
    /// A thing to describe.
    struct Thing {
        /// Its unique number.
        id: i64 = 7,
        due: Option<String> = "2026-12-31",
    }
}

async fn read(_: Path<String>, _: BaseUrl) -> Result<Json<Vec<Thing>>, Problem> {
    Err(Problem::internal())
}

async fn create(_: RequestContext) -> Result<Created<Thing>, Problem> {
    Err(Problem::internal())
}

async fn delete(_: State<()>) -> StatusCode {
    StatusCode::NO_CONTENT
}

fn about() -> About {
    About { name: "things", version: "1.0.0", description: "Things." }
}

fn entry(method: &'static str, path: &'static str, describe: fn() -> Operation) -> Entry {
    Entry { method, path, summary: "Do it", describe, failures: vec![StatusCode::CONFLICT] }
}

fn of<A, H: Described<A>>(_: H) -> fn() -> Operation {
    H::operation
}

fn made() -> Value {
    let entries = [
        entry("get", "/things/{name}", of(read)),
        entry("post", "/things", of(create)),
        entry("delete", "/things", of(delete)),
    ];
    let text = document(about(), &[("name", "The name", "a")], &entries);
    serde_json::from_str(&text).unwrap()
}

/// The statuses in the answers of an operation.
fn statuses(operation: &Value) -> Vec<&str> {
    operation["responses"].as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn handlers_describe_paths_answers_and_problems() {
    let made = made();
    let read = &made["paths"]["/things/{name}"]["get"];
    assert_eq!(statuses(read), ["200", "400", "403", "404", "409", "421"]);
    assert_eq!(read["operationId"], "tests_read");
    let list = &read["responses"]["200"]["content"]["application/json"];
    assert_eq!(list["schema"]["items"]["$ref"], "#/components/schemas/Thing");
    assert_eq!(list["example"], json!([{"id": 7, "due": "2026-12-31"}]));
    let parameter = &made["paths"]["/things/{name}"]["parameters"][0];
    assert_eq!((&parameter["name"], &parameter["example"]), (&json!("name"), &json!("a")));
    let create = &made["paths"]["/things"]["post"];
    assert_eq!(statuses(create), ["201", "400", "403", "409", "421"]);
    assert!(create["responses"]["201"]["headers"]["Location"].is_object(), "{create}");
    assert_eq!(
        statuses(&made["paths"]["/things"]["delete"]),
        ["204", "400", "403", "409", "421", "500", "503"]
    );
}

#[test]
fn schemas_name_absent_fields() {
    let made = made();
    let thing = &made["components"]["schemas"]["Thing"];
    assert_eq!(thing["required"], json!(["id"]));
    assert_eq!(
        thing["properties"]["id"],
        json!({"type": "integer", "description": "Its unique number."})
    );
    let written = |due: Option<&str>| {
        serde_json::to_value(Thing { id: 1, due: due.map(str::to_owned) }).unwrap()
    };
    assert_eq!(written(None), json!({"id": 1}));
    assert_eq!(written(Some("x")), json!({"id": 1, "due": "x"}));
    let map = BTreeMap::<String, Vec<String>>::schema(&mut Components::default());
    assert_eq!(map["additionalProperties"]["items"]["type"], "string");
}

#[test]
fn every_reference_has_a_target() {
    let made = made();
    let mut seen = 0;
    let mut visit = vec![&made];
    while let Some(value) = visit.pop() {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            assert!(made.pointer(target.trim_start_matches('#')).is_some(), "{target}");
            seen += 1;
        }
        visit.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        visit.extend(value.as_array().into_iter().flatten());
    }
    assert!(seen > 5, "{seen}");
}

#[test]
fn operations_are_called_with_every_mistake() {
    let document = json!({
        "paths": {"/things/{name}": {
            "parameters": [],
            "get": {"responses": {"200": {}, "404": {}}},
            "patch": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/x/Thing"}}}},
                "responses": {"422": {}},
            },
        }},
        "components": {"schemas": {"Thing": {"examples": [{"id": 7}]}}},
    });
    let operations = operations(&document.to_string());
    let [get, patch] = &operations[..] else { panic!("{operations:?}") };
    assert_eq!((&*get.method, &*patch.method), ("GET", "PATCH"));
    assert_eq!((get.problems.len(), patch.problems.first()), (1, Some(&422)));
    let target = get.target(&[("name", "a")]);
    assert_eq!(target, "/things/a");
    let mistakes = |operation: &Documented| {
        let requests = operation.mistakes(&target);
        requests.iter().map(|request| request.uri().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(mistakes(get)[6..], ["/things/%FF", "/things/%00", "/things/%01"]);
    assert_eq!(mistakes(patch).len(), mistakes(get).len() + 5);
    let typed =
        |operation: &Documented| operation.request("/").headers().contains_key("content-type");
    assert!(!typed(get) && typed(patch));
}

#[test]
fn drift_of_the_document_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("openapi.json");
    std::fs::write(&path, "{\n1\n}\n").unwrap();
    check(&path, "{\n1\n}\n");
    let drifted = std::panic::catch_unwind(|| check(&path, "{\n2\n}\n"));
    assert!(std::env::var_os("XTASK_BLESS").is_some() || drifted.is_err());
}
