//! The client against small servers that behave and misbehave. TLS is tried against a real server by the
//! tests of sources.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn get(url: &str) -> Request<'_> {
    Request {
        method: Method::GET,
        url,
        headers: HeaderMap::new(),
        body: Vec::new(),
        ca: None,
        repeatable: true,
        deadline: Duration::from_secs(5),
        body_max: 1000,
    }
}

/// A server that answers each question of a connection with `answer`, `times` times, then closes; and how
/// many connections came.
async fn server(answer: Vec<u8>, times: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let connections = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                for _ in 0..times {
                    if stream.read(&mut [0; 4096]).await.unwrap_or(0) == 0 {
                        return;
                    }
                    let _ = stream.write_all(&answer).await;
                }
            });
        }
    });
    (url, count)
}

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello";

#[tokio::test]
async fn connections_are_kept_and_a_closed_one_is_replaced() {
    let (url, connections) = server(HELLO.to_vec(), 2).await;
    let client = Client::new();
    for _ in 0..4 {
        let answer = client.send(get(&url)).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..], answer.header("x-a")), (200, &b"hello"[..], Some("b")));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2, "each served two questions");
    assert!(client.pool.len() <= 1);
}

#[tokio::test]
async fn few_connections_are_kept_however_many_hosts() {
    let client = Client::new();
    for _ in 0..pool::KEPT_MAX + 6 {
        let (url, _) = server(HELLO.to_vec(), 9).await;
        client.send(get(&url)).await.unwrap();
    }
    assert_eq!(client.pool.len(), pool::KEPT_MAX);
}

#[tokio::test]
async fn each_step_fails_by_its_own_name() {
    let client = Client::new();
    for url in ["ftp://h/x", "http://user@h/x", "http:///x", "h/x", "http://h\n/x", ""] {
        assert!(matches!(client.send(get(url)).await, Err(WebError::BadUrl(_))), "{url:?}");
    }
    let nobody = client.send(get("http://no-such-host.invalid/x")).await.unwrap_err();
    assert!(matches!(nobody, WebError::Name { .. }), "{nobody}");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let down = client.send(get(&format!("http://{free}/x"))).await.unwrap_err();
    assert!(matches!(down, WebError::Connect { .. }), "{down}");
    let (url, _) = server(HELLO.to_vec(), 1).await;
    let plain = client.send(get(&url.replace("http:", "https:"))).await.unwrap_err();
    assert!(matches!(plain, WebError::Tls { .. }), "{plain}");
    let (url, _) = server(b"nonsense\r\n\r\n".to_vec(), 1).await;
    let odd = client.send(get(&url)).await.unwrap_err();
    assert!(matches!(odd, WebError::Broken { .. }), "{odd}");
    let bad_ca = Request { ca: Some(b"no pem"), ..get("https://127.0.0.1:1/x") };
    assert!(client.send(bad_ca).await.is_err());
}

#[tokio::test]
async fn an_answer_ends_at_its_size_and_its_deadline() {
    let client = Client::new();
    let long = [b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n".as_slice(), &[b'x'; 2000]].concat();
    let (url, _) = server(long, 1).await;
    let error = client.send(get(&url)).await.unwrap_err();
    assert!(matches!(error, WebError::TooMuch { max: 1000, .. }), "{error}");
    let (url, _) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe".to_vec(), 9).await;
    let began = Instant::now();
    let slow = Request { deadline: Duration::from_millis(300), ..get(&url) };
    let error = client.send(slow).await.unwrap_err();
    assert!(matches!(error, WebError::TimedOut { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(client.pool.len(), 0, "neither is used again");
}
