//! Request: what is being asked, by whom, is it mine to decide?

use super::{
    Badge, Choice, Href, Look, Note, PersonRef, Reason, Shell, Text, Timeline, When, Words, count, rough,
};
use crate::ids::RequestId;
use askama::Template;
use chrono::TimeDelta;

/// `GET /requests/{id}`.
#[derive(Debug, Clone, Template)]
#[template(path = "request.html")]
pub struct RequestPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// The request.
    pub id: RequestId,
    /// Who asks.
    pub who: PersonRef,
    /// Whether the reader is the one who asks.
    pub mine: bool,
    /// As what.
    pub profile: Text,
    /// Where.
    pub cluster: Text,
    /// In which namespaces; empty for the whole cluster.
    pub namespaces: Vec<Text>,
    /// For how long.
    pub lasts: TimeDelta,
    /// For which team.
    pub team: Text,
    /// What that team owes, e.g. "1 debt open, none late".
    pub team_debt: Option<Words>,
    /// Why.
    pub reason: Text,
    /// For which incident.
    pub incident: Option<Words>,
    /// When it was filed.
    pub filed: When,
    /// The grant it asks to lengthen.
    pub extends: Option<Href>,
    /// How far it is.
    pub state: RequestState,
    /// What the profile allows, in words, one line each.
    pub may: Vec<Words>,
    /// What it does not allow.
    pub may_not: Vec<Words>,
    /// The rules of the `ClusterRole` as they stood when it was filed, one line each.
    pub rules: Vec<Text>,
    /// Their digest.
    pub rules_digest: Text,
    /// The hash that an approval is bound to.
    pub hash: Text,
    /// What the policy said, with its reasons.
    pub policy: Vec<Reason>,
    /// Requests and grants of the same person that overlap.
    pub overlaps: Vec<Words>,
    /// What the reader may do about it.
    pub decision: Decision,
    /// Whether the reader may take it back.
    pub can_withdraw: bool,
    /// What needs to be known beside.
    pub notes: Vec<Note>,
    /// What happened so far and what comes next.
    pub history: Timeline,
}

/// How far a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestState {
    /// It waits for approvals.
    Pending {
        /// How many are given.
        given: u8,
        /// How many it needs.
        needed: u8,
        /// Who can decide and was told.
        told: Vec<PersonRef>,
        /// When it lapses.
        lapses: When,
    },
    /// It was approved.
    Approved {
        /// By whom.
        by: Vec<PersonRef>,
        /// When.
        at: When,
        /// For how long; shorter than asked when an approver shortened it.
        lasts: TimeDelta,
        /// Its grant.
        grant: Href,
    },
    /// It was denied.
    Denied {
        /// By whom.
        by: PersonRef,
        /// When.
        at: When,
        /// Why.
        reason: Text,
    },
    /// The requester took it back.
    Withdrawn {
        /// When.
        at: When,
    },
    /// Nobody decided in time.
    Lapsed {
        /// When.
        at: When,
    },
}

/// What the reader may do about a pending request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Approve, shorten or deny it.
    Mine {
        /// Field `minutes`: as asked first, then shorter ones.
        durations: Vec<Choice>,
        /// Field `reason` as it was typed.
        typed: String,
        /// Why the last try was not taken.
        error: Option<Text>,
    },
    /// Nothing, and why.
    NotMine(Words),
    /// There is nothing to decide.
    None,
}

impl RequestState {
    /// The state in one word, for programs that read the page.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Approved { .. } => "approved",
            Self::Denied { .. } => "denied",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Lapsed { .. } => "lapsed",
        }
    }
}

impl RequestPage {
    /// The state as a badge.
    #[must_use]
    pub fn badge(&self) -> Badge {
        match &self.state {
            RequestState::Pending { .. } => Badge::new(Look::Wait, "waiting for approval"),
            RequestState::Approved { .. } => Badge::new(Look::Done, "approved"),
            RequestState::Denied { .. } => Badge::new(Look::Late, "denied"),
            RequestState::Withdrawn { .. } => Badge::new(Look::Info, "withdrawn"),
            RequestState::Lapsed { .. } => Badge::new(Look::Info, "lapsed"),
        }
    }

    /// Whether the reader may approve, shorten or deny it.
    #[must_use]
    pub fn is_mine_to_decide(&self) -> bool {
        matches!(self.decision, Decision::Mine { .. })
    }

    /// For how long, in words.
    #[must_use]
    pub fn lasts_words(&self) -> String {
        rough(self.lasts)
    }

    /// How long an approval made it, in words.
    #[must_use]
    pub fn words_of(&self, lasts: &TimeDelta) -> String {
        rough(*lasts)
    }

    /// Whether the approvers shortened it.
    #[must_use]
    pub fn shortened(&self, lasts: &TimeDelta) -> bool {
        *lasts < self.lasts
    }

    /// "1 more approval is", "2 more approvals are".
    #[must_use]
    pub fn missing(&self, given: &u8, needed: &u8) -> String {
        count(
            usize::from(needed.saturating_sub(*given)),
            "approval is",
            "approvals are",
        )
    }
}
