//! Is audit alive? A request with a nonce goes to each API server every few seconds; it must come back through
//! audit. Nobody is lent access where what they do would not be recorded.

use super::request::skip_conflict;
use super::seen::{Reading, label};
use super::{Broker, Result};
use crate::clock::Time;
use crate::config::{Canary, Cluster, WhenSilent};
use crate::domain::counting::{Why, usual};
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::{EndCause, Grant, GrantState};
use crate::domain::transition::{About, Transition, record};
use crate::ids::random_bytes;
use crate::ledger::{Hash, SignedCheckpoint};
use chrono::TimeDelta;
use serde_json::json;
use std::collections::VecDeque;
use tokio::time::Instant;

/// So many answers say what is usual.
const USUAL: usize = 20;
/// So many canaries that did not come back are remembered: an hour's.
const WAITING: usize = 240;

/// What is known of an API server's canaries.
#[derive(Debug, Default, Clone)]
pub struct Canaries {
    /// When the first one was sent by this process: silence is counted from there at the earliest.
    pub first_sent_at: Option<Time>,
    /// When one was last sent.
    pub sent_at: Option<Time>,
    /// When one last came back.
    pub back_at: Option<Time>,
    /// Why the last one could not be sent.
    pub trouble: Option<String>,
    /// Those that did not come back, with when they were sent; oldest first.
    waiting: VecDeque<(String, Time)>,
    /// How long the last ones took.
    delays: VecDeque<TimeDelta>,
}

impl Canaries {
    /// Since when nothing has come back, if that is longer than `bound` and what the source usually takes.
    #[must_use]
    pub fn silent_since(&self, bound: TimeDelta, now: Time) -> Option<Time> {
        let since = self.back_at.or(self.first_sent_at)?;
        (now - since > bound + self.usual()).then_some(since)
    }

    /// How long one usually takes.
    #[must_use]
    pub fn usual(&self) -> TimeDelta {
        usual(self.delays.iter().copied())
    }

    /// How long the last one took that came back.
    #[must_use]
    pub fn last_delay(&self) -> Option<TimeDelta> {
        self.delays.back().copied()
    }

    /// How many of the last hour's did not come back within `bound` and what is usual.
    #[must_use]
    pub fn missed(&self, bound: TimeDelta, now: Time) -> usize {
        let late = |sent: Time| now - sent > bound + self.usual() && now - sent < TimeDelta::hours(1);
        self.waiting.iter().filter(|(_, sent)| late(*sent)).count()
    }

    /// Whether this one was sent and did not come back yet.
    pub(super) fn awaits(&self, nonce: &str) -> bool {
        self.waiting.iter().any(|(own, _)| own == nonce)
    }

    fn sent(&mut self, nonce: &str, now: Time) {
        self.first_sent_at.get_or_insert(now);
        self.sent_at = Some(now);
        self.waiting.push_back((nonce.to_owned(), now));
        let spare = self.waiting.len().saturating_sub(WAITING);
        self.waiting.drain(..spare);
    }

