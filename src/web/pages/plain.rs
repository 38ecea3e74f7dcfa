//! The pages for when something else is to be said: signed out, not found, forbidden, failed.

use super::{Choice, Href, Shell, Text, When, Words};
use askama::Template;

/// What is shown to somebody who is not signed in.
#[derive(Debug, Clone, Template)]
#[template(path = "signed_out.html")]
pub struct SignedOutPage {
    /// What surrounds the page; nobody is signed in.
    pub shell: Shell,
    /// Where signing in begins; it leads back to where the person was going.
    pub sign_in: Href,
    /// The name of the provider.
    pub provider: Text,
    /// Why the person is here: "You signed out.", "Your session is over."
    pub why: Option<Text>,
}

/// A sign-in that was refused.
#[derive(Debug, Clone, Template)]
#[template(path = "sign_in_refused.html")]
pub struct SignInRefusedPage {
    /// What surrounds the page; nobody is signed in.
    pub shell: Shell,
    /// Why.
    pub why: SignInRefusal,
    /// Where signing in begins again.
    pub sign_in: Href,
    /// By which the refusal is found in the log.
    pub request_id: Text,
}

/// Why a sign-in was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignInRefusal {
    /// The provider sent a link to the groups instead of the groups: too many of them.
    GroupsOverage,
    /// The person is in none of the configured groups.
    NoRole,
    /// The claim that says who the person is was missing; its name.
    ClaimMissing(Text),
    /// The login was not fresh enough for what was to be done.
    NotFresh,
    /// Another person came back than the one who was asked to sign in again.
    OtherPerson,
    /// The provider said no; its words.
    Provider(Text),
    /// The provider gave no usable answer.
    Unreachable {
        /// What it was asked for and what happened.
        words: Text,
        /// Since when.
        since: When,
    },
    /// The answer did not belong to this browser or was too old.
    Stale,
}

/// `404`, also for what the reader may not know of.
#[derive(Debug, Clone, Template)]
#[template(path = "not_found.html")]
pub struct NotFoundPage {
    /// What surrounds the page.
    pub shell: Shell,
}

/// `403`: known, and not for the reader.
#[derive(Debug, Clone, Template)]
#[template(path = "forbidden.html")]
pub struct ForbiddenPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// What was refused and who may do it.
    pub why: Words,
}

/// `500`, `503`: the detail is in the log.
#[derive(Debug, Clone, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// What could not be done, in general words.
    pub what: Text,
    /// By which it is found in the log.
    pub request_id: Text,
    /// Whether nothing was changed for sure.
    pub unchanged: bool,
}

/// `409`: somebody was faster, or the form was sent twice.
#[derive(Debug, Clone, Template)]
#[template(path = "conflict.html")]
pub struct ConflictPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// What happened meanwhile.
    pub what: Words,
    /// Where it can be seen.
    pub href: Href,
}

/// `GET /zone`: in which zone times are shown. Sent to `POST /zone` as `tz`; a cookie keeps it.
#[derive(Debug, Clone, Template)]
#[template(path = "zone.html")]
pub struct ZonePage {
    /// What surrounds the page.
    pub shell: Shell,
    /// Field `tz`: every zone.
    pub zones: Vec<Choice>,
}
