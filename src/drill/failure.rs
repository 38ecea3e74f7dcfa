//! Why a stage failed.

/// Why a stage failed, in words for whoever runs the drill.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody answered.
    #[error("{what} did not answer: {why}")]
    NoAnswer {
        /// Who was asked, and for what.
        what: String,
        /// The error and what caused it.
        why: String,
    },
    /// An answer came, another one than must come.
    #[error("{what} answered {status}: {said}")]
    Answer {
        /// Who was asked, and for what.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What the answer says.
        said: String,
    },
    /// Something that must be on a page, or in a file, is not there.
    #[error("{0}")]
    Missing(String),
    /// It did not come in time.
    #[error("{what} did not come within {seconds} s; at last: {last}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// How it stood at the end.
        last: String,
    },
    /// It was refused and must not be, or the other way round.
    #[error("{0}")]
    Wrong(String),
    /// A program or a file on this machine.
    #[error("{what}: {source}")]
    Machine {
        /// What was done.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
}

impl Failure {
    /// An error of the HTTP client with everything that caused it.
    pub(super) fn no_answer(what: &str, error: &reqwest::Error) -> Self {
        let mut why = error.to_string();
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            why = format!("{why}: {cause}");
            next = cause.source();
        }
        Self::NoAnswer {
            what: what.to_owned(),
            why,
        }
    }

    /// An error of the system.
    pub(super) fn machine(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Machine {
            what: what.into(),
            source,
        }
    }
}
