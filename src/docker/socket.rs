//! A socket that need not be watched all the time.
//!
//! The runtime is woken by each piece that arrives at a socket that it watches, whether or not
//! anybody wants to read yet. The engine sends every line of a log as a piece of its own, so in a
//! flood of lines these wakings cost more than reading them.

use std::io::{self, Read};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A socket of the runtime, and the same without it.
pub(super) trait Watched: AsyncRead + AsyncWrite + Unpin + Send + Sized + 'static {
    type Unwatched: Read + Send;

    fn unwatch(self) -> io::Result<Self::Unwatched>;
    fn watch(socket: Self::Unwatched) -> io::Result<Self>;
}

impl Watched for UnixStream {
    type Unwatched = StdUnixStream;

    fn unwatch(self) -> io::Result<StdUnixStream> {
        self.into_std()
    }

    fn watch(socket: StdUnixStream) -> io::Result<Self> {
        Self::from_std(socket)
    }
}

impl Watched for TcpStream {
    type Unwatched = std::net::TcpStream;

    fn unwatch(self) -> io::Result<std::net::TcpStream> {
        self.into_std()
    }

    fn watch(socket: std::net::TcpStream) -> io::Result<Self> {
        Self::from_std(socket)
    }
}

/// A socket that is watched whenever somebody waits for it, until [`Rest::rest`].
pub(super) struct Socket<S: Watched>(Arc<Mutex<State<S>>>);

enum State<S: Watched> {
    Watched(S),
    Unwatched(S::Unwatched),
    /// It could not be taken from the runtime, or given to it; why, until that was told.
    Lost(Option<io::Error>),
}

impl<S: Watched> Socket<S> {
    pub(super) fn new(socket: S) -> Self {
        Self(Arc::new(Mutex::new(State::Watched(socket))))
    }

    pub(super) fn rest(&self) -> Rest {
        let state = Arc::clone(&self.0);
        Rest(Box::new(move || {
            let mut state = lock(&state);
            *state = match std::mem::replace(&mut *state, State::Lost(None)) {
                State::Watched(socket) => match socket.unwatch() {
                    Ok(socket) => State::Unwatched(socket),
                    Err(error) => State::Lost(Some(error)),
                },
                state => state,
            };
        }))
    }

    fn watched<T>(
        &self,
        poll: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut state = lock(&self.0);
        if let State::Unwatched(_) = *state
            && let State::Unwatched(socket) = std::mem::replace(&mut *state, State::Lost(None))
        {
            *state = State::Watched(S::watch(socket)?);
        }
        match &mut *state {
            State::Watched(socket) => poll(Pin::new(socket)),
            State::Lost(why) => {
                let gone = || io::ErrorKind::NotConnected.into();
                Poll::Ready(Err(why.take().unwrap_or_else(gone)))
            }
            State::Unwatched(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// What has come to an unwatched socket meanwhile; `None` if nothing has.
    fn read_unwatched(&self, buf: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        let mut state = lock(&self.0);
        let State::Unwatched(socket) = &mut *state else {
            return None;
        };
        match socket.read(buf.initialize_unfilled()) {
            Ok(read) => {
                buf.advance(read);
                Some(Ok(()))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => None,
                _ => Some(Err(error)),
            },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a socket off the watch.
pub(super) struct Rest(Box<dyn Fn() + Send + Sync>);

impl Rest {
    /// Until the socket is read or written again, nothing that arrives wakes anybody.
    pub(super) fn rest(&self) {
        (self.0)();
    }
}

impl<S: Watched> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.read_unwatched(buf) {
            Some(read) => Poll::Ready(read),
            None => self.watched(|socket| socket.poll_read(context, buf)),
        }
    }
}

impl<S: Watched> AsyncWrite for Socket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watched(|socket| socket.poll_write(context, bytes))
    }

    /// There is nothing to flush. hyper asks after each read, and nobody waits for it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(|socket| socket.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn read(socket: &mut Socket<UnixStream>) -> Vec<u8> {
        let mut bytes = [0; 64];
        let read = socket.read(&mut bytes).await.unwrap();
        bytes[..read].to_vec()
    }

    #[tokio::test]
    async fn a_socket_is_read_and_written_before_and_after_a_rest() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::new(ours);
        let rest = socket.rest();
        theirs.write_all(b"one").await.unwrap();
        assert_eq!(read(&mut socket).await, b"one");
        rest.rest();
        theirs.write_all(b"two").await.unwrap();
        assert_eq!(read(&mut socket).await, b"two");
        rest.rest();
        rest.rest();
        let (got, ()) = tokio::join!(read(&mut socket), async {
            tokio::task::yield_now().await;
            theirs.write_all(b"three").await.unwrap();
        });
        assert_eq!(got, b"three");
        rest.rest();
        socket.write_all(b"four").await.unwrap();
        let mut heard = [0; 4];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"four");
        rest.rest();
        drop(theirs);
        assert_eq!(read(&mut socket).await, b"");
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Waits for a socket by hand.
    fn wait(socket: &mut Socket<UnixStream>) -> Arc<Woken> {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut bytes = [0; 8];
        let mut buf = ReadBuf::new(&mut bytes);
        let read = Pin::new(socket).poll_read(&mut Context::from_waker(&waker), &mut buf);
        assert!(read.is_pending());
        woken
    }

    #[tokio::test]
    async fn what_arrives_at_rest_wakes_nobody() {
        let ((ours, mut theirs), (other, mut others)) =
            (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let (mut resting, mut watched) = (Socket::new(ours), Socket::new(other));
        let (at_rest, on_watch) = (wait(&mut resting), wait(&mut watched));
        resting.rest().rest();
        theirs.write_all(b"x").await.unwrap();
        others.write_all(b"x").await.unwrap();
        // The other one is heard of, so this one would have been.
        while !on_watch.0.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        assert!(!at_rest.0.load(Ordering::SeqCst));
        assert_eq!(read(&mut resting).await, b"x");
    }
}
