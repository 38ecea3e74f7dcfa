//! The way between a store and its server, with what can happen on it to a COMMIT and to the answer of one.

use crate::server::Server;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::unix::{OwnedReadHalf as ServerRead, OwnedWriteHalf as ServerWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::OwnedMutexGuard;

/// What happens to the next COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it passes.
    None,
    /// It does not arrive, and both ends are cut.
    Lost,
    /// It does not arrive, and the server is not told that nobody is there any more.
    Unheard,
    /// It is applied, and its answer does not arrive.
    Unanswered,
    /// It arrives, and the server is killed and started again.
    Killed,
    /// It arrives or does not, the server is killed, and its standby takes its place.
    FailedOver { arrives: bool },
}

/// A proxy before a server's socket.
pub struct Wire {
    port: u16,
    state: Arc<State>,
}

struct State {
    /// What answers, and what takes its place.
    servers: Mutex<VecDeque<&'static Server>>,
    faults: Mutex<VecDeque<Fault>>,
    /// Held while a server is killed and something takes its place.
    upset: Arc<tokio::sync::Mutex<()>>,
    /// Ends at the server that nobody speaks at any more.
    open: Mutex<Vec<(ServerRead, ServerWrite)>>,
}

impl State {
    /// What happens to this COMMIT.
    fn next(&self) -> Fault {
        self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None)
    }

    fn server(&self) -> &'static Server {
        self.servers.lock().unwrap()[0]
    }

    /// The server is gone, and its standby answers.
    fn fail_over(&self) {
        self.server().kill();
        let mut servers = self.servers.lock().unwrap();
        servers[1].promote();
        servers.pop_front();
    }
}

impl Wire {
    pub async fn before(server: &'static Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            servers: Mutex::new([server].into()),
            faults: Mutex::default(),
            upset: Arc::default(),
            open: Mutex::default(),
        });
        let own = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&own);
                tokio::spawn(async move { pass(client, state).await });
            }
        });
        Self { port, state }
    }

    pub fn address(&self, database: &str) -> String {
        format!("postgres://breakglass@127.0.0.1:{}/{database}", self.port)
    }

    /// What takes the server's place when it fails over.
    pub fn behind(&self, standby: &'static Server) {
        self.state.servers.lock().unwrap().push_back(standby);
    }

    /// These happen to the next COMMITs, one each.
    pub fn arm(&self, faults: &[Fault]) {
        self.state.faults.lock().unwrap().extend(faults);
    }

    /// Waits until no server is being killed.
    pub async fn quiet(&self) {
        drop(self.state.upset.lock().await);
    }

    /// How many of them did not happen yet.
    pub fn left(&self) -> usize {
        self.state.faults.lock().unwrap().len()
    }
}

/// Passes on what one client says and hears, until something happens to it.
async fn pass(client: TcpStream, state: Arc<State>) {
    let Ok(server) = UnixStream::connect(state.server().socket()).await else {
        return;
    };
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let is_deaf = AtomicBool::new(false);
    let back = async {
        let mut buffer = vec![0; 65_536];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if is_deaf.load(Ordering::SeqCst) {
                return;
            }
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    let kept = tokio::select! {
        () = back => None,
        kept = forth(from_client, to_server, &state, &is_deaf) => kept,
    };
    if let Some(to_server) = kept {
        state.open.lock().unwrap().push((from_server, to_server));
    }
}

/// What the client says, message by message. `Some`, where the server's end is to stay open.
async fn forth(
    mut from: OwnedReadHalf,
    mut to: ServerWrite,
    state: &Arc<State>,
    is_deaf: &AtomicBool,
) -> Option<ServerWrite> {
    // Until the session has begun, messages have no kind.
    let mut has_begun = false;
    loop {
        let mut message = vec![];
        if has_begun {
            message.push(from.read_u8().await.ok()?);
        }
        let length = from.read_u32().await.ok()?;
        message.extend(length.to_be_bytes());
        let start = message.len();
        message.resize(start + length as usize - 4, 0);
        from.read_exact(&mut message[start..]).await.ok()?;
        let asks_for_tls = !has_begun && message[start..] == 80_877_103_u32.to_be_bytes();
        let is_commit = has_begun && message[0] == b'Q' && message[start..].starts_with(b"COMMIT");
        has_begun |= !asks_for_tls;
        match if is_commit { state.next() } else { Fault::None } {
            Fault::None => to.write_all(&message).await.ok()?,
            Fault::Lost => return None,
            Fault::Unheard => return Some(to),
            Fault::Unanswered => {
                is_deaf.store(true, Ordering::SeqCst);
                to.write_all(&message).await.ok()?;
            }
            Fault::Killed => {
                let upset = Arc::clone(&state.upset).lock_owned().await;
                is_deaf.store(true, Ordering::SeqCst);
                to.write_all(&message).await.ok()?;
                let server = state.server();
                off_the_runtime(upset, move || server.kill_and_start()).await;
                return None;
            }
            Fault::FailedOver { arrives } => {
                let upset = Arc::clone(&state.upset).lock_owned().await;
                is_deaf.store(true, Ordering::SeqCst);
                if arrives {
                    to.write_all(&message).await.ok()?;
                }
                let state = Arc::clone(state);
                off_the_runtime(upset, move || state.fail_over()).await;
                return None;
            }
        }
    }
}

/// Does it to its end, whether somebody waits for that or not.
async fn off_the_runtime(upset: OwnedMutexGuard<()>, work: impl FnOnce() + Send + 'static) {
    let done = tokio::task::spawn_blocking(move || {
        work();
        drop(upset);
    });
    done.await.unwrap();
}
