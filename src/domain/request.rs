//! A request: who asks for what, where, how long, why. Pending → Approved, Denied, Withdrawn or Lapsed.

use super::person::Person;
use crate::clock::Time;
use crate::ids::{ApprovalId, GrantId, RequestId};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is asked for, exactly: an approval is bound to the hash of this and of nothing else.
///
/// `profile_digest` and `rules` are in it, so that neither a changed profile nor a widened
/// `ClusterRole` can hide behind an approval given before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Who asks.
    pub requester: Person,
    /// The team asked for; one of the requester's.
    pub team: String,
    /// The cluster's name in the configuration.
    pub cluster: String,
    /// The UID of its `kube-system` namespace: a name can be pointed elsewhere, this cannot.
    pub cluster_uid: String,
    /// Namespaces, sorted, without repeats.
    pub namespaces: Vec<String>,
    /// The profile's name in the configuration.
    pub profile: String,
    /// Digest of that profile as configured when the request was filed.
    pub profile_digest: String,
    /// The `ClusterRole` the profile lends.
    pub cluster_role: String,
    /// Its rules as they were shown.
    pub rules: Value,
    /// How long the access lasts, in seconds, from the first reveal.
    pub duration_s: u32,
    /// Why.
    pub reason: String,
    /// The incident, a link or a number.
    pub incident: Option<String>,
    /// The grant this request would extend; `None` for a new access.
    pub extends: Option<GrantId>,
    /// How many approvals the policy asked for when it was filed.
    pub approvals_needed: u32,
    /// How many of those must come from outside the requester's team (a breached debt asks for one).
    pub outside_needed: u32,
}

/// One person's word on the hash of one exact request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// Who approved.
    pub by: Person,
    /// The approver was outside the requester's team.
    pub outside: bool,
    /// When, by the broker's clock.
    pub at: Time,
    /// The time allowed, in seconds: as asked or shorter.
    pub duration_s: u32,
    /// The hash that was approved, hex.
    pub request_hash: String,
    /// What the sign-in provider signed.
    pub proof: ApprovalProof,
}

/// The sign-in provider's own signature over the request's hash: enough to check the approval
/// without believing the broker.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalProof {
    /// The signed ID token (JWS compact form) whose nonce commits to the request's hash.
    pub id_token: String,
    /// The JWK that signed it, as the provider published it at the time.
    pub jwk: Value,
    /// The salt of the nonce, hex.
    pub salt: String,
    /// The provider.
    pub issuer: String,
    /// The audience.
    pub client_id: String,
}

impl std::fmt::Debug for ApprovalProof {
    /// The token names a person and stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApprovalProof").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RequestState {
    /// Waits for approvals.
    Pending {
        /// Those given so far.
        approvals: Vec<Approval>,
    },
    /// Enough approvals were given.
    Approved {
        /// All of them.
        approvals: Vec<Approval>,
        /// When the last one came.
        at: Time,
        /// The grant made (or extended) by it.
        grant: GrantId,
    },
    /// An approver said no.
    Denied {
        /// Who.
        by: Person,
        /// Why.
        reason: String,
        /// When.
        at: Time,
    },
    /// The requester took it back.
    Withdrawn {
        /// When.
        at: Time,
    },
    /// Nobody decided in time.
    Lapsed {
        /// When it was noticed.
        at: Time,
    },
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// What is asked.
    pub ask: Ask,
    /// When it was filed.
    pub filed_at: Time,
    /// When it lapses, undecided.
    pub lapses_at: Time,
    /// Where it stands.
    #[serde(flatten)]
    pub state: RequestState,
    /// Counts the changes: the store's guard against two writers.
    pub version: u64,
}

/// Why a decision on a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// Already decided.
    #[error("this request is {0} already")]
    NotPending(&'static str),
    /// Waited too long.
    #[error("this request lapsed at {}; a new one is needed", .0.format("%H:%M:%S UTC"))]
    Lapsed(Time),
    /// Requester and approver are the same person.
    #[error("you asked for this yourself; somebody else must approve it")]
    OwnRequest,
    /// The same person approved before.
    #[error("you have approved this already; another person is needed")]
    ApprovedBefore,
    /// The hash is not that of this request.
    #[error("the request has changed since it was shown; look at it again")]
    OtherRequest,
    /// Longer than asked.
    #[error("an approver may shorten the time, never lengthen it")]
    Longer,
    /// Shorter than anything can be.
    #[error("the time must be at least one minute")]
    TooShort,
    /// Only approvals from outside the team are still missing.
    #[error("the remaining approval must come from somebody outside team {0}")]
    NotOutside(String),
    /// A denial without a reason.
    #[error("a reason is needed, so that the requester knows what to do instead")]
    NoReason,
    /// Somebody else's.
    #[error("only the requester can take a request back")]
    NotYours,
}

/// What an approval led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approved {
    /// More approvals are needed.
    More(Request),
    /// That was the last one; the time is the shortest any approver allowed.
    Enough {
        /// The request, approved.
        request: Request,
        /// Seconds of access.
        duration_s: u32,
    },
}

