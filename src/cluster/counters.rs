//! What an API server counts of its own audit, from the page of figures that it keeps for monitoring.
//!
//! That page is megabytes long and three figures of it are wanted: it is read as it comes, and never held.

use super::server::{PATIENCE, Result, Server};
use crate::domain::counting::Counters;
use futures::AsyncReadExt;
use http::Request;
use std::pin::pin;

/// Longer pages are no API server's.
const PAGE: usize = 256 << 20;
/// The lines that are wanted are shorter.
const LINE: usize = 1024;
/// Where events are lost on their way here. A log file of its own is no part of it.
const ON_THE_WAY: [&str; 3] = ["webhook", "buffered", "truncate"];

/// Asks it.
pub(super) async fn read(server: &Server) -> Result<Counters> {
    let doing = "reading its counters";
    let request = Request::get("/metrics")
        .body(vec![])
        .map_err(|error| server.unreachable(doing, &error.to_string()))?;
    let reading = async {
        let mut page = pin!(
            server
                .client
                .request_stream(request)
                .await
                .map_err(|error| server.explain(doing, &error))?
        );
        let (mut scan, mut piece, mut length) = (Scan::default(), vec![0; 64 << 10], 0);
        loop {
            let read = page
                .read(&mut piece)
                .await
                .map_err(|error| server.unreachable(doing, &error.to_string()))?;
            length += read;
            if read == 0 {
                break;
            }
            if length > PAGE {
                return Err(server.unreachable(doing, "the answer does not end"));
            }
            scan.take(&piece[..read]);
        }
        scan.done()
            .ok_or_else(|| server.unreachable(doing, "the answer holds no counters of audit"))
    };
    let slow = |_| server.unreachable(doing, &format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, reading).await.map_err(slow)?
}

/// Picks the figures out of a page that comes in pieces.
#[derive(Debug, Default)]
pub struct Scan {
    line: Vec<u8>,
    /// The line is longer than any that is wanted: its rest is passed over.
    long: bool,
    started: Option<f64>,
    audited: Option<f64>,
    given_up: f64,
}

impl Scan {
    /// Takes the next piece.
    pub fn take(&mut self, mut piece: &[u8]) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.keep(&piece[..end]);
            self.end_line();
            piece = &piece[end + 1..];
        }
        self.keep(piece);
    }

    /// The figures, where all of them were there and can be.
    #[must_use]
    pub fn done(mut self) -> Option<Counters> {
        self.end_line();
        Some(Counters {
            started_ms: i64::try_from(whole(self.started? * 1000.0)?).ok()?,
            audited: whole(self.audited?)?,
            given_up: whole(self.given_up)?,
        })
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.long || self.line.len() + bytes.len() > LINE {
            self.long = true;
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.long) {
            return;
        }
        let Some((name, value)) = std::str::from_utf8(&line)
            .ok()
            .and_then(|line| line.trim_end().rsplit_once(' '))
        else {
            return;
        };
        let Ok(value) = value.parse::<f64>() else { return };
        match name {
            "process_start_time_seconds" => self.started = Some(value),
            "apiserver_audit_event_total" => self.audited = Some(value),
            _ => {
                let plugin = name
                    .strip_prefix("apiserver_audit_error_total{plugin=\"")
                    .and_then(|name| name.strip_suffix("\"}"));
                if plugin.is_some_and(|plugin| ON_THE_WAY.contains(&plugin)) {
                    self.given_up += value;
                }
            }
        }
    }
}

/// A figure that counts something: neither negative nor beyond what is counted exactly.
fn whole(value: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded just before"
    )]
    (0.0..9e15).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP apiserver_audit_event_total [ALPHA] Counter of audit events generated.\n\
        # TYPE apiserver_audit_event_total counter\napiserver_audit_event_total 960\n\
        apiserver_audit_error_total{plugin=\"webhook\"} 9\napiserver_audit_error_total{plugin=\"buffered\"} 3\n\
        apiserver_audit_error_total{plugin=\"log\"} 70\napiserver_audit_level_total{level=\"Metadata\"} 960\n\
        process_start_time_seconds 1.76377239725e+09\n";

    fn scanned(page: &str, piece: usize) -> Option<Counters> {
        let mut scan = Scan::default();
        page.as_bytes().chunks(piece).for_each(|piece| scan.take(piece));
        scan.done()
    }

    #[test]
    fn the_three_figures_are_found_however_the_page_comes() {
        let counters = Counters {
            started_ms: 1_763_772_397_250,
            audited: 960,
            given_up: 12,
        };
        for piece in [1, 7, 4096] {
            assert_eq!(scanned(PAGE, piece), Some(counters));
        }
    }

    #[test]
    fn a_page_without_them_is_none() {
        assert_eq!(scanned("<html>apiserver_audit_event_total 3</html>", 9), None);
        let without = PAGE.replace("process_start", "start");
        assert_eq!(scanned(&without, 64), None);
        for wrong in ["NaN", "-1", "1e300", "+Inf"] {
            let page = PAGE.replace("event_total 960", &format!("event_total {wrong}"));
            assert_eq!(scanned(&page, 64), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_without_an_end_costs_no_memory() {
        let mut scan = Scan::default();
        for _ in 0..100 {
            scan.take(&[b'x'; 4096]);
        }
        assert!(scan.line.len() <= LINE);
        scan.take(b"\n");
        scan.take(PAGE.as_bytes());
        assert!(scan.done().is_some());
    }
}
