//! How often somebody may ask before they are told to wait. Kept in memory: a restart begins anew, and
//! what must outlast one (how many requests were filed) is counted in the store.
//!
//! Taking access away passes no limit, and neither does an API server that proved itself.

use super::serve::Client;
use super::{Error, session::Signed};
use crate::config::Limits as Quotas;
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;
use tower_sessions::Session;

/// With more than so many askers in memory, those who could ask anew anyway are forgotten.
const MANY: usize = 10_000;

/// Whose asking is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// A person, by the claim that is the same for all their accounts.
    Person(String),
    /// An address; of IPv6 the 64 bits that one subscriber holds.
    Address(IpAddr),
    /// A browser, where its address is not known.
    Browser(String),
    /// Neither is known.
    Anybody,
}

impl Who {
    /// Whoever is signed in.
    #[must_use]
    pub fn signed(signed: &Signed) -> Self {
        Self::Person(signed.person.person_claim.trim().to_lowercase())
    }

    /// The address a request came from.
    #[must_use]
    pub fn at(client: Option<Client>) -> Self {
        client.map_or(Self::Anybody, |Client(ip)| match ip {
            IpAddr::V4(_) => Self::Address(ip),
            IpAddr::V6(ip) => Self::Address(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into()),
        })
    }

    /// The same; where no address is known, the browser.
    #[must_use]
    pub fn before_sign_in(client: Option<Client>, session: &Session) -> Self {
        match (Self::at(client), session.id()) {
            (Self::Anybody, Some(id)) => Self::Browser(id.to_string()),
            (who, _) => who,
        }
    }
}

/// The limits of one service.
#[derive(Debug)]
pub struct Limits {
    /// Answers of the request form.
    pub previews: Limit,
    /// Round trips to the sign-in provider.
    pub sign_ins: Limit,
    /// Audit senders that could not prove themselves.
    pub strangers: Limit,
    /// How often compliance is told of them, by what is told.
    pub told: Limit<String>,
}

impl Limits {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(quotas: &Quotas) -> Self {
        Self {
            previews: Limit::a_minute(quotas.previews_per_minute, MonotonicClock),
            sign_ins: Limit::a_minute(quotas.sign_ins_per_minute, MonotonicClock),
            strangers: Limit::a_minute(quotas.strangers_per_minute, MonotonicClock),
            told: Limit::a_minute(NonZeroU32::MIN, MonotonicClock),
        }
    }
}

/// So often within a minute, at once or spread; then one by one as the minute passes. Measured by a clock
/// that is never set back: a corrected time of day must lock nobody out.
pub struct Limit<K: Hash + Eq + Clone = Who, C: Clock = MonotonicClock> {
    most: NonZeroU32,
    clock: C,
    limiter: RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<C::Instant>>,
}

impl<K: Hash + Eq + Clone, C: Clock> std::fmt::Debug for Limit<K, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limit")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Limit<K, C> {
    fn a_minute(most: NonZeroU32, clock: C) -> Self {
        Self {
            most,
            limiter: RateLimiter::new(
                Quota::per_minute(most),
                HashMapStateStore::default(),
                clock.clone(),
            ),
            clock,
        }
    }

    /// Counts one asking of `who`.
    ///
    /// # Errors
    /// They asked too often: how long to wait.
    pub fn take(&self, who: &K) -> Result<(), Duration> {
        if self.limiter.len() > MANY {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(who)
            .map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// The same, for a handler of pages; `what` begins the sentence: "The form was asked".
    ///
    /// # Errors
    /// [`Error::TooOften`].
    pub fn hold(&self, who: &K, what: &str) -> Result<(), Error> {
        self.take(who).map_err(|wait| {
            let after_s = whole_seconds(wait);
            Error::TooOften {
                why: format!(
                    "{what} more than {} times within a minute. Wait {after_s} s and try again; ending an access is \
                     never limited",
                    self.most
                ),
                after_s,
            }
        })
    }
}

/// Seconds to wait, as `Retry-After` has them: never too few.
#[must_use]
pub fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests;
