//! Who came in, who proved it again, and who was not let in.

use super::{Broker, Result};
use crate::clock::Time;
use crate::domain::entry_kind::EntryKind;
use crate::domain::person::Person;
use crate::domain::transition::{About, Transition, record};
use serde_json::json;

impl Broker {
    /// Somebody signed in; remembered, so that they can be found as an approver.
    ///
    /// # Errors
    /// The store's: then nobody is signed in, since it could not be recorded.
    pub async fn signed_in(&self, person: &Person, auth_time: Time) -> Result<()> {
        self.store.remember(person, self.now()).await?;
        let sentence = format!("{} signed in", person.name);
        self.enter(EntryKind::SignedIn, person, &sentence, auth_time)
            .await
    }

    /// Somebody signed in proved it again, for one action (in words).
    ///
    /// # Errors
    /// The store's: then the action must not happen.
    pub async fn stepped_up(&self, person: &Person, auth_time: Time, action: &str) -> Result<()> {
        self.store.remember(person, self.now()).await?;
        let sentence = format!("{} proved a fresh sign-in to {action}", person.name);
        self.enter(EntryKind::SteppedUp, person, &sentence, auth_time)
            .await
    }

    /// Somebody was not let in.
    ///
    /// # Errors
    /// The store's.
    pub async fn sign_in_refused(&self, kind: &str, words: &str) -> Result<()> {
        let sentence = format!("A sign-in was refused: {words}");
        let facts = json!({"kind": kind});
        let entry = record(
            EntryKind::SignInRefused,
            self.now(),
            About::default(),
            sentence,
            facts,
        );
        self.commit(Transition::new(entry)).await?;
        Ok(())
    }

    async fn enter(&self, kind: EntryKind, person: &Person, sentence: &str, auth_time: Time) -> Result<()> {
        let facts = json!({"person": person.person_claim, "issuer": person.issuer,
            "subject": person.subject, "auth_time": auth_time});
        let entry = record(kind, self.now(), About::default().by(person), sentence, facts);
        self.commit(Transition::new(entry)).await?;
        Ok(())
    }
}
