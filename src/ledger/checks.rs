//! What a verification is given to check with.

use super::checkpoint::VerifierKey;
use super::entry::Entry;
use super::problem::Problem;
use super::report::Report;
use crate::domain::entry_kind::EntryKind;

/// An approval, for the caller's check of the sign-in provider's own signature.
#[derive(Debug)]
pub struct Approval<'a> {
    /// The entry's index.
    pub index: u64,
    /// Which of the two kinds of approval.
    pub kind: EntryKind,
    /// The entry's payload, already proved to be the one that was entered.
    pub payload: &'a [u8],
}

/// Checks one approval and says why it does not hold.
pub type ApprovalCheck<'a> = &'a mut dyn FnMut(&Approval<'_>) -> Result<(), String>;

/// What to check with.
#[derive(Default)]
pub struct Checks<'a> {
    /// The keys that may sign checkpoints. Several while a key is being replaced.
    pub keys: &'a [VerifierKey],
    /// Checkpoints held elsewhere, as notes.
    pub held: &'a [String],
    /// The check of approvals; without one they are counted as not checked.
    pub approvals: Option<ApprovalCheck<'a>>,
}

impl Checks<'_> {
    /// Hands an approval's payload to the check.
    pub(super) fn approval(
        &mut self,
        index: u64,
        entry: &Entry<'_>,
        payload: Option<&[u8]>,
        report: &mut Report,
    ) {
        let Some(kind @ (EntryKind::RequestApproved | EntryKind::ApprovalGiven)) = entry.kind() else {
            return;
        };
        let (Some(payload), Some(check)) = (payload, self.approvals.as_mut()) else {
            let counted = if payload.is_none() {
                &mut report.approvals.pruned
            } else {
                &mut report.approvals.unchecked
            };
            *counted += 1;
            return;
        };
        match check(&Approval { index, kind, payload }) {
            Ok(()) => report.approvals.good += 1,
            Err(why) => {
                report.approvals.failed += 1;
                report.found(Problem::Approval { index, why });
            }
        }
    }

    /// Counts an approval whose payload is not at hand.
    pub(super) fn bare_approval(entry: &Entry<'_>, report: &mut Report) {
        if let Some(EntryKind::RequestApproved | EntryKind::ApprovalGiven) = entry.kind() {
            report.approvals.unchecked += 1;
        }
    }
}
