//! Accounts through all services: sign up, a token, own lists, and the key that signs tokens.

use e2e::{Answer, Api, Stack, harness, unique};
use serde_json::{Value, json};

/// A person with an account.
struct Person {
    users: Api,
    todo: Api,
    username: String,
    session: String,
}

impl Person {
    async fn sign_up(stack: &Stack) -> Self {
        let (users, todo) = (Api::of(stack, "users").await, Api::of(stack, "todo").await);
        let username = unique("ann");
        let account = json!({"username": username, "password": "correct horse"});
        let made = users.post("/accounts", &account).await.expect(201).json();
        let session = made["session"].as_str().unwrap().to_owned();
        Self { users, todo, username, session }
    }

    async fn session(&self, method: &str) -> Answer {
        let request = self.users.request(method, "/session").bearer_auth(&self.session);
        self.users.send(request).await
    }

    async fn token(&self) -> String {
        self.session("GET").await.expect(200).json()["token"].as_str().unwrap().to_owned()
    }
}

async fn send(api: &Api, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    let mut request = api.request(method, path).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(&body);
    }
    api.send(request).await
}

#[tokio::test]
async fn person_has_own_lists_in_every_service() {
    let stack = harness::calm().await;
    let (ann, bob) = (Person::sign_up(&stack).await, Person::sign_up(&stack).await);
    let (token, foreign) = (ann.token().await, bob.token().await);
    let lists = format!("/lists/{}", ann.username);
    let of_person = format!("/users/{}/lists", ann.username);
    let home = json!({"name": "home", "items": ["diary"]});
    send(&ann.todo, &token, "POST", &lists, Some(home)).await.expect(201);
    for (api, path) in [(&ann.todo, &lists), (&ann.users, &of_person)] {
        let own = send(api, &token, "GET", path, None).await.expect(200).json();
        assert_eq!(own, json!({"home": ["diary"]}), "{path}");
        send(api, &foreign, "GET", path, None).await.problem(403);
        send(api, "a.b.c", "GET", path, None).await.problem(401);
    }
    // Without a token there are only the lists of open owners.
    ann.todo.get(&lists).await.problem(404);
    ann.users.get(&of_person).await.problem(401);
    // A person who leaves takes the lists along.
    let person = format!("/users/{}", ann.username);
    send(&ann.users, &token, "DELETE", &person, None).await.expect(204);
    send(&ann.todo, &token, "GET", &lists, None).await.problem(404);
    ann.session("GET").await.problem(401);
}

#[tokio::test]
async fn wrong_password_is_refused() {
    let stack = harness::calm().await;
    let ann = Person::sign_up(&stack).await;
    let sign_in = async |password: &str| {
        let body = json!({"username": ann.username, "password": password});
        ann.users.post("/sessions", &body).await
    };
    let answer = sign_in("wrong horse").await;
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    answer.problem(401);
    let made = sign_in("correct horse").await.expect(201).json();
    assert_eq!(made["username"], ann.username);
    ann.session("DELETE").await.expect(204);
    ann.session("GET").await.problem(401);
}

#[tokio::test]
async fn session_and_key_survive_killed_services() {
    let stack = harness::exclusive().await;
    let ann = Person::sign_up(&stack).await;
    let before = ann.token().await;
    for name in ["users", "todo"] {
        let service = stack.service(name);
        let run = service.status().await.unwrap().run;
        service.kill().await.unwrap();
        service.wait_ready_after(run).await.unwrap();
    }
    let after = ann.token().await;
    for token in [&before, &after] {
        let path = format!("/summaries/{}", ann.username);
        let lists = send(&ann.todo, token, "GET", &path, None).await.expect(200);
        assert_eq!(lists.json(), json!([]));
    }
}

#[tokio::test]
#[cfg(unix)]
async fn signing_key_is_private() {
    use std::os::unix::fs::MetadataExt as _;
    let stack = harness::stack().await;
    let key = stack.paths().data().join("signing-key");
    assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(&key).unwrap();
    for name in ["signing-key", "users", "todo"] {
        let lines = stack.service(name).logs().lines().unwrap();
        assert!(!lines.iter().any(|line| line.contains(key.trim())), "the log of `{name}`");
    }
}
