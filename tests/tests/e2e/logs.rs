//! The logs of services, as tests read them through their handles.

use std::time::Duration;

use e2e::{Api, harness, unique};
use tokio::time::{Instant, sleep};

/// A line is written after its answer, so it may come a moment later.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_request_is_found_by_its_id_in_the_logs_of_both_services_that_it_passed() {
    let stack = harness::stack().await;
    let users = Api::of(&stack, "users").await;
    let id = unique("trace");
    let request = users.request("GET", "/users/aniket/lists").header("x-request-id", &id);
    users.send(request).await.expect(200);
    for service in ["users", "todo"] {
        let service = stack.service(service);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = service.logs().unwrap();
            if lines.iter().any(|line| line.contains(&id)) {
                break;
            }
            let name = service.name();
            assert!(Instant::now() < deadline, "{id} is not in the log of {name}: {lines:#?}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}
