//! The client against a service that closes connections before it answers.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use axum::http::HeaderMap;
use kit::client::{CallError, Timeouts};
use kit::{CircuitLimits, Client, RequestContext};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn listen() -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    (listener, Client::new("URL", &base, Timeouts::default()).unwrap())
}

/// Reads one request and returns its first line.
async fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !text.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let length = stream.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "the client closed the connection");
        text.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&text).lines().next().unwrap().to_owned()
}

/// Answers once, reads a second request on the same connection, and closes it without an answer.
/// Then answers on the next connection.
fn close_the_reused_connection(listener: TcpListener) -> JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut requests = Vec::new();
        let (mut first, _) = listener.accept().await.unwrap();
        requests.push(request(&mut first).await);
        first.write_all(ANSWER).await.unwrap();
        requests.push(request(&mut first).await);
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        requests.push(request(&mut second).await);
        second.write_all(ANSWER).await.unwrap();
        requests
    })
}

async fn get(client: &Client) -> Result<String, CallError> {
    Ok(client.get(&["a b", "c"], &RequestContext::start()).await?.text().await?)
}

#[tokio::test]
async fn get_is_retried_on_a_fresh_connection() {
    let (listener, client) = listen().await;
    let service = close_the_reused_connection(listener);
    for _ in 0..2 {
        assert_eq!(get(&client).await.unwrap(), "ok");
    }
    assert_eq!(service.await.unwrap(), ["GET /a%20b/c HTTP/1.1"; 3]);
}

#[tokio::test]
async fn post_uses_a_fresh_connection_without_retry() {
    let (listener, client) = listen().await;
    let service = tokio::spawn(async move {
        let (mut kept, _) = listener.accept().await.unwrap();
        request(&mut kept).await;
        kept.write_all(ANSWER).await.unwrap();
        let (mut fresh, _) = listener.accept().await.unwrap();
        let line = request(&mut fresh).await;
        drop(fresh);
        // A retry would arrive here, well before the timeout.
        let retried = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
        (line, retried.is_ok())
    });
    assert_eq!(get(&client).await.unwrap(), "ok");
    let sent = client.post(&["x"], &RequestContext::start(), &json!({})).await;
    assert!(sent.is_err());
    assert_eq!(service.await.unwrap(), ("POST /x HTTP/1.1".to_owned(), false));
}

#[tokio::test]
async fn failures_in_a_row_open_the_circuit() {
    const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n";
    let (listener, client) = listen().await;
    let limits = CircuitLimits { failures: 3, pause: Duration::from_millis(20) };
    let client = client.with_circuit(limits);
    let service = tokio::spawn(async move {
        // Two calls get no answer, the third and the first trial are refused, then it is back.
        for answer in [b"", b"", UNAVAILABLE, UNAVAILABLE, ANSWER] {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            stream.write_all(answer).await.unwrap();
        }
        drop(listener);
    });
    let post = async || client.post(&["x"], &RequestContext::start(), &json!({})).await;
    for _ in 0..2 {
        assert!(matches!(post().await, Err(CallError::Failed(_))));
        assert!(!client.is_open());
    }
    assert_eq!(post().await.unwrap().status(), 503);
    assert!(matches!(post().await, Err(CallError::Open)));
    let mut trials = Vec::new();
    while client.is_open() {
        if let Ok(answer) = post().await {
            trials.push(answer.status().as_u16());
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(trials, [503, 200]);
    service.await.unwrap();
    for _ in 0..3 {
        assert!(matches!(post().await, Err(CallError::Failed(_))));
    }
    assert!(matches!(post().await, Err(CallError::Open)));
}

#[tokio::test]
async fn stream_outlives_the_timeout_of_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let answer = Duration::from_millis(100);
    let timeouts = Timeouts { answer, ..Timeouts::default() };
    let client = Client::new("URL", &base, timeouts).unwrap();
    let service = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst").await.unwrap();
        // The stream is silent for longer than an answer may take.
        tokio::time::sleep(3 * answer).await;
        stream.write_all(b"second").await.unwrap();
        drop(stream);
        // The head of this one never arrives.
        let (silent, _) = listener.accept().await.unwrap();
        (silent, listener)
    });
    let context = RequestContext::start();
    let stream = client.stream(&["events"], &context, HeaderMap::new()).await.unwrap();
    assert_eq!(stream.text().await.unwrap(), "firstsecond");
    let silent = client.stream(&["events"], &context, HeaderMap::new()).await;
    assert!(matches!(silent, Err(CallError::Slow)));
    service.await.unwrap();
}

#[tokio::test]
async fn invalid_url_names_the_variable() {
    for wrong in ["", "127.0.0.1:5001", "https://h", "ftp://h"] {
        let error = Client::new("TODO_URL", wrong, Timeouts::default()).unwrap_err();
        assert!(error.to_string().starts_with("`TODO_URL` is `"), "{error}");
    }
}
