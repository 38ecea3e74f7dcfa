//! Is what a grant's own user does still recorded? An audit policy may hide one user and not another, and may be
//! changed after the key was shown. So the broker goes on asking as that user: with a token of its own, bound to
//! the Secret of the key that was shown, in memory alone, dead with that key.

use super::canary::nonce;
use super::request::skip_conflict;
use super::{Broker, Result};
use crate::audit;
use crate::clock::Time;
use crate::cluster::{Cluster, ClusterError, Token};
use crate::config::Canary;
use crate::domain::grant::{EndCause, Grant, GrantState};
use crate::domain::transition::About;
use crate::ids::GrantId;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The broker's questions as the users of live grants.
#[derive(Debug, Default)]
pub(super) struct OwnUses(Mutex<BTreeMap<GrantId, OwnUse>>);

#[derive(Debug)]
struct OwnUse {
    /// The Secret the token is bound to.
    secret: String,
    token: std::sync::Arc<Token>,
    asked_at: Option<Time>,
    /// Since when no question came back, as far as others' did.
    unseen_since: Option<Time>,
    /// How many questions have not come back since then.
    unseen: u32,
    /// The questions that may still come back, newest last.
    open: Vec<String>,
}

/// So many questions that do not come back are no accident.
const ENOUGH: u32 = 3;
/// How many questions are remembered: more than come back late.
const OPEN: usize = 64;

impl OwnUses {
    /// One came back.
    pub(super) fn came_back(&self, seen: &audit::OwnUse) {
        self.change(seen.grant, |own| {
            if !own.open.contains(&seen.name) {
                return;
            }
            own.unseen_since = None;
            own.unseen = 0;
        });
    }

    fn change<T>(&self, grant: GrantId, what: impl FnOnce(&mut OwnUse) -> T) -> Option<T> {
        self.lock().get_mut(&grant).map(what)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<GrantId, OwnUse>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Under which name the ids of a grant's tokens for this are kept: their late events are no strangers'.
fn setting(grant: GrantId) -> String {
    format!("own-use {grant}")
}

impl Broker {
    /// Asks as every user whose key was shown, and acts on questions that do not come back.
    ///
    /// # Errors
    /// The store's.
    pub async fn ask_as_grants(&self) -> Result<()> {
        let live = self.live_grants(None).await?;
        self.audit
            .own_uses
            .lock()
            .retain(|id, _| live.iter().any(|grant| grant.id == *id));
        for grant in live.iter().filter(|grant| grant.state == GrantState::Active) {
            let Some(settings) = self
                .config
                .clusters
                .get(&grant.cluster)
                .map(|cluster| &cluster.canary)
            else {
                continue;
            };
            if let Err(error) = self.ask_as(grant, settings).await {
                tracing::warn!(grant = %grant.id, %error, "the grant's own user could not be used");
            }
            self.judge_own_use(grant, settings).await?;
        }
        Ok(())
    }

    /// The ids of the tokens that the broker had issued to ask as this grant's user.
    pub(super) async fn own_tokens(&self, grant: GrantId) -> Result<Vec<String>> {
        let ids = self.store.setting(&setting(grant)).await?.unwrap_or_default();
        Ok(ids.split_whitespace().map(str::to_owned).collect())
    }

    #[cfg(test)]
    pub(super) async fn own_token_for_test(&self, grant: GrantId, id: &str) {
        self.store.set_setting(&setting(grant), id).await.unwrap();
    }

    async fn ask_as(&self, grant: &Grant, settings: &Canary) -> Result<()> {
        let shown = grant
            .reveals
            .iter()
            .rfind(|reveal| reveal.shown_at.is_some() && reveal.over_at.is_none());
        let Some(secret) = shown.map(|reveal| &reveal.secret_name) else {
            return Ok(());
        };
        let now = self.now();
        let cluster = self.cluster(&grant.cluster)?;
        let known = self
            .audit
            .own_uses
            .lock()
            .get(&grant.id)
            .filter(|own| own.secret == *secret && own.token.expires_at > now)
            .map(|own| (std::sync::Arc::clone(&own.token), own.asked_at));
        let (token, asked_at) = match known {
            Some(known) => known,
            None => match self.begin_own_use(grant, secret, &**cluster).await? {
                Some(token) => (token, None),
                None => return Ok(()),
            },
        };
        if asked_at.is_some_and(|at| now - at < settings.every.delta()) {
            return Ok(());
        }
        let name = nonce();
        self.audit.own_uses.change(grant.id, |own| {
            own.asked_at = Some(now);
            own.open.push(name.clone());
            let spare = own.open.len().saturating_sub(OPEN);
            own.open.drain(..spare);
        });
        let asked = cluster.canary_as(&token, &name).await;
        match asked {
            Ok(()) => {
                self.audit.own_uses.change(grant.id, |own| {
                    own.unseen_since.get_or_insert(now);
                    own.unseen += 1;
                });
            }
            // The key that was shown is dead, or another one has replaced it.
            Err(ClusterError::Refused { code: 401, .. }) => {
                self.audit.own_uses.lock().remove(&grant.id);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// A token for the grant's user; none where the shown key's Secret is gone. Its id is kept before its first use.
    async fn begin_own_use(
        &self,
        grant: &Grant,
        secret: &str,
        cluster: &dyn Cluster,
    ) -> Result<Option<std::sync::Arc<Token>>> {
        let left = grant
            .ends_at
            .map_or(600, |ends_at| (ends_at - self.now()).num_seconds());
        let seconds = u32::try_from(left.max(600)).unwrap_or(600);
        let Some(token) = cluster.issue_again(&self.access(grant), secret, seconds).await? else {
            return Ok(None);
        };
        let mut ids = self.own_tokens(grant.id).await?;
        ids.push(token.credential_id.clone());
        self.store.set_setting(&setting(grant.id), &ids.join(" ")).await?;
        self.forget_accounts();
        let token = std::sync::Arc::new(token);
        self.audit.own_uses.lock().insert(
            grant.id,
            OwnUse {
                secret: secret.to_owned(),
                token: std::sync::Arc::clone(&token),
                asked_at: None,
                unseen_since: None,
                unseen: 0,
                open: vec![],
            },
        );
        Ok(Some(token))
    }

    async fn judge_own_use(&self, grant: &Grant, settings: &Canary) -> Result<()> {
        let now = self.now();
        // Audit as a whole being late says nothing of one user; that silence has an alarm of its own.
        let speaks = self
            .audit
            .back_at(&grant.cluster)
            .is_some_and(|back| now - back <= settings.alarm_after.delta() / 2);
        let unseen = self.audit.own_uses.change(grant.id, |own| {
            if !speaks && own.unseen_since.is_some() {
                own.unseen_since = Some(now);
                own.unseen = 0;
            }
            // A clock that was set forward, or a machine that slept, makes one question old and not several.
            own.unseen_since.filter(|_| own.unseen >= ENOUGH)
        });
        let Some(since) = unseen
            .flatten()
            .filter(|since| now - *since > settings.alarm_after.delta())
        else {
            return Ok(());
        };
        let reason = format!(
            "what {} does on {} has not been recorded since {}, though audit is alive: the audit policy hides that user",
            grant.account,
            grant.cluster,
            since.format("%H:%M:%S UTC")
        );
        let text = format!("{reason}. The access is {}'s", grant.requester.name);
        self.find(
            &format!("hidden {}", grant.id),
            About::grant(grant),
            &text,
            Some(grant.id),
        )
        .await?;
        if self.ends_in_silence(grant) {
            skip_conflict(self.end(grant.id, EndCause::Policy { reason }).await)?;
        }
        Ok(())
    }
}