impl Request {
    /// Files `ask` at `now`; it lapses after `patience`.
    #[must_use]
    pub fn file(ask: Ask, now: Time, patience: TimeDelta) -> Self {
        Self {
            id: RequestId::new(),
            ask,
            filed_at: now,
            lapses_at: now + patience,
            state: RequestState::Pending { approvals: vec![] },
            version: 0,
        }
    }

    /// The hash approvals are bound to: over the id and every field of the [`Ask`], hex.
    #[must_use]
    pub fn hash(&self) -> String {
        super::canonical::digest("breakglass request v1", &(self.id, &self.ask))
    }

    /// The state's name, as stored and shown.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match self.state {
            RequestState::Pending { .. } => "pending",
            RequestState::Approved { .. } => "approved",
            RequestState::Denied { .. } => "denied",
            RequestState::Withdrawn { .. } => "withdrawn",
            RequestState::Lapsed { .. } => "lapsed",
        }
    }

    /// The approvals given so far.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        match &self.state {
            RequestState::Pending { approvals } | RequestState::Approved { approvals, .. } => approvals,
            _ => &[],
        }
    }

    /// How many approvals are still missing, and how many of those must come from outside the team.
    #[must_use]
    pub fn missing(&self) -> (u32, u32) {
        let given = u32::try_from(self.approvals().len()).unwrap_or(u32::MAX);
        let outside =
            u32::try_from(self.approvals().iter().filter(|a| a.outside).count()).unwrap_or(u32::MAX);
        (self.ask.approvals_needed.saturating_sub(given), self.ask.outside_needed.saturating_sub(outside))
    }

    /// Whether `person` could approve this now, apart from being in an approvers' group (policy).
    ///
    /// # Errors
    /// The first rule that stands against it.
    pub fn may_be_approved_by(
        &self,
        person: &Person,
        outside: bool,
        now: Time,
    ) -> Result<(), RequestRefusal> {
        self.pending(now)?;
        if self.ask.requester.same_person(person) {
            return Err(RequestRefusal::OwnRequest);
        }
        if self.approvals().iter().any(|approval| approval.by.same_person(person)) {
            return Err(RequestRefusal::ApprovedBefore);
        }
        let (missing, missing_outside) = self.missing();
        if !outside && missing_outside >= missing {
            return Err(RequestRefusal::NotOutside(self.ask.team.clone()));
        }
        Ok(())
    }

    /// Takes one approval. The caller has checked the approver's group and the provider's signature.
    ///
    /// # Errors
    /// Not pending, lapsed, the requester's own, the same person again, another request's hash, or longer.
    pub fn approve(mut self, approval: Approval, grant: GrantId) -> Result<Approved, RequestRefusal> {
        let now = approval.at;
        self.may_be_approved_by(&approval.by, approval.outside, now)?;
        if approval.request_hash != self.hash() {
            return Err(RequestRefusal::OtherRequest);
        }
        if approval.duration_s > self.ask.duration_s {
            return Err(RequestRefusal::Longer);
        }
        if approval.duration_s < 60 {
            return Err(RequestRefusal::TooShort);
        }
        let mut approvals = self.approvals().to_vec();
        approvals.push(approval);
        let duration_s = approvals.iter().map(|a| a.duration_s).min().unwrap_or(self.ask.duration_s);
        self.state = RequestState::Pending { approvals };
        if self.missing() == (0, 0) {
            let RequestState::Pending { approvals } = self.state else { unreachable!("set above") };
            self.state = RequestState::Approved { approvals, at: now, grant };
            Ok(Approved::Enough { request: self, duration_s })
        } else {
            Ok(Approved::More(self))
        }
    }

    /// Says no.
    ///
    /// # Errors
    /// Not pending, lapsed, the requester's own, or no reason given.
    pub fn deny(mut self, by: Person, reason: &str, now: Time) -> Result<Self, RequestRefusal> {
        self.pending(now)?;
        if self.ask.requester.same_person(&by) {
            return Err(RequestRefusal::OwnRequest);
        }
        if reason.trim().is_empty() {
            return Err(RequestRefusal::NoReason);
        }
        self.state = RequestState::Denied { by, reason: reason.trim().to_owned(), at: now };
        Ok(self)
    }

    /// Takes the request back.
    ///
    /// # Errors
    /// Not pending, lapsed, or somebody else's.
    pub fn withdraw(mut self, by: &Person, now: Time) -> Result<Self, RequestRefusal> {
        self.pending(now)?;
        if !self.ask.requester.same_person(by) {
            return Err(RequestRefusal::NotYours);
        }
        self.state = RequestState::Withdrawn { at: now };
        Ok(self)
    }

    /// Lapses the request when its time has come; `None` when it has not, or it is decided.
    #[must_use]
    pub fn lapse(mut self, now: Time) -> Option<Self> {
        if !matches!(self.state, RequestState::Pending { .. }) || now < self.lapses_at {
            return None;
        }
        self.state = RequestState::Lapsed { at: now };
        Some(self)
    }

    fn pending(&self, now: Time) -> Result<(), RequestRefusal> {
        if !matches!(self.state, RequestState::Pending { .. }) {
            return Err(RequestRefusal::NotPending(self.state_name()));
        }
        // The clock decides, not the worker that writes "lapsed" a moment later.
        if now >= self.lapses_at {
            return Err(RequestRefusal::Lapsed(self.lapses_at));
        }
        Ok(())
    }
}
