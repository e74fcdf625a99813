//! An SMTP server that delivers nothing: what it accepts can be listed over HTTP.
//!
//! Port 1025 speaks SMTP, port 8025 HTTP: `GET /api/v1/messages` (newest first), `DELETE /api/v1/messages`, `/healthz`.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;

use crate::http::serve;

const SMTP_PORT: u16 = 1025;
const HTTP_PORT: u16 = 8025;
/// The oldest messages make room for new ones.
const KEPT: usize = 1000;
/// RFC 5321 allows 512 bytes for a command and 1000 for a line of text; nobody needs exactly that here.
const MAX_LINE: u64 = 4096;
const MAX_MESSAGE: usize = 1 << 20;
const MAX_RECIPIENTS: usize = 100;

/// A message as the API lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Message {
    from: String,
    to: Vec<String>,
    subject: String,
    /// Without headers, lines ending in a line feed.
    text: String,
}

#[derive(Debug, Clone, Default)]
struct Mailbox(Arc<Mutex<VecDeque<Message>>>);

impl Mailbox {
    fn messages(&self) -> MutexGuard<'_, VecDeque<Message>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, message: Message) {
        let mut messages = self.messages();
        messages.push_front(message);
        messages.truncate(KEPT);
    }
}

/// Serves both ports until told to stop.
///
/// # Errors
/// A port is taken.
pub async fn run(address: Ipv4Addr) -> io::Result<()> {
    let mailbox = Mailbox::default();
    let listener = TcpListener::bind((address, SMTP_PORT)).await?;
    tracing::info!(port = SMTP_PORT, "accepting mail");
    let smtp = accept(listener, mailbox.clone());
    let http = serve(HTTP_PORT, router(mailbox));
    tokio::select! {
        result = smtp => result,
        result = http => result,
    }
}

async fn accept(listener: TcpListener, mailbox: Mailbox) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        let mailbox = mailbox.clone();
        tokio::spawn(async move {
            if let Err(error) = session(stream, &mailbox).await {
                tracing::warn!(%peer, %error, "a session broke off");
            }
        });
    }
}

fn router(mailbox: Mailbox) -> Router {
    Router::new()
        .route(
            "/healthz",
            get(|| async { Json(json!({ "status": "ok" })) }),
        )
        .route("/api/v1/messages", get(list).delete(clear))
        .with_state(mailbox)
}

async fn list(State(mailbox): State<Mailbox>) -> Json<Value> {
    let messages = mailbox.messages();
    Json(json!({ "total": messages.len(), "messages": *messages }))
}

async fn clear(State(mailbox): State<Mailbox>) -> StatusCode {
    mailbox.messages().clear();
    StatusCode::NO_CONTENT
}

/// What the client has said of the message so far.
#[derive(Debug, Default)]
struct Envelope {
    from: Option<String>,
    to: Vec<String>,
}

enum Line {
    Text(String),
    TooLong,
    End,
}

/// Speaks the server's side of one session.
async fn session(stream: impl AsyncRead + AsyncWrite + Unpin, mailbox: &Mailbox) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut envelope = Envelope::default();
    stream.write_all(b"220 galaxy smtp-sink\r\n").await?;
    loop {
        let line = match read_line(&mut stream).await? {
            Line::Text(line) => line,
            Line::TooLong => return stream.write_all(b"500 line too long\r\n").await,
            Line::End => return Ok(()),
        };
        let verb = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" | "HELO" => {
                envelope = Envelope::default();
                "250 galaxy smtp-sink"
            }
            "MAIL" => match path(&line, "FROM:") {
                Some(from) => {
                    envelope = Envelope {
                        from: Some(from),
                        to: Vec::new(),
                    };
                    "250 ok"
                }
                None => "501 MAIL FROM:<address>",
            },
            "RCPT" => match path(&line, "TO:").filter(|to| !to.is_empty()) {
                _ if envelope.from.is_none() => "503 MAIL first",
                _ if envelope.to.len() >= MAX_RECIPIENTS => "452 too many recipients",
                Some(to) => {
                    envelope.to.push(to);
                    "250 ok"
                }
                None => "501 RCPT TO:<address>",
            },
            "DATA" if envelope.to.is_empty() => "503 RCPT first",
            "DATA" => {
                stream
                    .write_all(b"354 end with a line of one dot\r\n")
                    .await?;
                let Envelope { from, to } = std::mem::take(&mut envelope);
                match read_message(&mut stream).await? {
                    Some(text) => {
                        let message = parsed(from.unwrap_or_default(), to, &text);
                        tracing::info!(
                            to = message.to.join(", "),
                            subject = message.subject,
                            "accepted"
                        );
                        mailbox.add(message);
                        "250 accepted"
                    }
                    None => "552 message too large",
                }
            }
            "RSET" => {
                envelope = Envelope::default();
                "250 ok"
            }
            "NOOP" => "250 ok",
            "QUIT" => return stream.write_all(b"221 bye\r\n").await,
            _ => "502 not here",
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
}

async fn read_line(stream: &mut BufReader<impl AsyncRead + Unpin>) -> io::Result<Line> {
    let mut line = Vec::new();
    let read = stream.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    if read as u64 == MAX_LINE && line.last() != Some(&b'\n') {
        return Ok(Line::TooLong);
    }
    if line.pop() != Some(b'\n') {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Line::Text(String::from_utf8_lossy(&line).into_owned()))
}

