//! One GET request, for asking whether something answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::domain::run::Seconds;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What answers at all does so by then.
const SHORTEST: Duration = Duration::from_millis(500);

/// Asks once. `Ok` is the status of the answer; `Err` says in a few words why there was none.
///
/// `left` is how long anybody waits for it.
pub(super) async fn get(url: &str, left: Duration) -> Result<u16, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let patience = PATIENCE.min(left).max(SHORTEST);
    match timeout(patience, request(&uri)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {}", Seconds(patience))),
    }
}

async fn request(uri: &Uri) -> Result<u16, String> {
    let host = uri.host().ok_or("the URL has no host")?;
    let port = uri.port_u16().unwrap_or(80);
    let stream = connect(host, port).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(hyper::header::HOST, authority)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await;
    connection.abort();
    match answer {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) => Err(error.to_string()),
    }
}

/// `localhost` and everything below it is this machine (RFC 6761), whatever the resolver knows.
async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let stream = if name == "localhost" || name.ends_with(".localhost") {
        TcpStream::connect(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await
    } else {
        TcpStream::connect((host.trim_matches(['[', ']']), port)).await
    };
    stream.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_name_below_localhost_is_this_machine_and_the_host_header_names_it() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .unwrap();
            String::from_utf8(request).unwrap()
        });
        let url = format!("http://some-tenant.localhost:{port}/health?x=1");
        assert_eq!(get(&url, Duration::MAX).await, Ok(204));
        let request = server.await.unwrap();
        assert!(
            request.starts_with("GET /health?x=1 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.contains(&format!("host: some-tenant.localhost:{port}\r\n")),
            "{request}"
        );
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let url = format!("http://localhost:{port}/");
        assert_eq!(
            get(&url, Duration::MAX).await,
            Err("connection refused".to_owned())
        );
        assert!(get("http://", Duration::MAX).await.is_err());
        assert!(get("/path", Duration::MAX).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_an_answer_longer_than_there_is_time() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let began = tokio::time::Instant::now();
        let why = get(&url, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(why, "no answer within 1.0 s");
        assert!(began.elapsed() < PATIENCE);
    }
}
