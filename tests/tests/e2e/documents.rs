//! The OpenAPI documents against the running services: each documented problem that any operation
//! can have is provoked for every operation. Problems that need a special state have tests of
//! their own.

use e2e::{Answer, Api, harness, unique};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

const SERVICES: [&str; 2] = ["todo", "users"];

/// The problems that are provoked here.
const PROVOKED: [u16; 7] = [400, 401, 403, 404, 413, 415, 422];

/// One operation of a document.
struct Operation {
    method: String,
    path: String,
    /// Whether callers may use a token, and need none.
    takes_token: bool,
    /// The example of its body.
    body: Option<Value>,
    answers: Vec<u16>,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in
            item.as_object().unwrap().iter().filter(|(k, _)| *k != "parameters")
        {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let schema = schema.as_str().and_then(|name| document.pointer(&name[1..]));
            let answers = operation["responses"].as_object().unwrap().keys();
            found.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                takes_token: operation["security"][0] == json!({}),
                body: schema.map(|schema| schema["examples"][0].clone()),
                answers: answers.map(|status| status.parse().unwrap()).collect(),
            });
        }
    }
    found
}

impl Operation {
    /// The path with this value of every parameter.
    fn at(&self, value: &str) -> String {
        let part =
            |part: &str| if part.starts_with('{') { value.to_owned() } else { part.to_owned() };
        self.path.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    /// An answer with this status. `token` belongs to a person without data.
    async fn provoke(&self, api: &Api, status: u16, token: &str) -> Answer {
        let unknown = unique("unknown");
        let mut path = self.at(&unknown);
        let (mut secret, mut media) = (None, "application/json");
        let mut body = self.body.as_ref().map(Value::to_string);
        match status {
            400 if body.is_some() => body = Some("{".to_owned()),
            400 if self.path.contains('{') => path = self.at("%FF"),
            400 => path.push_str("?limit=0"),
            // Other operations lack a session, or the password is wrong.
            401 if self.takes_token => secret = Some("a.b.c"),
            403 => secret = Some(token),
            // No stored name begins with a control character.
            404 => path = self.at("%01"),
            413 => body = Some(format!("{{\"title\": \"{}\"}}", "x".repeat(300_000))),
            415 => media = "text/plain",
            422 => body = Some(json!({"compleated": true}).to_string()),
            _ => {}
        }
        let mut request = api.request(&self.method, &path);
        if let Some(secret) = secret {
            request = request.bearer_auth(secret);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, media).body(body);
        }
        api.send(request).await
    }
}

#[tokio::test]
async fn every_operation_refuses_as_documented() {
    let stack = harness::calm().await;
    let users = Api::of(&stack, "users").await;
    let account = json!({"username": unique("bob"), "password": "correct horse"});
    let made = users.post("/accounts", &account).await.expect(201).json();
    let session = users.request("GET", "/session").bearer_auth(made["session"].as_str().unwrap());
    let session = users.send(session).await.expect(200).json();
    let token = session["token"].as_str().unwrap();
    for service in SERVICES {
        let api = Api::of(&stack, service).await;
        let document = api.get("/openapi.json").await.expect(200).json();
        let operations = operations(&document);
        assert!(operations.len() > 10, "{document}");
        for operation in operations {
            for status in operation.answers.iter().filter(|status| PROVOKED.contains(status)) {
                operation.provoke(&api, *status, token).await.problem(*status);
            }
        }
    }
}

#[tokio::test]
async fn examples_of_bodies_are_accepted() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let document = todo.get("/openapi.json").await.expect(200).json();
    let example = |name: &str| document["components"]["schemas"][name]["examples"][0].clone();
    let user = unique("ann");
    let list = todo.post(&format!("/lists/{user}"), &example("NewList")).await.expect(201).json();
    let items = list["items_url"].as_str().unwrap();
    let item = todo.post(items, &example("NewItem")).await.expect(201).json();
    let changed = todo.patch(item["url"].as_str().unwrap(), &example("ItemChange")).await;
    assert_eq!(changed.expect(200).json()["title"], example("ItemChange")["title"]);
    let renamed = todo.patch(list["url"].as_str().unwrap(), &example("ListChange")).await;
    assert_eq!(renamed.expect(200).json()["name"], example("ListChange")["name"]);
}

#[tokio::test]
async fn page_shows_the_document() {
    let stack = harness::stack().await;
    for service in SERVICES {
        let answer = Api::retrying(&stack, service).await.get("/docs").await.expect(200);
        assert!(answer.header("content-type").starts_with("text/html"), "{answer:?}");
        assert!(answer.text.contains("fetch(\"openapi.json\")"), "{answer:?}");
        // Everything is in the page.
        assert!(!answer.text.contains("https://"), "{answer:?}");
    }
}
