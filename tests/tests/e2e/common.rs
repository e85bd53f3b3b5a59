//! The common paths of every service: health, OpenAPI document, request ids, and problems for
//! unknown paths.

use e2e::{Api, harness, unique};

const SERVICES: [&str; 2] = ["todo", "users"];

#[tokio::test]
async fn services_are_alive_and_ready() {
    let stack = harness::stack().await;
    for service in SERVICES {
        let api = Api::retrying(&stack, service).await;
        assert_eq!(api.get("/healthz").await.expect(200).json()["status"], "alive");
        assert_eq!(api.get("/readyz").await.expect(200).json()["status"], "ready");
    }
}

#[tokio::test]
async fn services_describe_their_paths() {
    let stack = harness::stack().await;
    for (service, path) in SERVICES.into_iter().zip(["/lists/{username}", "/users/{username}"]) {
        let document =
            Api::retrying(&stack, service).await.get("/openapi.json").await.expect(200).json();
        assert!(document["openapi"].as_str().is_some_and(|v| v.starts_with("3.")), "{document}");
        assert!(document["paths"][path]["get"].is_object(), "{path} in {document}");
    }
}

#[tokio::test]
async fn unknown_path_or_method_is_a_problem() {
    let stack = harness::stack().await;
    for service in SERVICES {
        let api = Api::retrying(&stack, service).await;
        let path = format!("/{}", unique("nowhere"));
        let body = api.get(&path).await.problem(404);
        assert!(body["detail"].as_str().unwrap().contains(&path), "{body}");
        let answer = api.send(api.request("DELETE", "/")).await;
        assert!(answer.header("allow").contains("GET"), "{answer:?}");
        answer.problem(405);
    }
}

#[tokio::test]
async fn request_id_is_kept_or_generated() {
    let stack = harness::stack().await;
    for service in SERVICES {
        let api = Api::retrying(&stack, service).await;
        let id = unique("request");
        let answer = api.send(api.request("GET", "/").header("x-request-id", &id)).await;
        assert_eq!(answer.header("x-request-id"), id);
        let (one, other) = (api.get("/").await, api.get("/").await);
        assert!(!one.header("x-request-id").is_empty());
        assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    }
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let stack = harness::stack().await;
    for service in ["todo", "users", "web"] {
        let api = Api::retrying(&stack, service).await;
        let text = api.get("/metrics").await.expect(200).text;
        assert!(text.contains("# TYPE http_server_request_duration_seconds histogram"), "{text}");
        let ready = "http_server_request_duration_seconds_count{route=\"/readyz\",method=\"GET\"";
        assert!(text.contains(ready), "`{service}`: {text}");
    }
}

#[tokio::test]
async fn head_has_no_body() {
    let stack = harness::stack().await;
    for service in SERVICES {
        let api = Api::retrying(&stack, service).await;
        let answer = api.send(api.request("HEAD", "/")).await.expect(200);
        assert_eq!(answer.text, "");
    }
}
