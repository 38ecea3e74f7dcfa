//! A real PostgreSQL for these tests, which nobody else has: one for all of them, a database for each.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A server with settings of its own. It ends when this is dropped, and when this process ends.
pub struct Server {
    folder: PathBuf,
    /// It lives as long as its standard input.
    _child: Child,
}

impl Server {
    /// Starts one and waits until it answers.
    pub fn with(settings: &[&str]) -> Self {
        Self::started(settings, None)
    }

    /// One that answers with the certificate in that folder, on a port of this machine.
    pub fn with_tls(folder: &Path, port: u16) -> Self {
        let port = format!("port={port}");
        Self::started(&["listen_addresses=localhost", &port], Some(folder))
    }

    fn started(settings: &[&str], tls: Option<&Path>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world/postgres.sh");
        let mut child = Command::new(script)
            .args(settings)
            .envs(tls.map(|folder| ("POSTGRES_TLS", folder)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut folder = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut folder)
            .unwrap();
        assert!(!folder.is_empty(), "PostgreSQL did not start");
        Self {
            folder: folder.trim().into(),
            _child: child,
        }
    }

    /// The one that most tests share.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| Self::with(&["fsync=on"]))
    }

    /// A new, empty database: its name.
    pub async fn database(&self) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", MADE.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name}")).await;
        name
    }

    /// The address of a database.
    pub fn address(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://breakglass@{folder}/{database}")
    }

    /// A connection behind the broker's back.
    pub async fn raw(&self, database: &str) -> PgConnection {
        let options: PgConnectOptions = self.address(database).parse().unwrap();
        options.connect().await.unwrap()
    }

    /// Runs a statement in a database; says how many rows it changed.
    pub async fn run(&self, database: &str, statement: &str) -> u64 {
        let mut raw = self.raw(database).await;
        let statement = AssertSqlSafe(statement.to_owned());
        raw.execute(statement).await.unwrap().rows_affected()
    }
}
