//! How far a verification is, on a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// The bar is drawn again after so long at the earliest.
const EVERY: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

/// A bar on standard error, where that is a terminal; nothing elsewhere.
#[derive(Debug)]
pub struct Bar {
    total: u64,
    drawn: Option<Instant>,
    shown: bool,
}

impl Bar {
    /// A bar for `total` entries.
    #[must_use]
    pub fn of(total: u64) -> Self {
        Self {
            total,
            drawn: None,
            shown: std::io::stderr().is_terminal(),
        }
    }

    /// So many are done.
    pub fn at(&mut self, done: u64) {
        if !self.shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        // A terminal that is gone is no reason to stop checking.
        let _ = write!(std::io::stderr(), "\r\x1b[K{}", line(done, self.total));
        let _ = std::io::stderr().flush();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(done: u64, total: u64) -> String {
    let done = done.min(total);
    let part = |of: u64| match total {
        0 => of,
        _ => u64::try_from(u128::from(done) * u128::from(of) / u128::from(total)).unwrap_or(of),
    };
    let full = usize::try_from(part(WIDTH)).unwrap_or_default();
    let rest = usize::try_from(WIDTH).unwrap_or_default() - full;
    format!(
        "[{}{}] {:3} %  {done} of {total} entries",
        "#".repeat(full),
        ".".repeat(rest),
        part(100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_empty_at_the_start_and_full_at_the_end() {
        assert_eq!(line(0, 9), format!("[{}]   0 %  0 of 9 entries", ".".repeat(30)));
        assert_eq!(line(9, 9), format!("[{}] 100 %  9 of 9 entries", "#".repeat(30)));
        assert!(line(500_000, 1_000_000).starts_with(&format!(
            "[{}{}]  50 %",
            "#".repeat(15),
            ".".repeat(15)
        )));
        assert!(line(u64::MAX, u64::MAX).contains("100 %") && line(0, 0).contains("100 %"));
    }
}
