//! What every handler can reach.

use super::authorities::Authorities;
use super::limits::Limits;
use crate::broker::Broker;
use crate::config::Config;
use crate::identity::Identity;
use crate::store::session::Sessions;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The service as its handlers see it.
#[derive(Clone)]
pub struct App {
    /// The use cases.
    pub broker: Arc<Broker>,
    /// The sign-in provider.
    pub identity: Arc<dyn Identity>,
    /// Where web sessions are kept.
    pub sessions: Sessions,
    /// Who may sign the API servers' client certificates; none until the listener has read them.
    pub authorities: Authorities,
    /// How often who asked.
    pub limits: Arc<Limits>,
    /// Set when the service goes away: live pages end then.
    pub stop: CancellationToken,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// The service over `broker`, with people known by `identity`.
    #[must_use]
    pub fn new(broker: Arc<Broker>, identity: Arc<dyn Identity>) -> Self {
        let sessions = Sessions::new(broker.store.clone(), broker.clock.clone());
        let limits = Arc::new(Limits::new(&broker.config.server.limits));
        Self {
            limits,
            broker,
            identity,
            sessions,
            authorities: Authorities::default(),
            stop: CancellationToken::new(),
        }
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.broker.config
    }

    /// Whether people reach the service encrypted: decides on `Secure` cookies and HSTS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.config().server.public_url.is_https()
    }
}
