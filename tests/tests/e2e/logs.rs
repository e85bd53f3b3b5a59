//! The logs of services, as tests read them through their handles.

use e2e::{Api, harness, unique};

#[tokio::test]
async fn a_request_is_found_by_its_id_in_the_logs_of_both_services_that_it_passed() {
    let stack = harness::stack().await;
    let users = Api::of(&stack, "users").await;
    let id = unique("trace");
    let logs = ["users", "todo"].map(|service| stack.service(service).logs());
    let logs = logs.map(|logs| logs.clone().after(logs.mark().unwrap()));
    let request = users.request("GET", "/users/aniket/lists").header("x-request-id", &id);
    users.send(request).await.expect(200);
    for logs in logs {
        // A line is written after its answer, so it may come a moment later.
        assert!(logs.wait_for(&id).await.unwrap().contains(&id));
    }
}
