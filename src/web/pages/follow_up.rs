//! Follow-up: what drifted, where is the pull request, who must act by when?

use super::{
    Badge, DeadlineBar, Diff, Href, Look, Note, PersonRef, Shell, Text, Timeline, When, Words, count,
};
use crate::ids::{FollowUpId, ItemId};
use askama::Template;

/// `GET /follow-ups/{id}`.
#[derive(Debug, Clone, Template)]
#[template(path = "follow_up.html")]
pub struct FollowUpPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// The follow-up.
    pub id: FollowUpId,
    /// The page of the grant it is of.
    pub grant: Href,
    /// Whose emergency it was, when, for which incident: one line.
    pub about: Words,
    /// How far it is.
    pub state: FollowUpState,
    /// Each object that drifted.
    pub diffs: Vec<Diff>,
    /// What must be done by hand.
    pub items: Vec<ManualItem>,
    /// The pull request, once there is one.
    pub pull: Option<PullRequest>,
    /// How the cluster comes back to git, once that was chosen.
    pub way_back: Option<WayBack>,
    /// Opened, merged, converged by.
    pub deadlines: Vec<DeadlineBar>,
    /// What else must be known: another writer, a grown record.
    pub notes: Vec<Note>,
    /// What the reader may do.
    pub can: FollowUpCan,
    /// Why the last try was not taken.
    pub error: Option<Text>,
    /// What happened so far and what comes next.
    pub history: Timeline,
}

/// How far a follow-up is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowUpState {
    /// The record has not settled yet.
    Capturing {
        /// What is awaited.
        waits: Words,
    },
    /// Git and cluster agree on everything touched.
    NoDrift {
        /// Whether somebody else must still review it, and by when.
        review_by: Option<When>,
    },
    /// Git must be brought up to date.
    Owed {
        /// What it waits for: "a review by somebody else".
        waits: Words,
        /// The next date it must meet.
        by: When,
        /// Whether that date is over.
        late: bool,
    },
    /// Merged; the cluster does not equal git yet.
    Merged {
        /// What is awaited, or which object, which field, and who writes it.
        waits: Words,
        /// The next date it must meet.
        by: When,
        /// Whether that date is over.
        late: bool,
    },
    /// Git is what the cluster is. Closed.
    Converged {
        /// When.
        at: When,
    },
    /// The pull request was closed unmerged: revert or explain.
    Rejected {
        /// Who closed it.
        by: Text,
        /// When.
        at: When,
    },
    /// The cluster is what git is again. Closed.
    Reverted {
        /// When.
        at: When,
    },
    /// Compliance let it go.
    Waived {
        /// Who.
        by: PersonRef,
        /// When.
        at: When,
        /// Why.
        reason: Text,
    },
}

/// Something that git cannot be brought up to by an edit: a person must do it.
#[derive(Debug, Clone)]
pub struct ManualItem {
    /// The item.
    pub id: ItemId,
    /// What it is about, e.g. `Secret payments/api-key`.
    pub object: Text,
    /// Why it could not be edited, and what to do.
    pub words: Words,
    /// The exact patch, or the command.
    pub patch: Option<Text>,
    /// How far it is.
    pub badge: Badge,
    /// Whether the reader may say it is done: field `commit`.
    pub can_link: bool,
    /// Whether the reader may accept that it is done.
    pub can_accept: bool,
}

/// How the cluster comes back to git after a rejection.
#[derive(Debug, Clone)]
pub struct WayBack {
    /// Who chose it.
    pub by: Text,
    /// When.
    pub at: When,
    /// The request form, filled in for an emergency to do it in.
    pub ask: Option<Href>,
    /// Each object.
    pub objects: Vec<ObjectBack>,
}

/// The way back for one object.
#[derive(Debug, Clone)]
pub struct ObjectBack {
    /// The object.
    pub object: Text,
    /// Whether it equals git.
    pub badge: Badge,
    /// Where cluster and git were last seen to differ.
    pub differs: Option<Text>,
    /// The command, while it is needed.
    pub command: Option<Text>,
    /// What to do where there is no command.
    pub by_hand: Option<Text>,
}

/// The pull request as last seen.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Its page at the forge.
    pub href: Option<Href>,
    /// Its name, e.g. `#214`.
    pub name: Text,
    /// Open, merged, closed.
    pub badge: Badge,
    /// When it was last asked after.
    pub seen: When,
    /// Each review: whose, what, and whether it counts.
    pub reviews: Vec<(Badge, Words)>,
    /// Each check with its state.
    pub checks: Vec<(Badge, Words)>,
}

/// What the reader may do with the follow-up.
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four separate rights, each shown or not"
)]
pub struct FollowUpCan {
    /// Let it go, with a reason (compliance).
    pub waive: bool,
    /// Choose that the cluster goes back to git.
    pub revert: bool,
    /// Explain and open it again.
    pub explain: bool,
    /// Mark the emergency as reviewed.
    pub review: bool,
}

impl FollowUpState {
    /// The state in one word, for programs that read the page.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Capturing { .. } => "capturing",
            Self::NoDrift { .. } => "no-drift",
            Self::Owed { .. } => "owed",
            Self::Merged { .. } => "merged",
            Self::Converged { .. } => "converged",
            Self::Rejected { .. } => "rejected",
            Self::Reverted { .. } => "reverted",
            Self::Waived { .. } => "waived",
        }
    }
}

impl FollowUpPage {
    /// The state as a badge.
    #[must_use]
    pub fn badge(&self) -> Badge {
        match &self.state {
            FollowUpState::Capturing { .. } => Badge::new(Look::Wait, "capturing"),
            FollowUpState::NoDrift { review_by: Some(_) } => Badge::new(Look::Wait, "no drift, review owed"),
            FollowUpState::NoDrift { review_by: None } => Badge::new(Look::Done, "no drift"),
            FollowUpState::Owed { late: false, .. } => Badge::new(Look::Wait, "owed to git"),
            FollowUpState::Owed { late: true, .. } => Badge::new(Look::Late, "owed to git, late"),
            FollowUpState::Merged { late: false, .. } => Badge::new(Look::Wait, "merged, not converged"),
            FollowUpState::Merged { late: true, .. } => Badge::new(Look::Late, "merged, not converged, late"),
            FollowUpState::Converged { .. } => Badge::new(Look::Done, "converged"),
            FollowUpState::Rejected { .. } => Badge::new(Look::Late, "rejected"),
            FollowUpState::Reverted { .. } => Badge::new(Look::Done, "reverted"),
            FollowUpState::Waived { .. } => Badge::new(Look::Info, "waived"),
        }
    }

    /// "2 objects drifted", "1 object drifted, 1 item by hand".
    #[must_use]
    pub fn drifted(&self) -> String {
        let mut words = Vec::new();
        if !self.diffs.is_empty() || self.items.is_empty() {
            words.push(format!(
                "{} drifted",
                count(self.diffs.len(), "object", "objects")
            ));
        }
        if !self.items.is_empty() {
            words.push(format!(
                "{} by hand",
                count(self.items.len(), "item is to be done", "items are to be done")
            ));
        }
        words.join(", ")
    }

    /// Whether there is anything the reader may do.
    #[must_use]
    pub fn can_act(&self) -> bool {
        self.can.waive || self.can.revert || self.can.explain || self.can.review
    }
}
