//! Sources that do not behave.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers each connection's first requests with `frames`, as they are, and closes it.
async fn answer(listener: &TcpListener, frames: &[Vec<u8>]) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            return;
        };
        for frame in frames {
            let mut request = [0; 4096];
            if stream.read(&mut request).await.unwrap_or(0) == 0 {
                break;
            }
            // It may have been enough already.
            let _ = stream.write_all(frame).await;
        }
    }
}

/// A response: size, correlation id, body.
fn frame(correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let size = body.len() as i32 + 4;
    [&size.to_be_bytes()[..], &correlation_id.to_be_bytes(), body].concat()
}

/// ApiVersions 0: no error, and one API in these versions.
fn versions(key: i16, low: i16, high: i16) -> Vec<u8> {
    let mut body = vec![0, 0, 2];
    for number in [key, low, high] {
        body.extend(number.to_be_bytes());
    }
    // No tags, no throttle time, no tags.
    body.extend([0, 0, 0, 0, 0, 0]);
    body
}

async fn ask(frames: &[Vec<u8>]) -> SourceError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = Client::new(Env::system(), &address, Properties::default());
    tokio::select! {
        asked = client.cluster(&[]) => asked.unwrap_err(),
        () = answer(&listener, frames) => panic!("the listener ended"),
    }
}

#[tokio::test]
async fn a_source_that_sends_nonsense_is_refused() {
    let malformed = [
        // A response of 2 GiB, one of less than nothing, one to another request, one cut short.
        vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1],
        vec![0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1],
        frame(7, &[0; 10]),
        frame(1, &[0]),
        // An array of more elements than there are bytes.
        frame(1, &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
    ];
    for bytes in malformed {
        let error = ask(std::slice::from_ref(&bytes)).await;
        let refused = matches!(
            error,
            SourceError::Malformed { .. } | SourceError::Ended { .. }
        );
        assert!(refused, "{bytes:?}: {error}");
    }
    // The same behind a good beginning: a thousand million topics.
    let metadata = [
        0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 1, 0x40, 0, 0, 0,
    ];
    let error = ask(&[frame(1, &versions(3, 4, 4)), frame(2, &metadata)]).await;
    assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn a_source_that_is_too_old_is_told_what_is_needed() {
    let error = ask(&[frame(1, &versions(3, 0, 2))]).await;
    let text = error.to_string();
    assert!(error.is_unsupported() && text.contains("0.11"), "{text}");
    let error = ask(&[frame(1, &versions(1, 4, 12))]).await;
    assert!(error.to_string().contains("none"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut client = Client::new(Env::system(), &address, Properties::default());
    let error = client.cluster(&[]).await.unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable { address: at, .. } if *at == address));
}
