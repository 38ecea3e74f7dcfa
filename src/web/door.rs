//! Connections: so many and no more, of one address fewer still, and none that only keeps its place.

use crate::config::Cidr;
use axum_server::accept::Accept;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Connections at once. Most systems give a process 1,024 open files, and the store needs some.
const MOST: usize = 900;
/// Connections at once of one address that is no trusted proxy: one sender cannot take every place.
const MOST_OF_ONE: usize = 450;
/// What tells one version of HTTP from the other is as long as this; until it came nothing else would
/// ever end the connection.
const PREFACE: usize = 24;
/// How long a connection may take to say what it wants.
pub const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
struct Count {
    all: usize,
    of: HashMap<IpAddr, usize>,
    was_full: bool,
}

/// Lets connections in while there is room.
#[derive(Debug, Clone)]
pub struct Door {
    count: Arc<Mutex<Count>>,
    trusted: Arc<[Cidr]>,
}

impl Door {
    /// A door nobody has come through; `trusted` proxies bring everybody and are bounded together only.
    #[must_use]
    pub fn new(trusted: Arc<[Cidr]>) -> Self {
        Self {
            count: Arc::default(),
            trusted,
        }
    }

    /// A place for a connection of `from`, given back when it is dropped.
    fn place(&self, from: IpAddr) -> Option<Place> {
        let most_of_one = if self.trusted.iter().any(|network| network.contains(from)) {
            MOST
        } else {
            MOST_OF_ONE
        };
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = count.of.get(&from).copied().unwrap_or(0);
        if count.all >= MOST || of_one >= most_of_one {
            // Once a crowd: a line for each would be the sender's way to fill the disk.
            if !count.was_full {
                tracing::warn!(%from, all = count.all, of_one, "too many connections; more are turned away");
            }
            count.was_full = true;
            return None;
        }
        count.was_full &= count.all + 1 > MOST / 2;
        count.all += 1;
        *count.of.entry(from).or_default() += 1;
        Some(Place {
            count: Arc::clone(&self.count),
            from,
        })
    }
}

#[derive(Debug)]
struct Place {
    count: Arc<Mutex<Count>>,
    from: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        count.all = count.all.saturating_sub(1);
        if let Some(left) = count.of.get_mut(&self.from) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                count.of.remove(&self.from);
            }
        }
    }
}

/// What stands before `inner`: a place is taken before a handshake begins, and whoever is in must speak in
/// time, behind a handshake as well.
#[derive(Debug, Clone)]
pub struct Gate<A> {
    /// Who counts.
    pub door: Door,
    /// What follows: TLS, or nothing.
    pub inner: A,
}

impl<S, A> Accept<TcpStream, S> for Gate<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
{
    type Stream = Guest<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, A::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let placed = stream.peer_addr().and_then(|peer| {
            self.door
                .place(peer.ip().to_canonical())
                .ok_or_else(|| io::Error::other("too many connections"))
        });
        match placed {
            Ok(place) => {
                let inner = self.inner.accept(stream, service);
                Box::pin(async move {
                    let (stream, service) = inner.await?;
                    Ok((Guest::new(stream, Some(place), PATIENCE), service))
                })
            }
            Err(error) => Box::pin(async move { Err(error) }),
        }
    }
}

/// A connection that ends unless it begins to speak in time.
#[derive(Debug)]
pub struct Guest<S> {
    stream: S,
    heard: usize,
    until: Option<Pin<Box<Sleep>>>,
    _place: Option<Place>,
}

impl<S> Guest<S> {
    fn new(stream: S, place: Option<Place>, patience: Duration) -> Self {
        Self {
            stream,
            heard: 0,
            until: Some(Box::pin(tokio::time::sleep(patience))),
            _place: place,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guest<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(done) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.heard += buffer.filled().len() - before;
            if self.heard >= PREFACE {
                self.until = None;
            }
            return Poll::Ready(done);
        }
        let is_late = self
            .until
            .as_mut()
            .is_some_and(|until| until.as_mut().poll(context).is_ready());
        if is_late {
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        } else {
            Poll::Pending
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guest<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_take_every_place_and_all_together_are_bounded() {
        let door = Door::new(vec!["10.0.0.0/8".parse().unwrap()].into());
        let mut held: Vec<_> = (0..MOST_OF_ONE)
            .map(|_| door.place(ip("192.0.2.1")).unwrap())
            .collect();
        assert!(door.place(ip("192.0.2.1")).is_none(), "one address");
        held.extend((MOST_OF_ONE..MOST).map(|_| door.place(ip("10.1.1.1")).unwrap()));
        assert!(door.place(ip("198.51.100.1")).is_none(), "all together");
        held.truncate(1);
        let again = door.place(ip("198.51.100.1"));
        assert!(again.is_some(), "places are given back");
        drop((held, again));
        let count = door.count.lock().unwrap();
        assert_eq!(
            (count.all, count.of.len()),
            (0, 0),
            "nothing is kept of who is gone"
        );
    }

    #[tokio::test]
    async fn who_says_nothing_is_let_go_and_who_speaks_may_stay() {
        let patience = Duration::from_millis(20);
        let (mut silent, server) = tokio::io::duplex(64);
        silent.write_all(b"PRI * HT").await.unwrap();
        let mut guest = Guest::new(server, None, patience);
        let mut heard = vec![];
        let ended = guest.read_to_end(&mut heard).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(heard, b"PRI * HT");

        let (mut quick, server) = tokio::io::duplex(64);
        quick.write_all(&[b'x'; PREFACE]).await.unwrap();
        let mut guest = Guest::new(server, None, patience);
        let mut heard = [0; PREFACE];
        guest.read_exact(&mut heard).await.unwrap();
        let waited = tokio::time::timeout(patience * 10, guest.read_u8()).await;
        assert!(waited.is_err(), "a live page has nothing more to say");
    }
}
