//! Why a sign-in, a step-up or an approval was refused: one plain sentence each, fit to be shown.

use super::token::TokenFault;
use crate::clock::Time;
use thiserror::Error;

/// Why nobody was let in. The text is for the person at the browser and holds no secret;
/// [`Refusal::kind`] is the word for the log and the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The provider gave no usable answer.
    #[error(
        "The sign-in provider did not answer while {during} ({why}). Nothing has changed; try again in a moment."
    )]
    ProviderUnreachable {
        /// What we wanted from it.
        during: &'static str,
        /// What happened.
        why: String,
        /// Since when it has not given any.
        since: Time,
    },
    /// The provider sent the person back with an error.
    #[error("The sign-in provider ended the sign-in: {0}.")]
    ProviderRefused(String),
    /// The answer belongs to no round trip of this browser.
    #[error(
        "This sign-in was not started in this browser, or was used before. Start again from the page you came from."
    )]
    StateMismatch,
    /// Too long between leaving and coming back.
    #[error("The sign-in took too long. Start again from the page you came from.")]
    TookTooLong,
    /// The answer names another provider (RFC 9207), or none where this one always names itself.
    #[error(
        "The answer did not come from the configured sign-in provider. If it happens again, tell the operators."
    )]
    WrongProvider,
    /// Neither a code nor an error came back.
    #[error("The sign-in provider's answer is incomplete. Start again from the page you came from.")]
    Incomplete,
    /// The provider would not take the code.
    #[error(
        "The sign-in provider did not accept the sign-in ({0}). Start again from the page you came from."
    )]
    CodeRefused(String),
    /// The ID token does not hold.
    #[error(
        "The sign-in provider's signed statement does not hold: {0}. If it happens again, tell the operators."
    )]
    BadToken(#[from] TokenFault),
    /// The provider did not say when the person signed in, though it was asked.
    #[error(
        "The sign-in provider did not say when you signed in, so it cannot be told whether that was just now."
    )]
    NoAuthTime,
    /// The login is too old, although a fresh one was asked for.
    #[error(
        "A fresh sign-in was asked for, but the provider says that you last signed in at {auth_time}; it had to be {needed} or later."
    )]
    NotFresh {
        /// When they signed in.
        auth_time: Time,
        /// The earliest time that would do.
        needed: Time,
    },
    /// The time of the login lies ahead.
    #[error(
        "The sign-in provider says that you signed in at {auth_time}, which is still to come: its clock or ours is wrong."
    )]
    FutureLogin {
        /// The time it says.
        auth_time: Time,
    },
    /// A weaker login than was asked for.
    #[error("This needs a stronger sign-in ({asked}); the provider gave {got}.")]
    TooWeak {
        /// The levels asked for.
        asked: String,
        /// The level that came.
        got: String,
    },
    /// Somebody else came back than the one who is signed in here.
    #[error(
        "You signed in as another account than the one that is signed in here. Sign out first to change accounts."
    )]
    OtherAccount,
    /// The provider left the groups out because there are too many (`_claim_names`).
    #[error(
        "Your account is in so many groups that the sign-in provider left them out, so your teams and roles are unknown. \
         Ask the operators to have it send only the groups this service uses."
    )]
    GroupsOverage,
    /// The claim that tells people apart is missing.
    #[error(
        "Your account carries no `{claim}`, so it cannot be told whose it is. Shared and service accounts cannot sign in here; \
         if this is your own account, ask the operators."
    )]
    NoPersonClaim {
        /// The claim.
        claim: String,
    },
    /// A claim is of another shape than it must be.
    #[error(
        "The sign-in provider sends `{claim}` in a form that cannot be used: it must be {expected}. Ask the operators."
    )]
    BadClaim {
        /// The claim.
        claim: String,
        /// What it must be.
        expected: &'static str,
    },
}

impl Refusal {
    /// One word for the log, the ledger and counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ProviderUnreachable { .. } => "provider_unreachable",
            Self::ProviderRefused(_) => "provider_refused",
            Self::StateMismatch => "state_mismatch",
            Self::TookTooLong => "took_too_long",
            Self::WrongProvider => "wrong_provider",
            Self::Incomplete => "incomplete",
            Self::CodeRefused(_) => "code_refused",
            Self::BadToken(fault) => fault.kind(),
            Self::NoAuthTime => "no_auth_time",
            Self::NotFresh { .. } => "not_fresh",
            Self::FutureLogin { .. } => "future_login",
            Self::TooWeak { .. } => "too_weak",
            Self::OtherAccount => "other_account",
            Self::GroupsOverage => "groups_overage",
            Self::NoPersonClaim { .. } => "no_person_claim",
            Self::BadClaim { .. } => "bad_claim",
        }
    }

    /// Whether trying again later may help without anybody changing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::ProviderUnreachable { .. } | Self::TookTooLong)
    }
}

/// Text of the provider, or of whoever wrote the address, made fit for a sentence: one line, printable, short.
pub(super) fn tame(text: &str) -> String {
    const LONGEST: usize = 160;
    let clean: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(LONGEST)
        .collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_one_short_printable_line() {
        assert_eq!(tame("no\r\nX-Header: 1\u{1b}[31m"), "no X-Header: 1 [31m");
        assert_eq!(tame(&"x".repeat(5000)).len(), 160);
    }
}