    /// One came back, now.
    pub(super) fn came_back(&mut self, nonce: &str, now: Time) {
        self.back_at = Some(now);
        if let Some(at) = self.waiting.iter().position(|(own, _)| own == nonce)
            && let Some((_, sent)) = self.waiting.remove(at)
        {
            self.delays.push_back(now - sent);
            let spare = self.delays.len().saturating_sub(USUAL);
            self.delays.drain(..spare);
        }
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
    /// Sends a canary to an API server and reads its counters, when it is time; acts on canaries that stay away and
    /// on events that did not come.
    ///
    /// # Errors
    /// The store's.
    pub async fn look_after_audit(&self, cluster: &str, server: &str) -> Result<()> {
        let Some(settings) = self.config.clusters.get(cluster) else {
            return Ok(());
        };
        let last = self.audit.server(cluster, server, |seen| seen.canaries.sent_at);
        if last.is_none_or(|sent| self.now() - sent >= settings.canary.every.delta()) {
            self.send_canary(cluster, server).await;
            self.judge_silence(cluster, server, &settings.canary).await?;
        }
        self.reckon(cluster, server, settings).await
    }

    /// The counters are read right after: the canary's own event says when that was, by the API server's clock.
    async fn send_canary(&self, name: &str, server: &str) {
        let Some(cluster) = self.clusters.get(name) else {
            return;
        };
        let (now, nonce) = (self.now(), nonce_with(self.head().await));
        self.audit.server(name, server, |seen| {
            seen.canaries.sent(&nonce, now);
            seen.read(Reading::of(&nonce, now));
        });
        let began = Instant::now();
        let sent = cluster.canary(server, &nonce).await;
        let counters = match &sent {
            Ok(()) => Some(cluster.counters(server).await),
            Err(_) => None,
        };
        let took = began.elapsed();
        self.audit.server(name, server, |seen| {
            seen.canaries.trouble = sent.err().map(|error| error.to_string());
            match counters {
                Some(Ok(counters)) => seen.counted(&nonce, counters, took),
                Some(Err(error)) => seen.not_counted(&nonce, Some(error.to_string())),
                None => seen.not_counted(&nonce, None),
            }
        });
    }

    /// The ledger's head, for a canary to carry. Without one the canary goes all the same: that audit is
    /// alive matters more at this moment, and a store that fails is told elsewhere.
    async fn head(&self) -> Option<(u64, Hash)> {
        let head = self.store.head().await.ok()?;
        let note = SignedCheckpoint::parse(&head.checkpoint).ok()?;
        Some((note.checkpoint().size, note.checkpoint().root))
    }

    /// Why no access may be lent on this cluster now, because audit of one of its API servers is silent; `None` when
    /// it is not. An access reaches all of them.
    #[must_use]
    pub fn audit_trouble(&self, cluster: &str) -> Option<String> {
        let settings = self.config.clusters.get(cluster)?;
        settings.servers().into_iter().find_map(|server| {
            let since = self.audit_silent_since(cluster, server, settings)?;
            Some(format!(
                "Audit of {} has been silent since {}: what is done there would not be recorded, so no access is lent",
                label(cluster, server),
                since.format("%H:%M:%S UTC")
            ))
        })
    }

    /// Since when audit of an API server is silent, where it is for longer than it may be.
    #[must_use]
    pub fn audit_silent_since(&self, cluster: &str, server: &str, settings: &Cluster) -> Option<Time> {
        let (bound, now) = (settings.canary.alarm_after.delta(), self.now());
        self.audit
            .server(cluster, server, |seen| seen.canaries.silent_since(bound, now))
    }

    /// What is known of an API server's canaries.
    #[must_use]
    pub fn canaries(&self, cluster: &str, server: &str) -> Canaries {
        self.audit.server(cluster, server, |seen| seen.canaries.clone())
    }

    async fn judge_silence(&self, cluster: &str, server: &str, settings: &Canary) -> Result<()> {
        let now = self.now();
        let canaries = self.canaries(cluster, server);
        let mut known = self.reckoning(cluster, server).await?;
        let whose = label(cluster, server);
        if let Some(since) = canaries.silent_since(settings.alarm_after.delta(), now) {
            if known.silent_since.is_none() {
                known.silent_since = Some(since);
                let text = format!(
                    "Audit of {whose} has been silent since {}; no new access is lent there",
                    since.format("%H:%M:%S UTC")
                );
                let facts = json!({"since": since, "server": server});
                let entered = self.silence(EntryKind::CanaryMissed, cluster, &text, facts);
                self.commit(entered.write(known.keep(cluster, server)?)).await?;
            }
            if now - since > settings.end_after.delta() + canaries.usual() {
                self.end_unrecorded(cluster, &whose, since).await?;
            }
        } else if let (Some(since), Some(back)) = (known.silent_since, canaries.back_at) {
            known.silent_since = None;
            let text = format!("Audit of {whose} speaks again");
            let facts = json!({"at": now, "since": since, "server": server});
            let resumed = self.silence(EntryKind::CanaryResumed, cluster, &text, facts);
            let (gap, open) = self
                .gap((cluster, server), Why::Silent, (since, back), None)
                .await?;
            known.push(open);
            let transition = resumed.and(gap).write(known.keep(cluster, server)?);
            self.commit(transition).await?;
        }
        Ok(())
    }

    fn silence(&self, kind: EntryKind, cluster: &str, text: &str, facts: serde_json::Value) -> Transition {
        let about = About::cluster(cluster);
        let notice = self.notice_compliance(kind.name(), text, text, "/clusters", &about);
        Transition::new(record(kind, self.now(), about, text, facts)).notice(notice)
    }

    /// Whether a grant ends when what is done with it is not recorded: its profile says so, or is gone.
    pub(super) fn ends_in_silence(&self, grant: &Grant) -> bool {
        self.config
            .profiles
            .get(&grant.profile)
            .is_none_or(|profile| profile.when_audit_is_silent == WhenSilent::End)
    }

    /// Ends the grants whose profile says so when audit stays silent.
    async fn end_unrecorded(&self, cluster: &str, whose: &str, since: Time) -> Result<()> {
        for grant in self.live_grants(Some(cluster)).await? {
            if self.ends_in_silence(&grant) && grant.state != GrantState::Ending {
                let reason = format!(
                    "audit of {whose} has been silent since {}",
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

    fn at(seconds: i64) -> Time {
        Time::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn silence_is_counted_from_the_last_answer_or_the_first_question() {
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

    #[test]
    fn a_source_that_is_always_slow_has_as_much_longer() {
        let bound = TimeDelta::seconds(90);
        let mut canaries = Canaries::default();
        for n in 0..10 {
            canaries.sent(&format!("c{n}"), at(n * 15));
        }
        for n in 0..9 {
            canaries.came_back(&format!("c{n}"), at(n * 15 + 40));
        }
        assert_eq!(canaries.usual(), TimeDelta::seconds(40));
        assert_eq!(canaries.silent_since(bound, at(160 + 130)), None);
        assert_eq!(canaries.silent_since(bound, at(160 + 131)), Some(at(160)));
        // The tenth was sent at 135 s.
        assert_eq!(canaries.missed(bound, at(135 + 130)), 0);
        assert_eq!(canaries.missed(bound, at(135 + 131)), 1);
        canaries.came_back("c9", at(270));
        assert_eq!(canaries.missed(bound, at(300)), 0);
        assert!(!canaries.awaits("c9"));
    }
}
