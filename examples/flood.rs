//! Sends audit events as API servers do, and measures what their record costs: `flood send ...`, `flood floors ...`.
//! Prints one JSON object. For measuring only: plain threads and sockets, bodies made before the clock starts, so
//! that the sender takes little of the machine it shares with what it measures.

#![expect(clippy::cast_precision_loss, reason = "figures, not counts")]

use breakglass::audit::{Fit, parse};
use breakglass::clock::Time;
use breakglass::domain::entry_kind::EntryKind;
use breakglass::ledger::{self, Content, Seed};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Events in a batch: what an API server puts into one by default.
const BATCH: usize = 400;

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn of(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn id(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            a >> 32,
            a & 0xffff,
            b >> 52,
            (b >> 40) & 0xfff,
            b & 0xffff_ffff_ffff
        )
    }
}

/// One event of a busy cluster: kubelets, controllers, people, in turn.
fn event(chance: &mut Chance, bodies: bool, n: u64) -> String {
    let (node, pod) = (chance.of(50), chance.of(400));
    let (kind, resource, group, name, verb) = match chance.of(6) {
        0 | 1 => (
            "Lease",
            "leases",
            "coordination.k8s.io",
            format!("node-{node}"),
            "update",
        ),
        2 => (
            "Pod",
            "pods",
            "",
            format!("settlement-worker-7c9f8b5d4-{pod:05x}"),
            "patch",
        ),
        3 => ("Pod", "pods", "", format!("checkout-6f5d8c7b9-{pod:05x}"), "get"),
        4 => (
            "Deployment",
            "deployments",
            "apps",
            format!("service-{}", pod % 40),
            "update",
        ),
        _ => (
            "EndpointSlice",
            "endpointslices",
            "discovery.k8s.io",
            format!("service-{}-x7k2p", pod % 40),
            "get",
        ),
    };
    let namespace = if kind == "Lease" {
        "kube-node-lease"
    } else {
        "payments"
    };
    let (path, version) = if group.is_empty() {
        ("/api".to_owned(), "v1")
    } else {
        (format!("/apis/{group}"), "v1")
    };
    let sub = if verb == "patch" { "/status" } else { "" };
    let time = format!(
        "2026-03-01T{:02}:{:02}:{:02}.{:06}Z",
        n / 3_600_000 % 24,
        n / 60_000 % 60,
        n / 1_000 % 60,
        chance.of(1_000_000)
    );
    let (audit_id, jti, uid) = (chance.id(), chance.id(), chance.id());
    let revision = 100_000 + n;
    let user = if kind == "Lease" {
        format!("system:node:node-{node}")
    } else {
        format!(
            "system:serviceaccount:kube-system:{}-controller",
            kind.to_lowercase()
        )
    };
    let mut text = format!(
        r#"{{"level":"{level}","auditID":"{audit_id}","stage":"ResponseComplete","requestURI":"{path}/{version}/namespaces/{namespace}/{resource}/{name}{sub}?timeout=10s","verb":"{verb}","user":{{"username":"{user}","uid":"{uid}","groups":["system:serviceaccounts","system:serviceaccounts:kube-system","system:nodes","system:authenticated"],"extra":{{"authentication.kubernetes.io/credential-id":["JTI={jti}"],"authentication.kubernetes.io/node-name":["node-{node}"],"authentication.kubernetes.io/pod-name":["kube-controller-manager-node-{node}"]}}}},"sourceIPs":["10.0.{node}.{last}"],"userAgent":"kube-controller-manager/v1.36.3 (linux/amd64) kubernetes/8b1d6a2/system:serviceaccount:kube-system:generic-garbage-collector","objectRef":{{"resource":"{resource}","namespace":"{namespace}","name":"{name}","uid":"{uid}","apiGroup":"{group}","apiVersion":"{version}","resourceVersion":"{revision}"}},"responseStatus":{{"metadata":{{}},"code":200}},"requestReceivedTimestamp":"{time}","stageTimestamp":"{time}","annotations":{{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by ClusterRoleBinding \"system:controller:{resource}-controller\" of ClusterRole \"system:controller:{resource}-controller\" to ServiceAccount \"{resource}-controller/kube-system\""}}"#,
        level = if bodies { "RequestResponse" } else { "Metadata" },
        last = chance.of(250),
    );
    if bodies {
        let object = format!(
            r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":{{"name":"{name}","namespace":"{namespace}","uid":"{uid}","resourceVersion":"{revision}","generation":{generation},"creationTimestamp":"2026-02-01T08:00:00Z","labels":{{"app.kubernetes.io/name":"{name}","app.kubernetes.io/part-of":"shop","pod-template-hash":"7c9f8b5d4","topology.kubernetes.io/zone":"eu-central-1a"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"settlement-worker-7c9f8b5d4","uid":"{uid}","controller":true,"blockOwnerDeletion":true}}]}},"spec":{{"nodeName":"node-{node}","replicas":{replicas},"restartPolicy":"Always","terminationGracePeriodSeconds":30,"containers":[{{"name":"main","image":"registry.shop.example/settlement-worker:4.{minor}.1","args":["--listen=:8080","--workers={replicas}"],"ports":[{{"name":"http","containerPort":8080,"protocol":"TCP"}}],"resources":{{"limits":{{"cpu":"500m","memory":"512Mi"}},"requests":{{"cpu":"100m","memory":"128Mi"}}}},"livenessProbe":{{"httpGet":{{"path":"/healthz","port":"http"}},"periodSeconds":10}}}}],"tolerations":[{{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}}]}},"status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"{time}"}},{{"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"{time}"}}],"hostIP":"10.0.{node}.4","podIP":"10.1.{node}.{minor}"}}}}"#,
            generation = chance.of(40),
            replicas = chance.of(9),
            minor = chance.of(60),
        );
        let _ = write!(text, r#","requestObject":{object},"responseObject":{object}"#);
    }
    text.push('}');
    text
}

fn body(chance: &mut Chance, bodies: bool, first: u64, count: usize) -> Vec<u8> {
    let mut text = r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#.to_owned();
    for n in 0..count {
        if n > 0 {
            text.push(',');
        }
        text.push_str(&event(chance, bodies, first + n as u64));
    }
    text.push_str("]}");
    text.into_bytes()
}

fn bodies(level: &str, batches: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut chance = Chance(seed | 1);
    (0..batches)
        .map(|n| body(&mut chance, level == "RequestResponse", (n * BATCH) as u64, BATCH))
        .collect()
}

/// A connection to the hook.
struct Line {
    socket: TcpStream,
    host: String,
    path: String,
    token: String,
}

impl Line {
    fn open(url: &str, token: &str) -> Result<Self, Failed> {
        let rest = url
            .strip_prefix("http://")
            .ok_or("an http:// address is needed")?;
        let (host, path) = rest.split_once('/').ok_or("a path is needed")?;
        let socket = TcpStream::connect(host)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Self {
            socket,
            host: host.to_owned(),
            path: format!("/{path}"),
            token: token.to_owned(),
        })
    }

    fn head(&mut self, length: usize) -> std::io::Result<()> {
        let Self {
            host, path, token, ..
        } = self;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        self.socket.write_all(head.as_bytes())
    }

    fn post(&mut self, body: &[u8]) -> std::io::Result<u16> {
        self.head(body.len())?;
        self.socket.write_all(body)?;
        self.answer()
    }

    fn answer(&mut self) -> std::io::Result<u16> {
        let (mut heard, mut buffer) = (vec![], [0; 4096]);
        loop {
            if let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
                let top = String::from_utf8_lossy(&heard[..end]).to_ascii_lowercase();
                let length = top
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
                if heard.len() >= end + 4 + length.unwrap_or(0) {
                    let status = top.split(' ').nth(1).and_then(|status| status.parse().ok());
                    return status.ok_or_else(|| std::io::Error::other("no status"));
                }
            }
            match self.socket.read(&mut buffer)? {
                0 => return Err(std::io::Error::other("the connection ended")),
                read => heard.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// The processor time of a process, in seconds.
fn cpu(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}

fn percentile(sorted: &[f64], of: usize) -> f64 {
    sorted
        .get((sorted.len() * of / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

/// `send URL TOKEN PID LEVEL BATCHES SENDERS SEED EVENTS_A_SECOND`: as fast as it is taken where that is 0.
fn send(arguments: &[String]) -> Result<Value, Failed> {
    let [url, token, pid, level, batches, senders, seed, rate] = arguments else {
        return Err("send URL TOKEN PID LEVEL BATCHES SENDERS SEED RATE".into());
    };
    let (batches, senders): (usize, usize) = (batches.parse()?, senders.parse()?);
    let (seed, rate): (u64, f64) = (seed.parse()?, rate.parse()?);
    let all = bodies(level, batches, seed);
    let bytes: usize = all.iter().map(Vec::len).sum();
    let (next, took, refused) = (AtomicUsize::new(0), Mutex::new(vec![]), AtomicUsize::new(0));
    let (before, begun) = (cpu(pid), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..senders {
            scope.spawn(|| {
                let mut line = Line::open(url, token).expect("a connection");
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(body) = all.get(n) else { return };
                    let mut from = Instant::now();
                    if rate > 0.0 {
                        // From when it should have gone: who is kept waiting counts that too.
                        from = begun + Duration::from_secs_f64(n as f64 * BATCH as f64 / rate);
                        std::thread::sleep(from.saturating_duration_since(Instant::now()));
                    }
                    while !matches!(line.post(body), Ok(200)) {
                        refused.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(200));
                        line = Line::open(url, token).expect("a connection");
                    }
                    took.lock()
                        .expect("no panic")
                        .push(from.elapsed().as_secs_f64() * 1000.0);
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let mut took = took.into_inner()?;
    took.sort_by(f64::total_cmp);
    let events = batches * BATCH;
    Ok(
        json!({"events": events, "bytes": bytes, "seconds": seconds, "rate": events as f64 / seconds,
        "cpu_us": (cpu(pid) - before) * 1e6 / events as f64, "share": (cpu(pid) - before) / seconds,
        "p50": percentile(&took, 50), "p99": percentile(&took, 99), "refused": refused.into_inner()}),
    )
}

/// `long URL TOKEN MEGABYTES...`: bodies of these lengths at once, made while they are sent.
fn long(arguments: &[String]) -> Result<Value, Failed> {
    let [url, token, sizes @ ..] = arguments else {
        return Err("long URL TOKEN MEGABYTES...".into());
    };
    let sizes: Vec<usize> = sizes.iter().map(|size| size.parse()).collect::<Result<_, _>>()?;
    let answers = Mutex::new(vec![]);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (n, size) in sizes.iter().enumerate() {
            let answers = &answers;
            scope.spawn(move || {
                let mut chance = Chance(n as u64 * 7_919 + 1);
                let piece = body(&mut chance, true, 0, BATCH);
                let (from, until) = (
                    piece.iter().position(|b| *b == b'[').unwrap_or(0) + 1,
                    piece.len() - 2,
                );
                let (mut events, many) = (piece[from..until].to_vec(), (size << 20) / (until - from));
                let name = b"\"auditID\":\"";
                let ids: Vec<usize> = (0..events.len())
                    .filter(|at| events[*at..].starts_with(name))
                    .map(|at| at + name.len())
                    .collect();
                let length = from + many * (until - from + 1) - 1 + 2;
                for _ in 0..20 {
                    let at = Instant::now();
                    let mut line = Line::open(url, token).expect("a connection");
                    let sent = (|| {
                        line.head(length)?;
                        line.socket.write_all(&piece[..from])?;
                        for round in 0..many {
                            for (k, at) in ids.iter().enumerate() {
                                // Each is another event.
                                events[*at..at + 8]
                                    .copy_from_slice(format!("{:08x}", round * BATCH + k).as_bytes());
                            }
                            line.socket.write_all(&events)?;
                            line.socket
                                .write_all(if round + 1 < many { b"," } else { b"]}" })?;
                        }
                        Ok::<_, std::io::Error>(())
                    })();
                    // A refusal may come before all is sent.
                    let status = line.answer().unwrap_or_else(|_| u16::from(sent.is_err()));
                    answers
                        .lock()
                        .expect("no panic")
                        .push((status, at.elapsed().as_secs_f64(), *size));
                    if status == 200 {
                        return;
                    }
                    std::thread::sleep(Duration::from_secs(5));
                }
            });
        }
    });
    let answers = answers.into_inner()?;
    let slowest = answers.iter().map(|(_, seconds, _)| *seconds).fold(0.0, f64::max);
    let accepted = answers.iter().filter(|(status, ..)| *status == 200).count();
    let odd = answers
        .iter()
        .filter(|(status, ..)| !matches!(status, 200 | 503))
        .count();
    Ok(
        json!({"answers": answers, "slowest": slowest, "taken": accepted, "odd": odd, "seconds": begun.elapsed().as_secs_f64()}),
    )
}

/// The events of a batch, each as it stands.
#[derive(Deserialize)]
struct List<'b> {
    #[serde(borrow)]
    items: Vec<&'b RawValue>,
}

/// What cannot be left out: parsing, redaction, hashing, compressing. On one core.
fn floor(all: &[Vec<u8>]) -> Result<(f64, Vec<Vec<u8>>), Failed> {
    let (begun, mut segments) = (Instant::now(), vec![]);
    for body in all {
        let list: List<'_> = serde_json::from_slice(body)?;
        let mut fit = Fit::default();
        let mut kept = vec![];
        for item in list.items {
            let raw = item.get().as_bytes();
            kept.push(fit.to_store(raw, &parse(raw)?).unwrap_or_else(|| raw.to_vec()));
        }
        let contents: Vec<Content<'_>> = kept
            .iter()
            .map(|event| Content {
                kind: EntryKind::AuditEvent,
                at: Time::UNIX_EPOCH,
                cluster: Some("demo"),
                payload: [&[], event, &[]],
            })
            .collect();
        let prepared = ledger::prepare_contents(Seed::from_bytes([7; 32]), Time::UNIX_EPOCH, &contents)?;
        segments.push(prepared.place(&mut ledger::Frontier::new()).bytes);
    }
    Ok((begun.elapsed().as_secs_f64(), segments))
}

/// Decompressing and hashing segments again, and nothing else. On one core.
fn read_floor(segments: &[Vec<u8>]) -> Result<(f64, u64), Failed> {
    let (begun, mut entries) = (Instant::now(), 0);
    for bytes in segments {
        let open = ledger::open(bytes)?;
        for position in 0..open.count() {
            std::hint::black_box(open.entry(position).leaf());
        }
        entries += u64::from(open.count());
    }
    Ok((begun.elapsed().as_secs_f64(), entries))
}

/// Appending the same bytes and nothing else, on the disk before the next.
fn append(all: &[Vec<u8>], dir: &Path) -> Result<f64, Failed> {
    let mut file = std::fs::File::create(dir.join("append"))?;
    let begun = Instant::now();
    for body in all {
        file.write_all(body)?;
        file.sync_data()?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// The same load as a row an event in a plain table, a transaction a batch.
async fn rows(all: &[Vec<u8>], dir: &Path) -> Result<f64, Failed> {
    let options = SqliteConnectOptions::new()
        .filename(dir.join("rows.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::query("CREATE TABLE events (id INTEGER PRIMARY KEY, audit_id TEXT, at TEXT, who TEXT, verb TEXT, uri TEXT, event TEXT)")
        .execute(&mut connection)
        .await?;
    let begun = Instant::now();
    for body in all {
        let list: List<'_> = serde_json::from_slice(body)?;
        let mut transaction = connection.begin().await?;
        for item in list.items {
            let event = parse(item.get().as_bytes())?;
            sqlx::query("INSERT INTO events (audit_id, at, who, verb, uri, event) VALUES (?, ?, ?, ?, ?, ?)")
                .bind(&*event.audit_id)
                .bind(&*event.received)
                .bind(&*event.user.username)
                .bind(&*event.verb)
                .bind(&*event.uri)
                .bind(item.get())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// `floors LEVEL BATCHES DIR`.
async fn floors(arguments: &[String]) -> Result<Value, Failed> {
    let [level, batches, dir] = arguments else {
        return Err("floors LEVEL BATCHES DIR".into());
    };
    let all = bodies(level, batches.parse()?, 4_711);
    let events = (all.len() * BATCH) as f64;
    let bytes: usize = all.iter().map(Vec::len).sum();
    let (work, segments) = floor(&all)?;
    let (again, entries) = read_floor(&segments)?;
    let appended = append(&all, Path::new(dir))?;
    let few = &all[..all.len().min(50)];
    let rows = rows(few, Path::new(dir)).await?;
    let packed: usize = segments.iter().map(Vec::len).sum();
    Ok(
        json!({"event_bytes": bytes as f64 / events, "work_us": work * 1e6 / events, "append_rate": events / appended,
        "rows_rate": (few.len() * BATCH) as f64 / rows, "read_rate": entries as f64 / again, "packed": packed as f64 / bytes as f64}),
    )
}

/// `stored DB`: bytes and entries of a store.
async fn stored(arguments: &[String]) -> Result<Value, Failed> {
    let [path] = arguments else {
        return Err("stored DB".into());
    };
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let (pages, size, segments): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size), (SELECT size FROM ledger_head),
           (SELECT count(*) FROM segments)",
    )
    .fetch_one(&mut connection)
    .await?;
    Ok(json!({"bytes": pages, "entries": size, "segments": segments}))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((what, rest)) = arguments.split_first() else {
        return Err("flood send|long|floors|stored ...".into());
    };
    let found = match what.as_str() {
        "send" => send(rest)?,
        "long" => long(rest)?,
        "floors" => floors(rest).await?,
        "stored" => stored(rest).await?,
        other => return Err(format!("flood knows no {other}").into()),
    };
    println!("{found}");
    Ok(())
}
