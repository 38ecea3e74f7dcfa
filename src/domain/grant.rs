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
    /// Until when the broker itself used the key, by the API server's clock, microseconds since 1970. Held against
    /// the API server's times alone: a clock of ours that is ahead would take an engineer's doing for our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_until_us: Option<i64>,
    /// When it failed, or its Secret was ordered away.
    pub over_at: Option<Time>,
}

impl Reveal {
    /// Whether nobody but the broker had the key when the API server received a request with it, microseconds since
    /// 1970 by the API server's clock.
    #[must_use]
    pub fn is_own_use(&self, received_us: i64) -> bool {
        self.shown_at.is_none() || self.own_until_us.is_some_and(|until| received_us <= until)
    }

    fn is_under_way(&self) -> bool {
        self.shown_at.is_none() && self.over_at.is_none()
    }
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
        if !self.requester.surely_same_person(by) {
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
            own_until_us: None,
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

    /// The broker's own use of the token was over at `until_us`, by the API server's clock.
    ///
    /// # Errors
    /// Not Issuing this reveal.
    pub fn used_by_us(mut self, reveal: RevealId, until_us: i64) -> Result<Self, GrantRefusal> {
        self.issuing(reveal)?.own_until_us = Some(until_us);
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
    /// Not Issuing this reveal.
    pub fn reveal_failed(mut self, reveal: RevealId, now: Time) -> Result<(Self, String), GrantRefusal> {
        // A reveal that was over before says nothing about the one that is under way now.
        let failed = self.issuing(reveal)?;
        failed.over_at = Some(now);
        let secret = failed.secret_name.clone();
        self.state = if self.active_since.is_some() {
            GrantState::Active
        } else {
            GrantState::Ready
        };
        Ok((self, secret))
    }

    /// Longer, by a new approval: `extra_s` seconds are added to the end.
    ///
    /// # Errors
    /// Already being taken away, or its time is over: what is over is not brought back, whether or not
    /// a worker has come to it yet.
    pub fn extend(mut self, extra_s: u32, approvers: &[Person], now: Time) -> Result<Self, GrantRefusal> {
        self.expect(&[
            GrantState::Provisioning,
            GrantState::Ready,
            GrantState::Issuing,
            GrantState::Active,
        ])?;
        if self.is_over(now) {
            return Err(GrantRefusal::Over);
        }
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

    /// The clock by which its times were told was set back by `by`: each of them that decides anything comes as
    /// much earlier, so that it is over when it would have been.
    #[must_use]
    pub fn clock_set_back(mut self, by: TimeDelta) -> Self {
        let earlier = |time: &mut Option<Time>| {
            if let Some(time) = time {
                *time -= by;
            }
        };
        self.shelf_until -= by;
        earlier(&mut self.ends_at);
        if let Some(ending) = &mut self.ending {
            ending.since -= by;
            earlier(&mut ending.refused_after);
            earlier(&mut ending.removed_at);
            earlier(&mut ending.failing_since);
        }
        self
    }

    /// Begins to take the access away; from any state but Ending and Ended.
    ///
    /// # Errors
    /// Already being taken away, a revocation without a reason, or "done" said by somebody else.
    pub fn end(mut self, cause: EndCause, now: Time) -> Result<Self, GrantRefusal> {
        self.expect(&[
            GrantState::Provisioning,
            GrantState::Ready,
            GrantState::Issuing,
            GrantState::Active,
        ])?;
        if let EndCause::Revoked { reason, .. } = &cause
            && reason.trim().is_empty()
        {
            return Err(GrantRefusal::NoReason);
        }
        if let EndCause::Done { by } = &cause
            && !self.requester.surely_same_person(by)
        {
            return Err(GrantRefusal::NotYours);
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
            Some(Ending {
                refused_after: Some(_),
                removed_at: Some(_),
                dead_after: Some(_),
                proof: Some(proof),
                ..
            }) if !proof.is_empty() => {}
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

    /// `reveal` is under way.
    #[must_use]
    pub fn is_revealing(&self, reveal: RevealId) -> bool {
        self.state == GrantState::Issuing && self.reveals.iter().any(|r| r.id == reveal && r.is_under_way())
    }

    /// The reveal under way, if it is `reveal` and was not ordered away meanwhile. One that was shown is in
    /// somebody's hands: while the next is under way it stays what it is.
    fn issuing(&mut self, reveal: RevealId) -> Result<&mut Reveal, GrantRefusal> {
        self.expect(&[GrantState::Issuing])?;
        self.reveals
            .iter_mut()
            .find(|r| r.id == reveal && r.is_under_way())
            .ok_or(GrantRefusal::WrongState("being taken away"))
    }

    fn is_over(&self, now: Time) -> bool {
        self.ends_at.is_some_and(|ends_at| now >= ends_at)
            || (self.active_since.is_none() && now >= self.shelf_until)
    }

    fn expect(&self, states: &[GrantState]) -> Result<(), GrantRefusal> {
        if states.contains(&self.state) {
            Ok(())
        } else {
            Err(GrantRefusal::WrongState(self.state.name()))
        }
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

#[cfg(test)]
mod tests {
    use super::super::fixture::{at, grant, person, same_mail, second_account};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn issued() -> Issued {
        Issued {
            credential_id: "7f1c".to_owned(),
            token_hash: "aa".repeat(32),
            probe_token: "probe".to_owned(),
            expires_at: at(90_000),
        }
    }

    fn ready() -> Grant {
        grant().ready(at(10)).unwrap()
    }

    /// Revealed and shown, all at `now`.
    fn revealed(grant: Grant, now: Time) -> Grant {
        let (grant, reveal) = grant.begin_reveal(&person("oncall"), now).unwrap();
        grant
            .issued(reveal, issued())
            .unwrap()
            .shown(reveal, now)
            .unwrap()
            .0
    }

    #[test]
    fn the_access_clock_starts_when_the_first_key_is_shown() {
        let waiting = ready();
        assert_eq!((waiting.active_since, waiting.ends_at), (None, None));
        let (issuing, reveal) = waiting.begin_reveal(&person("oncall"), at(100)).unwrap();
        let issuing = issuing.issued(reveal, issued()).unwrap();
        assert_eq!(issuing.ends_at, None, "issuing starts no clock");
        let (active, replaced) = issuing.shown(reveal, at(130)).unwrap();
        assert_eq!(
            (active.active_since, active.ends_at),
            (Some(at(130)), Some(at(3730)))
        );
        assert!(replaced.is_empty());
    }

    #[test]
    fn what_is_the_engineers_is_told_by_the_api_servers_clock_alone() {
        // Our clock is 1000 s ahead of the API server's, whose times are those of requests.
        let (issuing, reveal) = ready().begin_reveal(&person("oncall"), at(1000)).unwrap();
        let issuing = issuing.issued(reveal, issued()).unwrap();
        assert!(issuing.reveals[0].is_own_use(7_000_000), "nobody else has it");
        let checked = issuing.clone().used_by_us(reveal, 5_000_000).unwrap();
        let (active, _) = checked.shown(reveal, at(1005)).unwrap();
        assert!(active.reveals[0].is_own_use(5_000_000));
        assert!(!active.reveals[0].is_own_use(5_000_001), "it was shown since");
        let (unchecked, _) = issuing.shown(reveal, at(1005)).unwrap();
        assert!(!unchecked.reveals[0].is_own_use(1), "not known: the engineer's");
    }

    #[test]
    fn revealing_again_never_lengthens_and_replaces_the_key_before() {
        let active = revealed(ready(), at(100));
        let old = active.reveals[0].secret_name.clone();
        let (issuing, reveal) = active.begin_reveal(&person("oncall"), at(3000)).unwrap();
        assert_eq!(issuing.state, GrantState::Issuing);
        let (again, replaced) = issuing
            .issued(reveal, issued())
            .unwrap()
            .shown(reveal, at(3030))
            .unwrap();
        assert_eq!(again.ends_at, Some(at(3700)));
        assert_eq!(again.active_since, Some(at(100)));
        assert_eq!(replaced, [old]);
        assert_ne!(again.reveals[0].secret_name, again.reveals[1].secret_name);
        assert_eq!(
            again.begin_reveal(&person("oncall"), at(3700)).unwrap_err(),
            GrantRefusal::Over
        );
    }

    #[test]
    fn only_the_requester_reveals() {
        assert_eq!(
            ready()
                .begin_reveal(&person("first-approver"), at(20))
                .unwrap_err(),
            GrantRefusal::NotYours
        );
        assert!(
            ready().begin_reveal(&second_account(), at(20)).is_ok(),
            "the same person by another account"
        );
        assert_eq!(
            ready().begin_reveal(&same_mail(), at(20)).unwrap_err(),
            GrantRefusal::NotYours,
            "an e-mail address is no proof"
        );
        assert_eq!(
            grant().begin_reveal(&person("oncall"), at(20)).unwrap_err(),
            GrantRefusal::WrongState("provisioning")
        );
        assert_eq!(
            ready().begin_reveal(&person("oncall"), at(1800)).unwrap_err(),
            GrantRefusal::Over
        );
    }

    #[test]
    fn a_key_is_not_shown_before_its_token_is_written_down_or_after_its_time() {
        let (issuing, reveal) = ready().begin_reveal(&person("oncall"), at(20)).unwrap();
        assert!(matches!(
            issuing.clone().shown(reveal, at(21)),
            Err(GrantRefusal::WrongState(_))
        ));
        let active = revealed(ready(), at(100));
        let (issuing, reveal) = active.begin_reveal(&person("oncall"), at(3690)).unwrap();
        let issuing = issuing.issued(reveal, issued()).unwrap();
        assert_eq!(issuing.shown(reveal, at(3700)).unwrap_err(), GrantRefusal::Over);
    }

    #[test]
    fn a_failed_reveal_goes_back_to_where_it_came_from() {
        let (issuing, reveal) = ready().begin_reveal(&person("oncall"), at(20)).unwrap();
        let (back, secret) = issuing.reveal_failed(reveal, at(60)).unwrap();
        assert_eq!(back.state, GrantState::Ready);
        assert_eq!((back.ends_at, back.active_since), (None, None));
        assert_eq!(secret, back.reveals[0].secret_name);
        let active = revealed(back, at(100));
        let (issuing, second) = active.begin_reveal(&person("oncall"), at(200)).unwrap();
        let (back, _) = issuing.reveal_failed(second, at(260)).unwrap();
        assert_eq!((back.state, back.ends_at), (GrantState::Active, Some(at(3700))));
        assert_eq!(back.reveals[1].over_at, None, "the key in use stays");
    }

    #[test]
    fn a_key_in_use_is_not_taken_for_a_reveal_that_took_too_long() {
        let active = revealed(ready(), at(100));
        let in_use = active.reveals[0].id;
        let (issuing, _) = active.begin_reveal(&person("oncall"), at(110)).unwrap();
        assert!(!issuing.is_revealing(in_use));
        assert!(issuing.reveal_failed(in_use, at(111)).is_err());
    }

    #[test]
    fn an_old_reveal_that_reports_late_does_not_stop_the_one_under_way() {
        let (issuing, lost) = ready().begin_reveal(&person("oncall"), at(20)).unwrap();
        let (back, _) = issuing.reveal_failed(lost, at(60)).unwrap();
        let (issuing, second) = back.begin_reveal(&person("oncall"), at(70)).unwrap();
        assert!(issuing.is_revealing(second) && !issuing.is_revealing(lost));
        assert!(issuing.clone().reveal_failed(lost, at(71)).is_err());
        assert!(issuing.clone().issued(lost, issued()).is_err());
        assert!(issuing.clone().shown(lost, at(71)).is_err());
        assert!(
            issuing
                .issued(second, issued())
                .unwrap()
                .shown(second, at(72))
                .is_ok()
        );
    }

    #[test]
    fn shortening_only_brings_the_end_nearer() {
        let active = revealed(ready(), at(100));
        assert_eq!(
            active.clone().shorten(at(200), at(150)).unwrap().ends_at,
            Some(at(200))
        );
        for wrong in [at(3700), at(9000), at(150), at(140)] {
            assert_eq!(
                active.clone().shorten(wrong, at(150)).unwrap_err(),
                GrantRefusal::NotShorter
            );
        }
        assert_eq!(
            ready().shorten(at(200), at(150)).unwrap_err(),
            GrantRefusal::WrongState("ready"),
            "nothing runs yet"
        );
    }

    #[test]
    fn extending_adds_to_what_is_left_and_brings_nothing_back() {
        let approver = person("second-approver");
        let active = revealed(ready(), at(100)).shorten(at(1000), at(150)).unwrap();
        let longer = active
            .extend(600, std::slice::from_ref(&approver), at(200))
            .unwrap();
        assert_eq!(longer.ends_at, Some(at(1600)));
        assert!(
            longer.approvers.contains(&approver),
            "who lengthened it is never independent of it"
        );
        assert_eq!(
            longer.clone().extend(600, &[], at(1600)).unwrap_err(),
            GrantRefusal::Over
        );
        assert_eq!(
            ready().extend(600, &[], at(1800)).unwrap_err(),
            GrantRefusal::Over
        );
        assert_eq!(
            revealed(ready().extend(600, &[], at(20)).unwrap(), at(100)).ends_at,
            Some(at(4300))
        );
        let ending = longer.end(EndCause::Deadline, at(1600)).unwrap();
        assert_eq!(
            ending.extend(600, &[], at(1601)).unwrap_err(),
            GrantRefusal::WrongState("ending")
        );
    }

    #[test]
    fn who_may_end_it_and_with_what_words() {
        let done = |by: &str| revealed(ready(), at(100)).end(EndCause::Done { by: person(by) }, at(200));
        assert!(done("oncall").is_ok());
        assert_eq!(done("somebody").unwrap_err(), GrantRefusal::NotYours);
        let revoke = |reason: &str| {
            let cause = EndCause::Revoked {
                by: person("revoker"),
                reason: reason.to_owned(),
            };
            revealed(ready(), at(100)).end(cause, at(200))
        };
        assert_eq!(revoke(" ").unwrap_err(), GrantRefusal::NoReason);
        let ending = revoke("wrong cluster").unwrap();
        assert!(ending.reveals.iter().all(|reveal| reveal.over_at.is_some()));
        assert_eq!(
            ending.end(EndCause::Deadline, at(201)).unwrap_err(),
            GrantRefusal::WrongState("ending"),
            "why it ended is written once"
        );
    }

    #[test]
    fn it_ends_in_an_instant_from_any_state_before() {
        let (issuing, _) = ready().begin_reveal(&person("oncall"), at(20)).unwrap();
        for grant in [grant(), ready(), issuing, revealed(ready(), at(20))] {
            let ending = grant
                .end(
                    EndCause::Policy {
                        reason: "audit is silent".into(),
                    },
                    at(30),
                )
                .unwrap();
            assert_eq!(ending.state, GrantState::Ending);
            assert_eq!(ending.overdue(at(1_000_000)), None, "it is being ended already");
            assert!(ending.clone().begin_reveal(&person("oncall"), at(31)).is_err());
            assert!(ending.ready(at(31)).is_err());
        }
    }

    #[test]
    fn it_is_ended_only_with_every_proof() {
        let proved = Ending {
            cause: EndCause::Deadline,
            since: at(200),
            refused_after: Some(at(201)),
            removed_at: Some(at(202)),
            dead_after: Some(at(212)),
            proof: Some("the API server says: Unauthorized".to_owned()),
            failing_since: None,
            error: None,
            stuck: false,
        };
        let ending = revealed(ready(), at(100))
            .end(EndCause::Deadline, at(200))
            .unwrap();
        let with = |ending_now: Ending| {
            Grant {
                ending: Some(ending_now),
                ..ending.clone()
            }
            .ended(at(213))
        };
        for missing in [
            Ending {
                refused_after: None,
                ..proved.clone()
            },
            Ending {
                removed_at: None,
                ..proved.clone()
            },
            Ending {
                dead_after: None,
                ..proved.clone()
            },
            Ending {
                proof: None,
                ..proved.clone()
            },
            Ending {
                proof: Some(String::new()),
                ..proved.clone()
            },
        ] {
            assert!(with(missing.clone()).is_err(), "{missing:?}");
        }
        let ended = with(proved).unwrap();
        assert_eq!((ended.state, ended.ended_at), (GrantState::Ended, Some(at(213))));
        assert!(
            ended.reveals.iter().all(|reveal| reveal.probe_token.is_none()),
            "no token outlives its use"
        );
        assert!(revealed(ready(), at(100)).ended(at(213)).is_err());
    }

    #[test]
    fn the_clock_ends_what_is_over() {
        assert_eq!(ready().overdue(at(1799)), None);
        assert_eq!(ready().overdue(at(1800)), Some(EndCause::ShelfLife));
        assert_eq!(grant().overdue(at(1800)), Some(EndCause::ShelfLife));
        let active = revealed(ready(), at(100));
        assert_eq!(
            active.overdue(at(3699)),
            None,
            "the shelf life is no matter any more"
        );
        assert_eq!(active.overdue(at(3700)), Some(EndCause::Deadline));
        let (issuing, _) = active.begin_reveal(&person("oncall"), at(3600)).unwrap();
        assert_eq!(
            issuing.overdue(at(3700)),
            Some(EndCause::Deadline),
            "a reveal holds nothing up"
        );
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Ready,
        Begin,
        Issued(usize),
        Shown(usize),
        Failed(usize),
        Extend(u32),
        Shorten(i64),
        End,
        Prove,
        Ended,
    }

    fn step() -> impl Strategy<Value = (usize, i64, Step)> {
        let step = prop_oneof![
            2 => Just(Step::Ready),
            4 => Just(Step::Begin),
            4 => (0..3usize).prop_map(Step::Issued),
            4 => (0..3usize).prop_map(Step::Shown),
            2 => (0..3usize).prop_map(Step::Failed),
            1 => (60..4000u32).prop_map(Step::Extend),
            2 => (-500..4000i64).prop_map(Step::Shorten),
            1 => Just(Step::End),
            2 => Just(Step::Prove),
            2 => Just(Step::Ended),
        ];
        (0..3usize, prop_oneof![3 => 0..20i64, 1 => 0..900i64], step)
    }

    fn take(grant: &Grant, step: Step, now: Time) -> (Option<Grant>, Vec<String>) {
        let grant = grant.clone();
        // 0 is the newest reveal.
        let reveal = |back: usize| grant.reveals.iter().rev().nth(back).map(|r| r.id);
        let plain = |grant: Result<Grant, GrantRefusal>| (grant.ok(), vec![]);
        match step {
            Step::Ready => plain(grant.ready(now)),
            Step::Begin => plain(grant.begin_reveal(&person("oncall"), now).map(|(grant, _)| grant)),
            Step::Issued(back) => reveal(back).map_or((None, vec![]), |id| plain(grant.issued(id, issued()))),
            Step::Shown(back) => match reveal(back).map(|id| grant.shown(id, now)) {
                Some(Ok((grant, secrets))) => (Some(grant), secrets),
                _ => (None, vec![]),
            },
            Step::Failed(back) => match reveal(back).map(|id| grant.reveal_failed(id, now)) {
                Some(Ok((grant, secret))) => (Some(grant), vec![secret]),
                _ => (None, vec![]),
            },
            Step::Extend(extra_s) => plain(grant.extend(extra_s, &[], now)),
            Step::Shorten(seconds) => plain(grant.shorten(now + TimeDelta::seconds(seconds), now)),
            Step::End => plain(grant.end(EndCause::Deadline, now)),
            Step::Prove => {
                let mut grant = grant;
                match &mut grant.ending {
                    Some(ending) if ending.refused_after.is_none() => ending.refused_after = Some(now),
                    Some(ending) if ending.removed_at.is_none() => ending.removed_at = Some(now),
                    Some(ending) => {
                        ending.dead_after = Some(now);
                        ending.proof = Some("refused".to_owned());
                    }
                    None => {}
                }
                (Some(grant), vec![])
            }
            Step::Ended => plain(grant.ended(now)),
        }
    }

    fn may_follow(old: GrantState, new: GrantState) -> bool {
        use GrantState::{Active, Ended, Ending, Issuing, Provisioning, Ready};
        old == new
            || matches!(
                (old, new),
                (Provisioning, Ready)
                    | (Ready | Active, Issuing)
                    | (Issuing, Ready | Active)
                    | (Provisioning | Ready | Issuing | Active, Ending)
                    | (Ending, Ended)
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        /// Three overlapping grants of one person, in any order of steps and ends.
        #[test]
        fn no_history_breaks_the_rules_and_no_grant_touches_another(
            steps in prop::collection::vec(step(), 1..60),
        ) {
            let mut grants = [grant(), grant(), grant()];
            let accounts: BTreeSet<_> = grants.iter().map(|grant| grant.account.clone()).collect();
            prop_assert_eq!(accounts.len(), 3, "each grant has an account of its own");
            let mut now = at(0);
            for (which, seconds, step) in steps {
                now += TimeDelta::seconds(seconds);
                let before = grants.clone();
                let (after, ordered_away) = take(&grants[which], step, now);
                let Some(after) = after else { continue };
                let old = &before[which];

                prop_assert!(may_follow(old.state, after.state), "{:?} -> {:?}", old.state, after.state);
                match (old.ends_at, after.ends_at, step) {
                    (None, Some(end), Step::Shown(_)) => {
                        prop_assert_eq!(end, now + TimeDelta::seconds(i64::from(old.duration_s)));
                    }
                    (Some(one), Some(two), Step::Extend(_)) => prop_assert!(two > one && now < one),
                    (Some(one), Some(two), Step::Shorten(_)) => prop_assert!(two < one && two > now),
                    (one, two, _) => prop_assert_eq!(one, two),
                }
                prop_assert!(old.active_since.is_none() || old.active_since == after.active_since);
                prop_assert_eq!(after.ends_at.is_some(), after.active_since.is_some());
                let usable: Vec<_> = after.reveals.iter().filter(|r| r.over_at.is_none()).collect();
                let shown = usable.iter().filter(|r| r.shown_at.is_some()).count();
                match after.state {
                    GrantState::Active => prop_assert!(shown == 1 && usable.len() == 1),
                    GrantState::Issuing => prop_assert!(shown <= 1 && usable.len() == shown + 1),
                    _ => prop_assert!(usable.is_empty()),
                }
                for reveal in &after.reveals {
                    prop_assert!(reveal.shown_at.is_none_or(|_| reveal.credential_id.is_some()));
                }
                // Whatever a step orders away is the grant's own.
                for secret in &ordered_away {
                    let own = secret.strip_prefix(after.account.as_str());
                    prop_assert!(own.is_some_and(|rest| rest.starts_with('-')));
                    prop_assert!(after.secrets().any(|own| own == secret));
                }
                if let (GrantState::Ended, Some(ending)) = (after.state, &after.ending) {
                    prop_assert!(ending.refused_after.is_some() && ending.dead_after.is_some());
                }
                grants[which] = after;
                for other in (0..3).filter(|other| *other != which) {
                    prop_assert_eq!(&grants[other], &before[other]);
                    let theirs: BTreeSet<_> = grants[other].secrets().collect();
                    prop_assert!(grants[which].secrets().all(|secret| !theirs.contains(secret)));
                }
            }
        }
    }
}
