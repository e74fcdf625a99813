//! Mail, and its way out: SMTP (RFC 5321) without encryption, to a server next door.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ADDRESS: usize = 254;
/// Bytes of a reply that are read at most.
const MAX_REPLY: u64 = 16 << 10;

/// A mail address that cannot break out of a command or a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a mail address: {0:?}")]
pub struct NotAnAddress(String);

impl Address {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn domain(&self) -> &str {
        self.0.rsplit('@').next().unwrap_or_default()
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    /// One `@` between printable ASCII without blanks, brackets and quotes: what the quoted forms allow is not needed.
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let plain = text
            .chars()
            .all(|c| c.is_ascii_graphic() && !"<>()[],;:\\\"".contains(c));
        match text.split_once('@') {
            Some((local, domain))
                if plain
                    && text.len() <= MAX_ADDRESS
                    && !local.is_empty()
                    && !domain.is_empty()
                    && !domain.contains('@') =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(NotAnAddress(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone)]
pub struct Mail {
    pub to: Address,
    pub subject: String,
    pub body: String,
}

/// Where mail goes, and whom it is from.
#[derive(Debug, Clone)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub from: Address,
}

#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("{command} was answered: {reply}")]
    Refused {
        command: &'static str,
        reply: String,
    },
}

impl Smtp {
    /// Hands one mail over. `id` and `date` (as RFC 5322 writes it) go into the headers.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn send(&self, mail: &Mail, id: &str, date: &str) -> Result<(), SmtpError> {
        let message = message(&self.from, mail, id, date);
        let handover = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            hand_over(stream, &self.from, &mail.to, &message).await
        };
        tokio::time::timeout(TIMEOUT, handover)
            .await
            .unwrap_or(Err(SmtpError::Timeout))
    }
}

/// Speaks the client's side of one session.
async fn hand_over(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    from: &Address,
    to: &Address,
    message: &str,
) -> Result<(), SmtpError> {
    let mut stream = BufReader::new(stream);
    expect(&mut stream, "the connection", '2').await?;
    for (command, text, expected) in [
        ("EHLO", format!("EHLO {}\r\n", from.domain()), '2'),
        ("MAIL", format!("MAIL FROM:<{from}>\r\n"), '2'),
        ("RCPT", format!("RCPT TO:<{to}>\r\n"), '2'),
        ("DATA", "DATA\r\n".to_owned(), '3'),
        ("the message", format!("{}.\r\n", stuffed(message)), '2'),
    ] {
        stream.write_all(text.as_bytes()).await?;
        expect(&mut stream, command, expected).await?;
    }
    // The mail is accepted; whether the good-bye arrives does not matter.
    let _ = stream.write_all(b"QUIT\r\n").await;
    Ok(())
}

/// Reads a reply, of one line or several, that must be of the class of `expected`.
async fn expect(
    stream: &mut BufReader<impl AsyncRead + Unpin>,
    command: &'static str,
    expected: char,
) -> Result<(), SmtpError> {
    let mut limited = stream.take(MAX_REPLY);
    let mut line = String::new();
    loop {
        line.clear();
        if limited.read_line(&mut line).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            break;
        }
    }
    if line.starts_with(expected) {
        return Ok(());
    }
    Err(SmtpError::Refused {
        command,
        reply: line.trim_end().to_owned(),
    })
}

/// The message with its headers, lines ending in CRLF.
fn message(from: &Address, mail: &Mail, id: &str, date: &str) -> String {
    let lines = [
        format!("From: <{from}>"),
        format!("To: <{}>", mail.to),
        format!("Subject: {}", header_text(&mail.subject)),
        format!("Date: {date}"),
        format!("Message-ID: <{id}@{}>", from.domain()),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        "Content-Transfer-Encoding: 8bit".to_owned(),
        String::new(),
    ];
    lines
        .iter()
        .map(String::as_str)
        .chain(mail.body.lines())
        .flat_map(|line| [line, "\r\n"])
        .collect()
}

/// Text that is not printable ASCII is encoded (RFC 2047), so that it can neither be garbled nor start another header.
fn header_text(text: &str) -> String {
    if text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        text.to_owned()
    } else {
        format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(text))
    }
}

/// A line that begins with a dot gets another one: a dot alone would end the message (RFC 5321, 4.5.2).
fn stuffed(message: &str) -> String {
    message
        .split_inclusive("\r\n")
        .flat_map(|line| [if line.starts_with('.') { "." } else { "" }, line])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_cannot_break_out() {
        for good in ["a@b", "galaxy-backend@galaxy.test", "x+y@z.example"] {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        let long = format!("{}@b", "a".repeat(300));
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b>\r\nRCPT TO:<c@d",
            "a@b\n",
            "<a@b>",
            "ä@b",
            &long,
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_message_has_its_headers_and_no_more() {
        let mail = Mail {
            to: address("admin@galaxy.test"),
            subject: "Über\r\nBcc: x@y".to_owned(),
            body: "one\n.two\n\n.".to_owned(),
        };
        let text = message(
            &address("from@galaxy.test"),
            &mail,
            "7",
            "Sat, 21 Nov 2026 10:00:00 +0000",
        );
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            head.lines().filter(|line| line.starts_with("To: ")).count(),
            1
        );
        assert!(!head.contains("Bcc"), "{head}");
        assert!(head.contains("Message-ID: <7@galaxy.test>"), "{head}");
        assert_eq!(body, "one\r\n.two\r\n\r\n.\r\n");
        assert!(stuffed(&text).ends_with("one\r\n..two\r\n\r\n..\r\n"));
    }

    #[tokio::test]
    async fn a_refusal_names_the_command_and_the_reply() {
        let (client, mut server) = tokio::io::duplex(1024);
        let script = tokio::spawn(async move {
            server
                .write_all(b"220 hi\r\n250-a\r\n250 b\r\n550 no such sender\r\n")
                .await
                .unwrap();
            server
        });
        let error = hand_over(client, &address("a@b"), &address("c@d"), "x\r\n")
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "MAIL was answered: 550 no such sender");
        drop(script.await.unwrap());
    }
}
