//! What happens on the connections themselves.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::shop::{Home, TestShop, alone, name, new_key, order};

/// Sends `bytes`, then reads until the shop closes the connection.
async fn exchange(shop: &TestShop, bytes: &[u8]) -> String {
    let mut connection = TcpStream::connect(shop.address()).await.unwrap();
    connection.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = connection.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_caller_who_sends_nothing_does_not_hold_a_connection() {
    alone(async {
        let bound = Duration::from_millis(300);
        let shop = TestShop::start(Home::Embedded, |config| config.http.header_timeout = bound).await;
        for bytes in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", b"GET /livez HTTP/1.1\r\nHost:"] {
            let started = Instant::now();
            exchange(&shop, bytes).await;
            let took = started.elapsed();
            assert!(took < Duration::from_secs(5), "{:?} {took:?}", String::from_utf8_lossy(bytes));
        }
        let idle = exchange(&shop, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(idle.starts_with("HTTP/1.1 200 OK"), "{idle}");
    });
}

#[test]
fn a_body_that_does_not_arrive_is_given_up() {
    alone(async {
        let bound = Duration::from_millis(300);
        let shop = TestShop::start(Home::Embedded, |config| config.http.body_timeout = bound).await;
        let head = "POST /v1/orders HTTP/1.1\r\nHost: x\r\nIdempotency-Key: a\r\nContent-Type: application/json\r\n";
        let slow = exchange(&shop, format!("{head}Content-Length: 10\r\nConnection: close\r\n\r\n{{").as_bytes()).await;
        assert!(slow.starts_with("HTTP/1.1 408 ") && slow.contains("\"request_timeout\""), "{slow}");
    });
}

#[test]
fn what_is_not_http_gets_no_further() {
    alone(async {
        let shop = TestShop::start(Home::Embedded, |_| {}).await;
        let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
        for (bytes, status) in [
            ("NONSENSE\r\n\r\n".to_owned(), "400"),
            ("GET /livez HTTP/9.9\r\n\r\n".to_owned(), "400"),
            (format!("GET /livez HTTP/1.1\r\nHost: x\r\n{many}\r\n"), "431"),
            ("POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(), "400"),
        ] {
            let answer = exchange(&shop, bytes.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:.40}: {answer}");
        }
        assert_eq!(shop.get("/livez").await.status, 200);
    });
}

#[test]
fn more_connections_than_allowed_wait_their_turn() {
    alone(async {
        let shop = TestShop::start(Home::Embedded, |config| config.http.connections_max = 2).await;
        let customer = name("ann");
        // One of the two stands idle; the other is shared by all, one request each.
        let idle = TcpStream::connect(shop.address()).await.unwrap();
        let answers = join_all((0..20).map(|_| async {
            let body = order(&customer).to_string();
            let request = format!(
                "POST /v1/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIdempotency-Key: {}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                new_key(),
                body.len()
            );
            exchange(&shop, request.as_bytes()).await
        }));
        assert!(answers.await.iter().all(|answer| answer.starts_with("HTTP/1.1 201 ")));
        drop(idle);
    });
}

/// A request whose body is still on its way when the stop comes is answered, and what was answered is there afterwards.
#[test]
fn a_stop_lets_requests_in_flight_end() {
    alone(async {
        let mut shop = TestShop::start(Home::Embedded, |_| {}).await;
        let customer = name("ann");
        let body = order(&customer).to_string();
        let (early, late) = body.split_at(10);
        let head = format!(
            "POST /v1/orders HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{early}",
            new_key(),
            body.len()
        );
        let mut in_flight = Vec::new();
        for _ in 0..20 {
            let mut connection = TcpStream::connect(shop.address()).await.unwrap();
            connection.write_all(head.as_bytes()).await.unwrap();
            in_flight.push(connection);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let address = shop.address();
        let finishing = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(TcpStream::connect(address).await.is_err(), "a stopping shop takes new connections");
            join_all(in_flight.into_iter().map(|mut connection| async move {
                connection.write_all(late.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                connection.read_to_end(&mut answer).await.unwrap();
                String::from_utf8_lossy(&answer).into_owned()
            }))
            .await
        };
        let ((), answers) = tokio::join!(shop.close(), finishing);
        assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 201 ")), "{answers:?}");
        shop.open().await;
        let listed = shop.get(&format!("/v1/orders?customer_id={customer}")).await;
        assert_eq!(listed.body["data"].as_array().unwrap().len(), 1, "all of them had one key");
        shop.close().await;
    });
}

/// A stop does not wait for ever for a caller who does not go on.
#[test]
fn a_stop_has_a_limit() {
    alone(async {
        let bound = Duration::from_millis(300);
        let mut shop = TestShop::start(Home::Embedded, |config| config.http.drain_timeout = bound).await;
        let mut stuck = TcpStream::connect(shop.address()).await.unwrap();
        stuck
            .write_all(
                b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nIdempotency-Key: a\r\n\
            Content-Type: application/json\r\n\r\n{",
            )
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let started = Instant::now();
        shop.close().await;
        let took = started.elapsed();
        assert!(took >= bound && took < Duration::from_secs(5), "{took:?}");
    });
}
