//! The kinds of ledger entries and the controls each is evidence for: the one table of both.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal [$($control:literal),* $(,)?]),* $(,)?) => {
        /// What an entry of the ledger says. The names are part of the ledger's format: they are
        /// hashed, so a name is never changed or reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum EntryKind {$(
            $(#[$doc])*
            #[serde(rename = $name)]
            $variant,
        )*}

        impl EntryKind {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name as it stands in entries, filters and exports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {$(Self::$variant => $name,)*}
            }

            /// The kind with that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {$($name => Some(Self::$variant),)* _ => None}
            }

            /// The ids of the controls that this kind supports with evidence.
            #[must_use]
            pub const fn controls(self) -> &'static [&'static str] {
                match self {$(Self::$variant => &[$($control),*],)*}
            }
        }
    };
}

kinds! {
    /// A request was filed.
    RequestFiled = "request-filed" ["NIST AC-3(10)", "PCI 6.5.1", "SOC2 CC8.1", "ISO A.8.32"],
    /// One approval was given; more are needed.
    ApprovalGiven = "approval-given" ["NIST AC-5", "PCI 6.5.1", "DORA 17(1)", "ISO A.5.3"],
    /// The last approval was given: the request is approved.
    RequestApproved = "request-approved" ["NIST AC-5", "PCI 6.5.1", "DORA 17(1)", "ISO A.5.3"],
    /// The request was denied.
    RequestDenied = "request-denied" ["NIST AC-5", "ISO A.5.18"],
    /// The requester took the request back.
    RequestWithdrawn = "request-withdrawn" ["ISO A.5.18"],
    /// Nobody decided in time.
    RequestLapsed = "request-lapsed" ["ISO A.5.18"],
    /// Access is laid out; nothing was shown yet.
    GrantReady = "grant-ready" ["NIST AC-3(10)", "NIST AC-2(2)"],
    /// A reveal began: a Secret of its own exists.
    RevealStarted = "reveal-started" ["NIST AC-6(9)"],
    /// A credential was issued; it is not shown yet.
    CredentialIssued = "credential-issued" ["NIST AC-6(9)", "PCI 8.2", "SOC2 CC6.1"],
    /// The credential was seen in audit and shown: the glass is broken.
    GrantActive = "grant-active" ["NIST AC-3(10)", "NIST AC-6(9)", "SOC2 CC6.1"],
    /// A reveal failed: its token was killed and nothing was shown.
    RevealFailed = "reveal-failed" ["NIST AU-5"],
    /// The access lasts longer, by a new approval.
    GrantExtended = "grant-extended" ["NIST AC-2(2)", "NIST AC-5"],
    /// The access lasts shorter.
    GrantShortened = "grant-shortened" ["NIST AC-2(2)"],
    /// The access is being taken away.
    GrantEnding = "grant-ending" ["NIST AC-2(2)", "SOC2 CC6.2"],
    /// The bindings are gone: every further request is refused.
    AccessRefused = "access-refused" ["NIST AC-2(2)", "SOC2 CC6.2"],
    /// The Secrets and the ServiceAccount are gone.
    CredentialRemoved = "credential-removed" ["NIST AC-2(2)", "SOC2 CC6.2"],
    /// The access is proved dead.
    GrantEnded = "grant-ended" ["NIST AC-2(2)", "SOC2 CC6.2", "PCI 8.2"],
    /// The first change of a grant was seen.
    FirstChange = "first-change" ["NIST AC-6(9)", "NIST IR-6"],
    /// A removal fails for longer than it should.
    EndingStuck = "ending-stuck" ["NIST AC-2(2)", "NIST IR-4"],
    /// The drift of a grant is being captured.
    FollowUpCapturing = "follow-up-capturing" ["NIST CM-3"],
    /// Git and cluster agree on everything the grant touched.
    FollowUpNoDrift = "follow-up-no-drift" ["NIST CM-3", "DORA 17(1)"],
    /// The drift is in a pull request or listed by hand.
    FollowUpOwed = "follow-up-owed" ["NIST CM-3", "PCI 6.5.1", "DORA 17(1)", "SOC2 CC8.1"],
    /// The pull request was merged with somebody else's approval.
    FollowUpMerged = "follow-up-merged" ["NIST CM-3", "NIST AC-5", "DORA 17(1)", "SOC2 CC8.1"],
    /// The cluster equals the merged commit.
    FollowUpConverged = "follow-up-converged" ["NIST CM-3", "SOC2 CC8.1"],
    /// The pull request was closed without a merge.
    FollowUpRejected = "follow-up-rejected" ["NIST CM-3", "DORA 17(1)"],
    /// After a rejection somebody chose that the cluster goes back to git.
    RevertChosen = "revert-chosen" ["NIST CM-3", "DORA 17(1)"],
    /// The cluster was brought back to git.
    FollowUpReverted = "follow-up-reverted" ["NIST CM-3", "DORA 17(1)"],
    /// Compliance let the debt go, with a reason.
    FollowUpWaived = "follow-up-waived" ["NIST CM-3"],
    /// Somebody says that a manual item is done.
    ManualItemDone = "manual-item-done" ["NIST CM-3"],
    /// Somebody else accepted that a manual item is done.
    ManualItemAccepted = "manual-item-accepted" ["NIST CM-3", "DORA 17(1)"],
    /// A deadline is near.
    DeadlineDueSoon = "deadline-due-soon" ["NIST IR-6"],
    /// A deadline was missed.
    DeadlineBreached = "deadline-breached" ["NIST IR-6", "SOC2 CC7.4"],
    /// Compliance reviewed the emergency.
    Reviewed = "reviewed" ["NIST AU-6", "DORA 17(1)", "SOC2 CC7.3"],
    /// A person signed in.
    SignedIn = "signed-in" ["NIST AU-2", "PCI 10.2.1"],
    /// A person proved a fresh login.
    SteppedUp = "stepped-up" ["NIST AU-2"],
    /// A sign-in was refused.
    SignInRefused = "sign-in-refused" ["NIST AU-2", "PCI 10.2.1"],
    /// One recorded audit event of the Kubernetes API server.
    AuditEvent = "audit-event" ["NIST AC-6(9)", "NIST AU-12", "PCI 10.2.1.2", "ISO A.8.15"],
    /// How many events of a batch were looked at and not kept.
    BatchCount = "batch-count" ["NIST AU-12"],
    /// Events of the past came by import.
    Import = "import" ["NIST AU-12", "NIST AU-5"],
    /// A payload that could not be read, kept as it came.
    Quarantined = "quarantined" ["NIST AU-5"],
    /// Audit of a cluster went silent.
    CanaryMissed = "canary-missed" ["NIST AU-5(4)"],
    /// Audit of a cluster speaks again.
    CanaryResumed = "canary-resumed" ["NIST AU-5(4)"],
    /// A stretch of time whose record may have holes.
    Gap = "gap" ["NIST AU-5"],
    /// What a gap was about is here after all, or some of it.
    GapFilled = "gap-filled" ["NIST AU-5"],
    /// What an API server's audit policy keeps was held against what is promised.
    AuditProbed = "audit-probed" ["NIST AU-2", "NIST AU-12", "PCI 10.2.1"],
    /// Something is wrong and people must look at it.
    Finding = "finding" ["NIST IR-4", "NIST IR-5", "SOC2 CC7.2"],
    /// A person changed something without a grant.
    Bypass = "bypass" ["NIST AC-6(9)", "NIST CM-5(1)", "PCI 10.2.1.2", "SOC2 CC8.1"],
    /// What was changed without a grant was said to belong to a request.
    BypassAttached = "bypass-attached" ["NIST CM-3", "DORA 17(1)", "SOC2 CC7.3"],
    /// What was changed without a grant was said to be expected.
    BypassExpected = "bypass-expected" ["NIST CM-3", "DORA 17(1)", "SOC2 CC7.3"],
    /// A notice reached its channel.
    NoticeDelivered = "notice-delivered" ["NIST IR-6"],
    /// A notice did not reach its channel.
    NoticeUndeliverable = "notice-undeliverable" ["NIST IR-6"],
    /// What the manifests print was applied to a cluster.
    ManifestsApplied = "manifests-applied" ["NIST CM-3", "NIST CM-5(1)"],
    /// The machine's clock was set back: the times of what is lent come as much earlier.
    ClockSetBack = "clock-set-back" ["NIST AU-8", "NIST AC-2(2)"],
    /// The policy in force, by digest.
    PolicyLoaded = "policy-loaded" ["NIST CM-5(1)", "ISO A.5.15"],
    /// Somebody read the ledger.
    LedgerRead = "ledger-read" ["NIST AU-9", "PCI 10.3"],
    /// A checkpoint left the house.
    CheckpointPublished = "checkpoint-published" ["NIST AU-9", "PCI 10.3"],
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_a_control() {
        let mut names: Vec<_> = EntryKind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EntryKind::ALL.len());
        for kind in EntryKind::ALL {
            assert_eq!(EntryKind::from_name(kind.name()), Some(*kind));
            assert!(!kind.controls().is_empty(), "{kind} supports no control");
        }
    }
}
