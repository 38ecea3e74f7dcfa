//! The adapter to the sign-in provider: who somebody is, how fresh their login is, and the
//! provider's own signature over what they approve (`OpenID` Connect Core 1.0, RFC 9700, RFC 9207).
//!
//! [`Identity::begin`] makes the address to send the browser to and a [`Flow`] to keep beside the
//! browser's session; [`Identity::finish`] takes both back and answers with a [`SignedIn`] or a
//! [`Refusal`]. Everything that decides is pure: [`token`] checks the signed token, [`freshness`] the
//! time of the login, [`claims`] makes a person of it, [`approval_proof`] checks an approval years
//! later without the provider.

pub mod approval_proof;
pub mod claims;
pub mod flow;
pub mod freshness;
mod openid;
mod provider;
mod refusal;
mod settings;
pub mod token;

pub use approval_proof::{ApprovalClaim, ProofError, check_approval_token};
pub use flow::{Asking, Begin, CallbackParams, Flow, Purpose};
pub use openid::OpenIdConnect;
pub use refusal::Refusal;
pub use settings::{Secret, Settings, SettingsError};

use crate::clock::Time;
use crate::domain::person::Person;

/// Somebody came back from the provider and everything held.
#[derive(Clone)]
pub struct SignedIn {
    /// Who.
    pub person: Person,
    /// When the provider saw them prove it.
    pub auth_time: Time,
    /// The signed ID token as it came: an approval's evidence, and the hint for signing out.
    pub id_token_raw: String,
    /// The provider's public key that signed it, as a JWK.
    pub jwk: serde_json::Value,
    /// The provider's session, where it names one (back-channel logout).
    pub sid: Option<String>,
}

impl std::fmt::Debug for SignedIn {
    /// The token works as a sign-out hint and names a person: it stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn")
            .field("subject", &self.person.subject)
            .field("auth_time", &self.auth_time)
            .finish_non_exhaustive()
    }
}

/// A sign-in provider.
///
/// Nothing here writes: a caller that stops half-way has lost nothing, and a flow that was begun and
/// never finished needs no cleaning up at the provider. A flow must be finished at most once; the
/// provider's code is single-use, but forgetting the flow first is the caller's part.
#[async_trait::async_trait]
pub trait Identity: Send + Sync {
    /// Starts a round trip for `asking`. Fails only when the provider was never reached.
    async fn begin(&self, asking: Asking, now: Time) -> Result<Begin, Refusal>;

    /// Ends it: exchanges the code and verifies everything the provider says. `flow` must come from
    /// the session of the very browser that brings `params`.
    async fn finish(&self, flow: &Flow, params: &CallbackParams, now: Time) -> Result<SignedIn, Refusal>;

    /// Where to send the browser to end the provider's own session, coming back to `return_to`.
    /// `None` where the provider offers no sign-out or cannot be reached: signing out here never
    /// waits for it.
    async fn logout_url(&self, id_token_hint: &str, return_to: &url::Url, now: Time) -> Option<url::Url>;
}
