//! Work that keeps a core busy: off the threads that serve connections, and no more of it at once than there are
//! cores. What waits for a core holds its memory; whoever brings work in bounds that.

use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;

static FREE: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(count())));

/// How many there are.
#[must_use]
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Does `work` on a core that is free, and waits for it. Once begun it is gone through with, also where nobody waits
/// any more; a panic goes on in the caller.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let free = Arc::clone(&FREE).acquire_owned().await;
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(free);
        done
    });
    match working.await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down: nobody is served any more.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn no_more_runs_at_once_than_there_are_cores() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let all = (0..4 * count()).map(|_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            run(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(5));
                now.fetch_sub(1, Ordering::SeqCst);
            })
        });
        futures::future::join_all(all).await;
        assert!((1..=count()).contains(&most.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn a_panic_is_the_callers_and_gives_the_core_back() {
        for _ in 0..2 * count() {
            let failed = tokio::spawn(run(|| panic!("on purpose"))).await;
            assert!(failed.unwrap_err().is_panic());
        }
        assert_eq!(run(|| 7).await, 7);
    }
}
