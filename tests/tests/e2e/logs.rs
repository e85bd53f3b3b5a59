//! The logs of services, through the handles for tests.

use e2e::{Api, harness, unique};

#[tokio::test]
async fn request_and_trace_appear_in_both_logs() {
    let stack = harness::calm().await;
    let users = Api::of(&stack, "users").await;
    let id = unique("trace");
    let logs = ["users", "todo"].map(|service| stack.service(service).logs());
    let logs = logs.map(|logs| logs.clone().after(logs.mark().unwrap()));
    let trace = format!("{:032x}", u128::from(std::process::id()));
    let request = users.request("GET", "/users/aniket/lists").header("x-request-id", &id);
    let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    users.send(request).await.expect(200);
    for logs in logs {
        // The log line follows the answer, so it may be late.
        let line = logs.wait_for(&id).await.unwrap();
        for part in [&*id, &trace, "GET /", " 200 in "] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}