/// Everything up to the line of one dot, without the dots that were stuffed; `None` if it is too large.
async fn read_message(
    stream: &mut BufReader<impl AsyncRead + Unpin>,
) -> io::Result<Option<String>> {
    let mut text = String::new();
    let mut too_large = false;
    loop {
        match read_line(stream).await? {
            Line::Text(line) if line == "." => return Ok((!too_large).then_some(text)),
            Line::Text(line) if text.len() + line.len() < MAX_MESSAGE => {
                text.push_str(line.strip_prefix('.').unwrap_or(&line));
                text.push('\n');
            }
            Line::Text(_) | Line::TooLong => too_large = true,
            Line::End => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The address between the brackets of `MAIL FROM:<…>`; parameters behind it are ignored.
fn path(line: &str, keyword: &str) -> Option<String> {
    let rest = line.get(5..)?;
    let (found, rest) = (rest.get(..keyword.len())?, rest.get(keyword.len()..)?);
    let (address, _) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    found
        .eq_ignore_ascii_case(keyword)
        .then(|| address.to_owned())
}

fn parsed(from: String, to: Vec<String>, message: &str) -> Message {
    let (head, text) = message.split_once("\n\n").unwrap_or((message, ""));
    let subject = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("subject"))
        .map(|(_, value)| value.trim().to_owned());
    Message {
        from,
        to,
        subject: subject.unwrap_or_default(),
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::mail::{Mail, Smtp};
    use super::*;

    async fn speak(client: &[u8]) -> (String, Vec<Message>) {
        let (ours, theirs) = tokio::io::duplex(4 << 20);
        let mailbox = Mailbox::default();
        let (mut reader, mut writer) = tokio::io::split(ours);
        writer.write_all(client).await.unwrap();
        writer.shutdown().await.unwrap();
        // An end in the middle of a message is an error, and the replies before it still count.
        let _ = session(theirs, &mailbox).await;
        let mut replies = String::new();
        reader.read_to_string(&mut replies).await.unwrap();
        let messages = mailbox.messages().iter().cloned().collect();
        (replies, messages)
    }

    fn codes(replies: &str) -> Vec<&str> {
        replies.lines().map(|line| &line[..3]).collect()
    }

    #[tokio::test]
    async fn a_session_is_listed_without_its_stuffing() {
        let (replies, messages) = speak(
            b"EHLO me\r\nMAIL FROM:<a@b> SIZE=9\r\nRCPT TO:<c@d>\r\nrcpt to: <e@f>\r\nDATA\r\n\
              Subject: hello\r\nX: y\r\n\r\none\r\n..two\r\n.\r\nQUIT\r\n",
        )
        .await;
        assert_eq!(
            codes(&replies),
            ["220", "250", "250", "250", "250", "354", "250", "221"]
        );
        let expected = Message {
            from: "a@b".to_owned(),
            to: vec!["c@d".to_owned(), "e@f".to_owned()],
            subject: "hello".to_owned(),
            text: "one\n.two\n".to_owned(),
        };
        assert_eq!(messages, [expected]);
    }

    #[tokio::test]
    async fn what_is_out_of_order_is_refused() {
        let (replies, messages) =
            speak(b"RCPT TO:<c@d>\r\nDATA\r\nMAIL a@b\r\nMAIL FROM:<a@b>\r\nDATA\r\nVRFY x\r\n")
                .await;
        assert_eq!(
            codes(&replies),
            ["220", "503", "503", "501", "250", "503", "502"]
        );
        assert!(messages.is_empty());
    }

    #[tokio::test]
    async fn a_message_that_breaks_off_or_is_too_large_is_not_kept() {
        let head = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
        let (_, messages) = speak(&[head.as_slice(), b"half"].concat()).await;
        assert!(messages.is_empty());
        let line = [b"x".repeat(1000), b"\r\n".to_vec()].concat();
        let large = [head.as_slice(), &line.repeat(1100), b".\r\nNOOP\r\n"].concat();
        let (replies, messages) = speak(&large).await;
        assert_eq!(codes(&replies), ["220", "250", "250", "354", "552", "250"]);
        assert!(messages.is_empty());
    }

    #[tokio::test]
    async fn the_backend_s_own_client_is_understood() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let smtp = Smtp {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            from: "galaxy@galaxy.test".parse().unwrap(),
        };
        let mailbox = Mailbox::default();
        let server = tokio::spawn(accept(listener, mailbox.clone()));
        let mail = Mail {
            to: "admin@galaxy.test".parse().unwrap(),
            subject: "A subject".to_owned(),
            body: ".\nbody".to_owned(),
        };
        smtp.send(&mail, "1", "Sat, 21 Nov 2026 10:00:00 +0000")
            .await
            .unwrap();
        server.abort();
        let messages = mailbox.messages();
        assert_eq!(messages[0].to, ["admin@galaxy.test"]);
        assert_eq!(
            (messages[0].subject.as_str(), messages[0].text.as_str()),
            ("A subject", ".\nbody\n")
        );
    }
}
