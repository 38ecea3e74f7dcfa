//! A real PostgreSQL for these tests, which nobody else has: one for all of them, a database for each.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// A server with settings of its own. It ends when this is dropped, and when this process ends.
pub struct Server {
    folder: PathBuf,
    /// What it is told, and what it says. It lives as long as its standard input.
    ends: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Server {
    /// Starts one and waits until it answers.
    pub fn with(settings: &[&str]) -> Self {
        Self::started(settings, None)
    }

    /// One that holds what this one commits, before anybody is told that it is committed.
    pub async fn standby(&self) -> Self {
        let standby = Self::started(&["fsync=on"], Some(("POSTGRES_STANDBY_OF", &self.folder)));
        for statement in [
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
            "SELECT pg_reload_conf()",
        ] {
            self.run("postgres", statement).await;
        }
        standby
    }

    /// One that answers with the certificate in that folder, on a port of this machine.
    pub fn with_tls(folder: &Path, port: u16) -> Self {
        let port = format!("port={port}");
        Self::started(
            &["listen_addresses=localhost", &port],
            Some(("POSTGRES_TLS", folder)),
        )
    }

    #[expect(
        clippy::zombie_processes,
        reason = "it ends when its input does, which this one holds"
    )]
    fn started(settings: &[&str], given: Option<(&str, &Path)>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world/postgres.sh");
        let mut child = Command::new(script)
            .args(settings)
            .envs(given)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut folder = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut folder).unwrap();
        assert!(!folder.is_empty(), "PostgreSQL did not start");
        Self {
            folder: folder.trim().into(),
            ends: Mutex::new((child.stdin.take().unwrap(), out)),
        }
    }

    fn tell(&self, word: &str, answer: &str) {
        let mut ends = self.ends.lock().unwrap();
        writeln!(ends.0, "{word}").unwrap();
        let mut said = String::new();
        ends.1.read_line(&mut said).unwrap();
        assert_eq!(said.trim(), answer);
    }

    /// Ends it as a power cut does, and starts it again over the same data; returns when it answers.
    pub fn kill_and_start(&self) {
        self.tell("kill", "killed");
        self.tell("start", "started");
    }

    /// Ends it as a power cut does.
    pub fn kill(&self) {
        self.tell("kill", "killed");
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        self.tell("promote", "promoted");
    }

    /// The socket that it answers at.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
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
