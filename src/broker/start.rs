//! What is entered at start: the policy in force.

use super::{Broker, Result};
use crate::domain::entry_kind::EntryKind;
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
}
