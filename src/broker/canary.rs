//! Is audit alive? A request with a nonce goes out every few seconds; it must come back through audit.
//! Nobody is lent access where what they do would not be recorded.

use super::request::skip_conflict;
use super::{Broker, Result};
use crate::clock::Time;
use crate::config::{Canary, WhenSilent};
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::{EndCause, Grant, GrantState};
use crate::domain::transition::{About, Transition, record};
use crate::ids::random_bytes;
use crate::ledger::{Hash, SignedCheckpoint};
use serde_json::json;

/// What is known of a cluster's canaries.
#[derive(Debug, Default, Clone)]
pub struct Canaries {
    /// When the first one was sent by this process: silence is counted from there at the earliest.
    pub first_sent_at: Option<Time>,
    /// When one was last sent.
    pub sent_at: Option<Time>,
    /// When one last came back.
    pub back_at: Option<Time>,
    /// The silence was entered in the ledger.
    pub silent: bool,
    /// Why the last one could not be sent.
    pub trouble: Option<String>,
    /// Nonces that came back, newest last.
    pub seen: Vec<String>,
}

impl Canaries {
    /// Since when nothing has come back, if that is longer than `bound`.
    #[must_use]
    pub fn silent_since(&self, bound: chrono::TimeDelta, now: Time) -> Option<Time> {
        let since = self.back_at.or(self.first_sent_at)?;
        (now - since > bound).then_some(since)
    }
}

/// The prefix of every canary's name.
pub const CANARY_PREFIX: &str = "breakglass-canary-";

/// A new name for a canary: unguessable, so that nobody can answer for it.
#[must_use]
pub fn nonce() -> String {
    nonce_with(None)
}

/// The same, carrying a head of the ledger into the cluster's own audit log, where the broker's operator
/// cannot change it: `verify --audit-log` holds the ledger to it.
#[must_use]
pub fn nonce_with(head: Option<(u64, Hash)>) -> String {
    let nonce = format!("{CANARY_PREFIX}{}", hex::encode(random_bytes::<12>()));
    match head {
        Some((size, root)) => format!("{nonce}-{size}-{}", hex::encode(root)),
        None => nonce,
    }
}

/// The head that a canary of this name carries: size and root.
#[must_use]
pub fn carried(name: &str) -> Option<(u64, Hash)> {
    let mut parts = name.strip_prefix(CANARY_PREFIX)?.split('-');
    let (_, size, root) = (parts.next()?, parts.next()?, parts.next()?);
    let mut hash = Hash::default();
    hex::decode_to_slice(root, &mut hash).ok()?;
    parts.next().is_none().then_some((size.parse().ok()?, hash))
}

impl Broker {
    /// Sends a canary to every cluster and acts on those that stay away.
    ///
    /// # Errors
    /// The store's.
    pub async fn send_canaries(&self) -> Result<()> {
        for (name, settings) in &self.config.clusters {
            let now = self.now();
            let last = self.audit.canaries(name).sent_at;
            if last.is_some_and(|sent| now - sent < settings.canary.every.delta()) {
                continue;
            }
            self.audit.with(name, |seen| {
                seen.canaries.first_sent_at.get_or_insert(now);
                seen.canaries.sent_at = Some(now);
            });
            let sent = match self.clusters.get(name) {
                Some(cluster) => cluster.canary(&nonce_with(self.head().await)).await,
                None => continue,
            };
            let trouble = sent.err().map(|error| error.to_string());
            self.audit.with(name, |seen| seen.canaries.trouble = trouble);
            self.judge_silence(name, &settings.canary).await?;
        }
        Ok(())
    }

    /// The ledger's head, for a canary to carry. Without one the canary goes all the same: that audit is
    /// alive matters more at this moment, and a store that fails is told elsewhere.
    async fn head(&self) -> Option<(u64, Hash)> {
        let head = self.store.head().await.ok()?;
        let note = SignedCheckpoint::parse(&head.checkpoint).ok()?;
        Some((note.checkpoint().size, note.checkpoint().root))
    }

    /// Why no access may be lent on this cluster now, because audit is silent; `None` when it is not.
    #[must_use]
    pub fn audit_trouble(&self, cluster: &str) -> Option<String> {
        let settings = &self.config.clusters.get(cluster)?.canary;
        let canaries = self.audit.canaries(cluster);
        let since = canaries.silent_since(settings.alarm_after.delta(), self.now())?;
        Some(format!(
            "Audit of {cluster} has been silent since {}: what is done there would not be recorded, so no access is lent",
            since.format("%H:%M:%S UTC")
        ))
    }

    async fn judge_silence(&self, cluster: &str, settings: &Canary) -> Result<()> {
        let now = self.now();
        let canaries = self.audit.canaries(cluster);
        let silent = canaries.silent_since(settings.alarm_after.delta(), now);
        if let Some(since) = silent {
            if !canaries.silent {
                let text = format!(
                    "Audit of {cluster} has been silent since {}; no new access is lent there",
                    since.format("%H:%M:%S UTC")
                );
                self.enter_silence(EntryKind::CanaryMissed, cluster, &text, json!({"since": since}))
                    .await?;
                self.audit.with(cluster, |seen| seen.canaries.silent = true);
            }
            if now - since > settings.end_after.delta() {
                self.end_unrecorded(cluster, since).await?;
            }
        } else if canaries.silent && canaries.back_at.is_some() {
            let text = format!("Audit of {cluster} speaks again");
            self.enter_silence(EntryKind::CanaryResumed, cluster, &text, json!({"at": now}))
                .await?;
            self.audit.with(cluster, |seen| seen.canaries.silent = false);
        }
        Ok(())
    }

    async fn enter_silence(
        &self,
        kind: EntryKind,
        cluster: &str,
        text: &str,
        facts: serde_json::Value,
    ) -> Result<()> {
        let about = About::cluster(cluster);
        let notice = self.notice_compliance(kind.name(), text, text, "/clusters", &about);
        let entry = record(kind, self.now(), about, text, facts);
        self.commit(Transition::new(entry).notice(notice)).await?;
        Ok(())
    }

    /// Whether a grant ends when what is done with it is not recorded: its profile says so, or is gone.
    pub(super) fn ends_in_silence(&self, grant: &Grant) -> bool {
        self.config
            .profiles
            .get(&grant.profile)
            .is_none_or(|profile| profile.when_audit_is_silent == WhenSilent::End)
    }

    /// Ends the grants whose profile says so when audit stays silent.
    async fn end_unrecorded(&self, cluster: &str, since: Time) -> Result<()> {
        for grant in self.live_grants(Some(cluster)).await? {
            if self.ends_in_silence(&grant) && grant.state != GrantState::Ending {
                let reason = format!(
                    "audit of {cluster} has been silent since {}",
                    since.format("%H:%M:%S UTC")
                );
                skip_conflict(self.end(grant.id, EndCause::Policy { reason }).await)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn silence_is_counted_from_the_last_answer_or_the_first_question() {
        let at = |seconds| Time::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let bound = TimeDelta::seconds(90);
        let mut canaries = Canaries::default();
        assert_eq!(
            canaries.silent_since(bound, at(1_000)),
            None,
            "nothing was asked yet"
        );
        canaries.first_sent_at = Some(at(0));
        assert_eq!(canaries.silent_since(bound, at(90)), None);
        assert_eq!(canaries.silent_since(bound, at(91)), Some(at(0)));
        canaries.back_at = Some(at(80));
        assert_eq!(canaries.silent_since(bound, at(91)), None);
        assert_eq!(canaries.silent_since(bound, at(171)), Some(at(80)));
    }
}
