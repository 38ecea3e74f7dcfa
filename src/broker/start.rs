//! What is done at start: the policy in force is entered, and what a dead process was revealing ends.

use super::{Broker, Result};
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::GrantState;
use crate::domain::job::{Job, JobKind};
use crate::domain::transition::{About, Transition, record};
use serde_json::json;
use std::collections::BTreeMap;

impl Broker {
    /// Enters the digest of the configuration when it is not the one entered last: from here on it is
    /// known which policy was in force when.
    ///
    /// # Errors
    /// The store's.
    pub async fn enter_policy(&self) -> Result<()> {
        let digest = self.config.digest();
        if self.store.setting("policy").await?.as_deref() == Some(digest.as_str()) {
            return Ok(());
        }
        let profiles: BTreeMap<_, _> = self
            .config
            .profiles
            .iter()
            .map(|(name, profile)| (name, profile.digest()))
            .collect();
        let sentence = format!("The policy in force: {}", digest.get(..12).unwrap_or(&digest));
        let facts = json!({"digest": digest, "profiles": profiles});
        let entry = record(
            EntryKind::PolicyLoaded,
            self.now(),
            About::default(),
            sentence,
            facts,
        );
        self.commit(Transition::new(entry)).await?;
        Ok(self.store.set_setting("policy", &digest).await?)
    }

    /// A reveal lives in the process that runs it. One that was under way when the last process died is
    /// over now: its Secret goes at once, and the requester can reveal again without waiting for its bound.
    ///
    /// The store's lock says that no other process is revealing; several replicas must not call this.
    ///
    /// # Errors
    /// The store's.
    pub async fn take_back_reveals(&self) -> Result<()> {
        let now = self.now();
        let jobs: Vec<Job> = self
            .live_grants(None)
            .await?
            .iter()
            .filter(|grant| grant.state == GrantState::Issuing)
            .filter_map(|grant| Some((grant.id, grant.reveals.last()?.id)))
            .map(|(grant, reveal)| Job::new(JobKind::AbandonReveal { grant, reveal }, now))
            .collect();
        Ok(self.store.poke(&jobs).await?)
    }
}
