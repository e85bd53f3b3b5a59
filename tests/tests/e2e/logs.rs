//! The logs of services, through the handles for tests.

use e2e::{Api, harness, unique};

#[tokio::test]
async fn request_id_appears_in_both_logs() {
    let stack = harness::calm().await;
    let users = Api::of(&stack, "users").await;
    let id = unique("trace");
    let logs = ["users", "todo"].map(|service| stack.service(service).logs());
    let logs = logs.map(|logs| logs.clone().after(logs.mark().unwrap()));
    let request = users.request("GET", "/users/aniket/lists").header("x-request-id", &id);
    users.send(request).await.expect(200);
    for logs in logs {
        // The log line follows the answer, so it may be late.
        assert!(logs.wait_for(&id).await.unwrap().contains(&id));
    }
}
