//! A grant: the access itself. Provisioning → Ready → (Issuing) → Active → Ending → Ended.
//! Ending never gives up, and a grant in Ending never comes back.

use super::person::Person;
use crate::clock::Time;
use crate::ids::{GrantId, RequestId, RevealId};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a grant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantState {
    /// Approved; the worker lays out the access.
    Provisioning,
    /// The access is laid out; no token exists.
    Ready,
    /// A reveal is under way.
    Issuing,
    /// A token is out.
    Active,
    /// The access is being taken away.
    Ending,
    /// The access is proved dead.
    Ended,
}

impl GrantState {
    /// The name as stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Ready => "ready",
            Self::Issuing => "issuing",
            Self::Active => "active",
            Self::Ending => "ending",
            Self::Ended => "ended",
        }
    }

    /// Access exists or may exist in the cluster.
    #[must_use]
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::Ended)
    }
}

/// One showing of a credential: a Secret and a token of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reveal {
    /// Its id.
    pub id: RevealId,
    /// The Secret the token is bound to; the token dies with it.
    pub secret_name: String,
    /// When it began.
    pub started_at: Time,
    /// The token's `jti`, by which audit names the credential.
    pub credential_id: Option<String>,
    /// SHA-256 of the token, hex: enough to recognise it, useless to use it.
    pub token_hash: Option<String>,
    /// A token bound to the same Secret that the API server refuses as a credential: it proves the death.
    pub probe_token: Option<String>,
    /// The expiry the server really gave.
    pub expires_at: Option<Time>,
    /// When it was shown.
    pub shown_at: Option<Time>,
    /// When it failed, or its Secret was ordered away.
    pub over_at: Option<Time>,
}

/// Why a grant ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum EndCause {
    /// Its time is over.
    Deadline,
    /// It was never revealed in time.
    ShelfLife,
    /// The engineer is done.
    Done {
        /// The requester.
        by: Person,
    },
    /// Somebody took it away.
    Revoked {
        /// Who.
        by: Person,
        /// Why.
        reason: String,
    },
    /// The broker itself ends it.
    Policy {
        /// Why, in words.
        reason: String,
    },
}

impl EndCause {
    /// The cause in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Deadline => "its time was over".to_owned(),
            Self::ShelfLife => "it was never revealed in time".to_owned(),
            Self::Done { by } => format!("{} said they were done", by.name),
            Self::Revoked { by, reason } => format!("{} revoked it: {reason}", by.name),
            Self::Policy { reason } => format!("the broker ended it: {reason}"),
        }
    }
}

/// What is known of taking a grant away. Each time is written once and never moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Why.
    pub cause: EndCause,
    /// When it was decided.
    pub since: Time,
    /// When the last binding was gone: the next request is refused from here on.
    pub refused_after: Option<Time>,
    /// When the Secrets and the `ServiceAccount` were gone.
    pub removed_at: Option<Time>,
    /// When the credential was proved dead.
    pub dead_after: Option<Time>,
    /// How the death was proved, in words.
    pub proof: Option<String>,
    /// Since when a removal has been failing.
    pub failing_since: Option<Time>,
    /// What it fails with.
    pub error: Option<String>,
    /// It has been failing long enough to be an alarm.
    pub stuck: bool,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The request it came from.
    pub request: RequestId,
    /// Whose access it is.
    pub requester: Person,
    /// Who approved it, extensions included.
    pub approvers: Vec<Person>,
    /// The team.
    pub team: String,
    /// The cluster.
    pub cluster: String,
    /// The UID of its `kube-system` namespace.
    pub cluster_uid: String,
    /// The namespaces.
    pub namespaces: Vec<String>,
    /// The profile.
    pub profile: String,
    /// The `ClusterRole` bound.
    pub cluster_role: String,
    /// Digest of its rules as approved.
    pub rules: Value,
    /// Reason and incident, for pages and the pull request.
    pub reason: String,
    /// The incident.
    pub incident: Option<String>,
    /// Seconds of access from the first reveal.
    pub duration_s: u32,
    /// The `ServiceAccount`'s name, which is also the bindings'.
    pub account: String,
    /// When it was approved.
    pub approved_at: Time,
    /// Until when it may lie unrevealed.
    pub shelf_until: Time,
    /// When everything was laid out.
    pub ready_at: Option<Time>,
    /// When the first reveal was shown: the access clock starts here.
    pub active_since: Option<Time>,
    /// When the access ends.
    pub ends_at: Option<Time>,
    /// All reveals, oldest first.
    pub reveals: Vec<Reveal>,
    /// Set once it is being taken away.
    pub ending: Option<Ending>,
    /// When it was proved dead.
    pub ended_at: Option<Time>,
    /// When its first change was seen, so that it is told once.
    pub first_change_at: Option<Time>,
    /// Where it stands.
    pub state: GrantState,
    /// Counts the changes: the store's guard against two writers.
    pub version: u64,
}

