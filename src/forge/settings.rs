//! What the adapter must be told.

use std::{fmt, time::Duration};

/// A secret text: prints as `[redacted]`, whoever asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: only for the call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// How the broker proves itself to the forge.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A GitHub App: its commits are signed by GitHub, its tokens last an hour and reach one repository.
    App {
        /// The App's id.
        app_id: u64,
        /// Its RSA private key, PEM.
        private_key: Secret,
        /// The installation; looked up from the repository when absent.
        installation_id: Option<u64>,
    },
    /// A machine account's token: no signed commits, and checks become commit statuses.
    Token(Secret),
}

/// Everything the adapter is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API answers, such as `https://api.github.com` or `https://HOST/api/v3`.
    pub api_url: String,
    /// How the broker proves itself.
    pub auth: Auth,
    /// The longest wait for one answer; after it the outcome counts as unknown.
    pub timeout: Duration,
    /// The least time between two writes of many: GitHub asks for one second.
    pub write_gap: Duration,
}

impl Settings {
    /// Settings with GitHub's own limits: 20 s an answer, 1 s between writes.
    #[must_use]
    pub fn new(api_url: impl Into<String>, auth: Auth) -> Self {
        Self {
            api_url: api_url.into(),
            auth,
            timeout: Duration::from_secs(20),
            write_gap: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_ever_printed() {
        let app = Auth::App {
            app_id: 1,
            private_key: Secret::new("hush-key"),
            installation_id: None,
        };
        for auth in [app, Auth::Token(Secret::new("hush-token"))] {
            let shown = format!("{:?}", Settings::new("https://api.example.org", auth));
            assert!(!shown.contains("hush") && shown.contains("[redacted]"), "{shown}");
        }
    }
}
