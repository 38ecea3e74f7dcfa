//! A machine's clock that a test can set wrong while the process runs. Compiled only with the feature
//! `failpoints`.

use breakglass::clock::{Clock, SystemClock, Time};
use chrono::TimeDelta;
use std::path::PathBuf;
use std::sync::Arc;

/// The machine's clock, off by as many seconds as the file says whose path is in `CLOCK_STEP`; no file, or
/// no number in it: not off.
#[derive(Debug)]
pub struct SteppedClock {
    step: Option<PathBuf>,
}

impl SteppedClock {
    /// Reads where the file is; that it changes is seen at once.
    pub fn from_env() -> Arc<Self> {
        let step = std::env::var_os("CLOCK_STEP").map(PathBuf::from);
        Arc::new(Self { step })
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> Time {
        let text = self
            .step
            .as_deref()
            .and_then(|file| std::fs::read_to_string(file).ok());
        let seconds = text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        SystemClock.now() + TimeDelta::seconds(seconds)
    }
}
