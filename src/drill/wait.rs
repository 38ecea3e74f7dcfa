//! Waiting for what others do, with a bound.

use super::failure::Failure;
use std::time::{Duration, Instant};

/// How often is looked again.
const EVERY: Duration = Duration::from_millis(300);

/// Looks until `look` finds what it looks for, `bound` long at most. `look` answers with what it found,
/// or in words how it stands; its failure ends the waiting.
pub(super) async fn until<T>(
    what: &str,
    bound: Duration,
    mut look: impl AsyncFnMut() -> Result<Result<T, String>, Failure>,
) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        match look().await? {
            Ok(found) => return Ok(found),
            Err(last) if begun.elapsed() >= bound => {
                return Err(Failure::Late {
                    what: what.to_owned(),
                    seconds: bound.as_secs(),
                    last,
                });
            }
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}

/// A length of time as the lines write it.
pub(super) fn seconds(length: Duration) -> String {
    if length < Duration::from_secs(1) {
        format!("{} ms", length.as_millis())
    } else {
        format!("{:.1} s", length.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_come_is_a_failure_that_says_how_it_stood() {
        let mut looks = 0;
        let found = until("it", Duration::from_secs(5), async || {
            looks += 1;
            Ok(if looks == 2 {
                Ok(7)
            } else {
                Err("not yet".to_owned())
            })
        });
        assert_eq!(found.await.unwrap(), 7);
        let late: Result<(), _> = until("it", Duration::ZERO, async || Ok(Err("pending".to_owned()))).await;
        assert!(late.unwrap_err().to_string().ends_with("at last: pending"));
    }
}
