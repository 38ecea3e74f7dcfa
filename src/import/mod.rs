//! `breakglass import`: events of the past, from files, to the running broker. A file is read once, line by line,
//! however long it is; what cannot be read is said with its line, and the rest goes on.

mod lines;
mod sender;

use crate::audit::{Wrapping, import::read_line};
use clap::Args;
use lines::{Next, Source};
use sender::Sender;
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A batch is sent when it has as many events, or as many bytes.
const EVENTS: usize = 400;
const BYTES: usize = 4 << 20;
/// How often it is said how far the import is.
const EVERY: Duration = Duration::from_secs(5);
const EVERY_ON_A_TERMINAL: Duration = Duration::from_millis(200);

/// What to import, and whither.
#[derive(Debug, Args)]
pub struct Options {
    /// Files: an API server's log (a line an event, rotated files too), `CloudWatch` subscription records (EKS), Event
    /// Hub records (AKS), Cloud Logging entries (GKE; partial); gzip or plain. `-` is standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The broker's address.
    #[arg(long)]
    pub url: String,
    /// The cluster that the events are of, as the broker's configuration names it.
    #[arg(long)]
    pub cluster: String,
    /// A file with the bearer token of the cluster's audit webhook; otherwise it is read from
    /// `BREAKGLASS_AUDIT_TOKEN`.
    #[arg(long)]
    pub token_file: Option<PathBuf>,
    /// The client certificate of the cluster's audit webhook with its key, PEM in one file.
    #[arg(long)]
    pub certificate_file: Option<PathBuf>,
    /// Further certificate authorities for the broker's address, PEM.
    #[arg(long)]
    pub ca_file: Option<PathBuf>,
}

/// How far it is.
#[derive(Debug, Default)]
struct Tally {
    lines: u64,
    events: u64,
    entered: u64,
    unread: u64,
    others: u64,
    partial: u64,
}

/// Imports; prints what could not be read, how far it is and what came of it. True when all was read.
///
/// # Errors
/// A file cannot be opened, or the broker takes nothing: what was sent until then is entered, and the same import
/// again enters the rest.
pub async fn run(options: &Options) -> Result<bool, String> {
    let sender = Sender::of(options)?;
    let mut tally = Tally::default();
    for file in &options.files {
        of_file(&sender, file, &mut tally).await?;
    }
    println!("{}", tally.said(&options.cluster));
    Ok(tally.unread == 0)
}

async fn of_file(sender: &Sender, file: &std::path::Path, tally: &mut Tally) -> Result<(), String> {
    let name = file.display();
    let mut source = Source::open(file).map_err(|error| format!("{name}: {error}"))?;
    let mut batches: BTreeMap<Wrapping, Batch> = BTreeMap::new();
    let mut progress = Progress::new(name.to_string());
    let mut number = 0_u64;
    loop {
        number += 1;
        let line = match source.next() {
            Ok(Next::Line(line)) => line,
            Ok(Next::TooLong) => {
                tally.unread += 1;
                say(&format!("{name}:{number}: the line is longer than 64 MiB"));
                continue;
            }
            Ok(Next::End) => break,
            Err(error) => {
                tally.unread += 1;
                say(&format!(
                    "{name}:{number}: the file cannot be read any further: {error}"
                ));
                break;
            }
        };
        tally.lines += 1;
        let found = read_line(line);
        for why in &found.unread {
            tally.unread += 1;
            say(&format!(
                "{name}:{number}: {}",
                crate::audit::visible(&crate::audit::scrub(why).0)
            ));
        }
        tally.others += found.others;
        for event in found.events {
            tally.events += 1;
            tally.partial += u64::from(event.wrapping == Wrapping::Gke);
            let batch = batches.entry(event.wrapping).or_default();
            batch.add(&event.event);
            if batch.is_full() {
                tally.entered += sender.send(event.wrapping, batch.take()).await?;
            }
        }
        progress.at(tally, &source);
    }
    for (wrapping, mut batch) in batches {
        if batch.events > 0 {
            tally.entered += sender.send(wrapping, batch.take()).await?;
        }
    }
    Ok(())
}

impl Tally {
    fn said(&self, cluster: &str) -> String {
        let mut said = vec![format!(
            "{} events of {cluster} in {} lines were sent; {} entries came of what was new",
            self.events, self.lines, self.entered
        )];
        if self.others > 0 {
            said.push(format!("{} records of other logs were passed over", self.others));
        }
        if self.partial > 0 {
            said.push(format!(
                "{} of the events are partial: GKE's log has no bodies, no credentials' ids and no exact answers",
                self.partial
            ));
        }
        if self.unread > 0 {
            said.push(format!("{} could not be read: see above", self.unread));
        }
        said.join("\n")
    }
}

/// An `EventList` that is being written.
#[derive(Debug, Default)]
struct Batch {
    text: Vec<u8>,
    events: usize,
}

impl Batch {
    fn add(&mut self, event: &[u8]) {
        let before: &[u8] = if self.events == 0 {
            b"{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},\"items\":["
        } else {
            b","
        };
        self.text.extend_from_slice(before);
        self.text.extend_from_slice(event);
        self.events += 1;
    }

    const fn is_full(&self) -> bool {
        self.events >= EVENTS || self.text.len() >= BYTES
    }

    fn take(&mut self) -> Vec<u8> {
        self.text.extend_from_slice(b"]}");
        self.events = 0;
        std::mem::take(&mut self.text)
    }
}

/// A line on standard error, over the one that says how far it is.
fn say(line: &str) {
    let before = if std::io::stderr().is_terminal() {
        "\r\x1b[K"
    } else {
        ""
    };
    // A terminal that is gone is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{before}{line}");
}

struct Progress {
    name: String,
    said: Instant,
    terminal: bool,
}

impl Progress {
    fn new(name: String) -> Self {
        Self {
            name,
            said: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn at(&mut self, tally: &Tally, source: &Source) {
        let every = if self.terminal { EVERY_ON_A_TERMINAL } else { EVERY };
        if self.said.elapsed() < every {
            return;
        }
        self.said = Instant::now();
        let far = source
            .part()
            .map(|part| format!("{part} %, "))
            .unwrap_or_default();
        let line = format!(
            "{}: {far}{} lines, {} events",
            self.name, tally.lines, tally.events
        );
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        } else {
            say(&line);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_list_of_events_as_they_were() {
        let mut batch = Batch::default();
        batch.add(b"{\"auditID\" :1}");
        batch.add(b"{\"auditID\":2}");
        assert!(!batch.is_full());
        let list: serde_json::Value = serde_json::from_slice(&batch.take()).unwrap();
        assert_eq!(
            (&list["kind"], list["items"].as_array().map(Vec::len)),
            (&"EventList".into(), Some(2))
        );
        for _ in 0..EVENTS {
            batch.add(b"{}");
        }
        assert!(batch.is_full());
        let list: serde_json::Value = serde_json::from_slice(&batch.take()).unwrap();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(EVENTS));
        batch.add(&vec![b' '; BYTES]);
        assert!(batch.is_full(), "a few large ones are a batch too");
    }

    #[test]
    fn what_is_partial_or_was_not_read_is_said() {
        let tally = Tally {
            lines: 3,
            events: 2,
            entered: 1,
            unread: 1,
            others: 4,
            partial: 2,
        };
        let said = tally.said("production");
        for part in [
            "2 events of production in 3 lines",
            "4 records of other logs",
            "2 of the events are partial",
            "1 could not be read",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(Tally::default().said("p").lines().count(), 1);
    }
}
