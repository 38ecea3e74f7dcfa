//! The lines a drill prints: a stage each, with its measured time and its proof.

use super::failure::Failure;
use std::time::{Duration, Instant};

/// Text of others is cut to so many characters a line.
const LONGEST: usize = 300;

/// Counts what passed and what failed, and prints it.
#[derive(Debug, Default)]
pub(super) struct Score {
    passed: u32,
    failed: u32,
}

impl Score {
    /// Runs one stage and prints its line. Nothing comes back when it failed.
    pub(super) async fn stage<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<(T, String), Failure>>,
    ) -> Option<T> {
        let begun = Instant::now();
        let done = work.await;
        self.entered(name, begun.elapsed(), done)
    }

    /// Prints the line of a stage whose time was measured elsewhere.
    pub(super) fn entered<T>(
        &mut self,
        name: &str,
        took: Duration,
        done: Result<(T, String), Failure>,
    ) -> Option<T> {
        match done {
            Ok((value, proof)) => {
                self.passed += 1;
                println!("{}", line("ok", took, name, &proof));
                Some(value)
            }
            Err(failure) => {
                self.failed += 1;
                println!("{}", line("FAIL", took, name, &failure.to_string()));
                None
            }
        }
    }

    /// The closing line; whether nothing failed and something passed.
    pub(super) fn close(&self) -> bool {
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}

fn line(verdict: &str, took: Duration, name: &str, words: &str) -> String {
    format!(
        "{verdict:<4} {:>6.1} s  {name}: {}",
        took.as_secs_f64(),
        plain(words)
    )
}

/// Text of others for a terminal: one line, bounded, without characters that could move the cursor.
pub(super) fn plain(text: &str) -> String {
    let one = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut plain: String = one.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if one.chars().count() > LONGEST {
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drill_without_failure_passes_and_one_without_stage_does_not() {
        let mut score = Score::default();
        assert!(!score.close(), "nothing was tried");
        assert_eq!(
            score.stage("a", async { Ok((7, "seen".to_owned())) }).await,
            Some(7)
        );
        assert!(score.close());
        let failed: Option<()> = score
            .stage("b", async { Err(Failure::Missing("no page".to_owned())) })
            .await;
        assert_eq!((failed, score.close()), (None, false));
    }

    #[test]
    fn a_line_holds_no_control_characters() {
        let said = line(
            "ok",
            Duration::from_millis(3_249),
            "request filed",
            "a\nb\u{1b}[2J",
        );
        assert_eq!(said, "ok      3.2 s  request filed: a b[2J");
    }
}