/// Why a step on a grant is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefusal {
    /// Not in a state that allows it.
    #[error("this access is {0}; that is not possible now")]
    WrongState(&'static str),
    /// Somebody else's.
    #[error("only the person who asked for this access can do that")]
    NotYours,
    /// Its time is over.
    #[error("the time of this access is over")]
    Over,
    /// Longer than now.
    #[error("shortening can only bring the end nearer; to stay longer, ask for an extension")]
    NotShorter,
    /// No reason given.
    #[error("a reason is needed; it is part of the record")]
    NoReason,
}

impl Grant {
    /// The names of its reveals' Secrets that may still exist.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.reveals.iter().map(|reveal| reveal.secret_name.as_str())
    }

    /// Everything a step needs is laid out in the cluster.
    ///
    /// # Errors
    /// Not Provisioning.
    pub fn ready(mut self, now: Time) -> Result<Self, GrantRefusal> {
        self.expect(&[GrantState::Provisioning])?;
        self.ready_at = Some(now);
        self.state = GrantState::Ready;
        Ok(self)
    }

    /// Begins a reveal with a Secret of its own.
    ///
    /// # Errors
    /// Not the requester's, not Ready or Active, or its time is over.
    pub fn begin_reveal(mut self, by: &Person, now: Time) -> Result<(Self, RevealId), GrantRefusal> {
        if !self.requester.same_person(by) {
            return Err(GrantRefusal::NotYours);
        }
        self.expect(&[GrantState::Ready, GrantState::Active])?;
        if self.is_over(now) {
            return Err(GrantRefusal::Over);
        }
        let id = RevealId::new();
        self.reveals.push(Reveal {
            id,
            secret_name: format!("{}-{}", self.account, id.short()),
            started_at: now,
            credential_id: None,
            token_hash: None,
            probe_token: None,
            expires_at: None,
            shown_at: None,
            over_at: None,
        });
        self.state = GrantState::Issuing;
        Ok((self, id))
    }

    /// A token of the reveal was issued. Written down before its first use: an event of a credential
    /// that is not written down is an alarm.
    ///
    /// # Errors
    /// Not Issuing this reveal.
    pub fn issued(mut self, reveal: RevealId, issued: Issued) -> Result<Self, GrantRefusal> {
        let reveal = self.issuing(reveal)?;
        reveal.credential_id = Some(issued.credential_id);
        reveal.token_hash = Some(issued.token_hash);
        reveal.probe_token = Some(issued.probe_token);
        reveal.expires_at = Some(issued.expires_at);
        Ok(self)
    }

    /// The token was seen in audit and goes out now. Returns the Secrets of the reveals it replaces.
    ///
    /// # Errors
    /// Not Issuing this reveal, no token issued, or its time is over.
    pub fn shown(mut self, reveal: RevealId, now: Time) -> Result<(Self, Vec<String>), GrantRefusal> {
        if self.is_over(now) {
            return Err(GrantRefusal::Over);
        }
        let this = self.issuing(reveal)?;
        if this.credential_id.is_none() {
            return Err(GrantRefusal::WrongState("waiting for its token"));
        }
        this.shown_at = Some(now);
        let mut replaced = vec![];
        for other in &mut self.reveals {
            if other.id != reveal && other.over_at.is_none() {
                other.over_at = Some(now);
                replaced.push(other.secret_name.clone());
            }
        }
        self.active_since.get_or_insert(now);
        // The access clock starts at the first reveal; revealing again never lengthens it.
        let ends_at = now + TimeDelta::seconds(i64::from(self.duration_s));
        self.ends_at.get_or_insert(ends_at);
        self.state = GrantState::Active;
        Ok((self, replaced))
    }

    /// The reveal failed; the state goes back to where it came from.
    ///
    /// # Errors
    /// Not Issuing, or not this reveal.
    pub fn reveal_failed(mut self, reveal: RevealId, now: Time) -> Result<(Self, String), GrantRefusal> {
        self.expect(&[GrantState::Issuing])?;
        let Some(failed) = self.reveals.iter_mut().find(|r| r.id == reveal && r.shown_at.is_none()) else {
            return Err(GrantRefusal::WrongState("not revealing that"));
        };
        failed.over_at = Some(now);
        let secret = failed.secret_name.clone();
        self.state = if self.active_since.is_some() { GrantState::Active } else { GrantState::Ready };
        Ok((self, secret))
    }

    /// Longer, by a new approval: the new duration counts from the first reveal.
    ///
    /// # Errors
    /// Already being taken away.
    pub fn extend(mut self, extra_s: u32, approvers: &[Person]) -> Result<Self, GrantRefusal> {
        self.expect(&[GrantState::Provisioning, GrantState::Ready, GrantState::Issuing, GrantState::Active])?;
        self.duration_s = self.duration_s.saturating_add(extra_s);
        if let Some(ends_at) = &mut self.ends_at {
            *ends_at += TimeDelta::seconds(i64::from(extra_s));
        }
        self.approvers.extend_from_slice(approvers);
        Ok(self)
    }

    /// Shorter, at once.
    ///
    /// # Errors
    /// Not Active, or the new end is not before the present one.
    pub fn shorten(mut self, ends_at: Time, now: Time) -> Result<Self, GrantRefusal> {
        self.expect(&[GrantState::Active, GrantState::Issuing])?;
        match self.ends_at {
            Some(old) if ends_at < old && ends_at > now => {
                self.ends_at = Some(ends_at);
                Ok(self)
            }
            _ => Err(GrantRefusal::NotShorter),
        }
    }

    /// Begins to take the access away; from any state but Ending and Ended.
    ///
    /// # Errors
    /// Already being taken away, or a revocation without a reason.
    pub fn end(mut self, cause: EndCause, now: Time) -> Result<Self, GrantRefusal> {
        self.expect(&[GrantState::Provisioning, GrantState::Ready, GrantState::Issuing, GrantState::Active])?;
        if let EndCause::Revoked { reason, .. } = &cause
            && reason.trim().is_empty()
        {
            return Err(GrantRefusal::NoReason);
        }
        self.ending = Some(Ending {
            cause,
            since: now,
            refused_after: None,
            removed_at: None,
            dead_after: None,
            proof: None,
            failing_since: None,
            error: None,
            stuck: false,
        });
        for reveal in &mut self.reveals {
            reveal.over_at.get_or_insert(now);
        }
        self.state = GrantState::Ending;
        Ok(self)
    }

    /// The death is proved. The probe tokens have served and are forgotten.
    ///
    /// # Errors
    /// Not Ending, or a proof is missing.
    pub fn ended(mut self, now: Time) -> Result<Self, GrantRefusal> {
        self.expect(&[GrantState::Ending])?;
        match &self.ending {
            Some(Ending { refused_after: Some(_), dead_after: Some(_), .. }) => {}
            _ => return Err(GrantRefusal::WrongState("not proved dead yet")),
        }
        for reveal in &mut self.reveals {
            reveal.probe_token = None;
        }
        self.ended_at = Some(now);
        self.state = GrantState::Ended;
        Ok(self)
    }

    /// Why the clock ends it now, if it does.
    #[must_use]
    pub fn overdue(&self, now: Time) -> Option<EndCause> {
        match self.state {
            GrantState::Ending | GrantState::Ended => None,
            _ if self.ends_at.is_some_and(|ends_at| now >= ends_at) => Some(EndCause::Deadline),
            GrantState::Provisioning | GrantState::Ready if now >= self.shelf_until => {
                Some(EndCause::ShelfLife)
            }
            _ => None,
        }
    }

    /// It was shown to somebody at least once.
    #[must_use]
    pub fn was_revealed(&self) -> bool {
        self.active_since.is_some()
    }

    /// The reveal under way, if it is `reveal` and was not ordered away meanwhile.
    fn issuing(&mut self, reveal: RevealId) -> Result<&mut Reveal, GrantRefusal> {
        self.expect(&[GrantState::Issuing])?;
        self.reveals
            .iter_mut()
            .find(|r| r.id == reveal && r.over_at.is_none())
            .ok_or(GrantRefusal::WrongState("being taken away"))
    }

    fn is_over(&self, now: Time) -> bool {
        self.ends_at.is_some_and(|ends_at| now >= ends_at)
            || (self.active_since.is_none() && now >= self.shelf_until)
    }

    fn expect(&self, states: &[GrantState]) -> Result<(), GrantRefusal> {
        if states.contains(&self.state) { Ok(()) } else { Err(GrantRefusal::WrongState(self.state.name())) }
    }
}

/// What is kept of an issued token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token's `jti`.
    pub credential_id: String,
    /// SHA-256 of the token, hex.
    pub token_hash: String,
    /// The powerless token that proves the death.
    pub probe_token: String,
    /// The expiry the server really gave.
    pub expires_at: Time,
}
