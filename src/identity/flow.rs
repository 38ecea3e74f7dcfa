//! One round trip to the provider: what for, and what must be remembered until it comes back.

use crate::clock::Time;
use crate::domain::person::Person;
use crate::ids::random_bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Why somebody is sent to the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "purpose", rename_all = "snake_case")]
pub enum Purpose {
    /// To know who they are.
    SignIn,
    /// To be sure that it is still they.
    StepUp {
        /// How old their login may be, in seconds; 0 asks for a new one, for this very action.
        window_s: u32,
    },
    /// To have the provider sign the hash of what they approve.
    Approve {
        /// The hash of the exact request.
        request_hash: [u8; 32],
        /// Keeps the nonce unguessable and different for each approval of one request.
        salt: [u8; 32],
        /// How old their login may be, in seconds; 0 asks for a new one.
        window_s: u32,
    },
}

impl Purpose {
    /// An approval of `request_hash`, with a new salt.
    #[must_use]
    pub fn approve(request_hash: [u8; 32], window_s: u32) -> Self {
        Self::Approve {
            request_hash,
            salt: random_bytes(),
            window_s,
        }
    }

    /// How old the login may be, in seconds, where this purpose sets a bound of its own.
    #[must_use]
    pub fn window_s(&self) -> Option<u32> {
        match self {
            Self::SignIn => None,
            Self::StepUp { window_s } | Self::Approve { window_s, .. } => Some(*window_s),
        }
    }
}

/// The nonce that binds an ID token to a request: base64url(SHA-256(request hash ‖ salt)).
#[must_use]
pub fn approval_nonce(request_hash: &[u8; 32], salt: &[u8; 32]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(request_hash);
    hasher.update(salt);
    URL_SAFE_NO_PAD.encode(hasher.finalize())
}

/// What a round trip is for, where it ends, and who it must come back with.
#[derive(Debug, Clone)]
pub struct Asking {
    /// What for.
    pub purpose: Purpose,
    /// The own page (path and query) that the person comes back to.
    pub return_to: String,
    /// The person whose session this is. They, and nobody else, must come back; required by the
    /// caller for everything but a first sign-in.
    pub person: Option<Person>,
}

/// The start of a round trip.
#[derive(Debug)]
pub struct Begin {
    /// Where to send the browser.
    pub authorize_url: url::Url,
    /// What to keep, on the server, beside that browser's session.
    pub flow: Flow,
}

/// An account at the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The provider.
    pub issuer: String,
    /// The account's id there.
    pub subject: String,
}

/// What is remembered between leaving for the provider and coming back. Kept on the server: it holds
/// the PKCE verifier.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Unguessable; names this round trip in the provider's answer.
    pub state: String,
    /// What the ID token must carry.
    pub nonce: String,
    /// Proves that whoever brings the code is whoever asked for it (RFC 7636).
    pub pkce_verifier: String,
    /// What for.
    pub purpose: Purpose,
    /// When we asked, by our clock.
    pub asked_at: Time,
    /// The own page to come back to.
    pub return_to: String,
    /// The account that must come back, if one was signed in.
    pub account: Option<Account>,
}

impl Flow {
    /// A new flow for `asking`.
    #[must_use]
    pub fn new(asking: Asking, now: Time) -> Self {
        let nonce = match &asking.purpose {
            Purpose::Approve {
                request_hash, salt, ..
            } => approval_nonce(request_hash, salt),
            Purpose::SignIn | Purpose::StepUp { .. } => unguessable(),
        };
        Self {
            state: unguessable(),
            nonce,
            pkce_verifier: unguessable(),
            purpose: asking.purpose,
            asked_at: now,
            return_to: asking.return_to,
            account: asking.person.map(|person| Account {
                issuer: person.issuer,
                subject: person.subject,
            }),
        }
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("purpose", &self.purpose)
            .field("asked_at", &self.asked_at)
            .field("return_to", &self.return_to)
            .finish_non_exhaustive()
    }
}

fn unguessable() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

/// What the provider put into the address it sent the browser back to. All of it is from outside.
#[derive(Clone, Default, Deserialize)]
pub struct CallbackParams {
    /// The single-use code.
    pub code: Option<String>,
    /// The flow's state.
    pub state: Option<String>,
    /// The provider's name (RFC 9207).
    pub iss: Option<String>,
    /// What went wrong, as a word of RFC 6749 or `OpenID` Connect.
    pub error: Option<String>,
    /// The same for people.
    pub error_description: Option<String>,
}

impl fmt::Debug for CallbackParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackParams")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(purpose: Purpose) -> Asking {
        Asking {
            purpose,
            return_to: "/requests/1?tab=rules".to_owned(),
            person: None,
        }
    }

    fn now() -> Time {
        "2026-03-01T10:00:00.250Z".parse().unwrap()
    }

    #[test]
    fn the_nonce_changes_with_the_request_and_with_the_salt() {
        let nonce = approval_nonce(&[1; 32], &[2; 32]);
        assert_eq!(nonce.len(), 43);
        assert_ne!(nonce, approval_nonce(&[3; 32], &[2; 32]));
        assert_ne!(nonce, approval_nonce(&[1; 32], &[3; 32]));
        // The same, computed by another implementation: openssl dgst -sha256 over 32 bytes 01, 32 bytes 02.
        assert_eq!(nonce, "-Biv03ptw7yS-0RzEBEncAbbTvpukCPNdGjAIzXSKk0");
    }

    #[test]
    fn no_two_flows_share_anything_secret() {
        let (one, two) = (
            Flow::new(asking(Purpose::SignIn), now()),
            Flow::new(asking(Purpose::SignIn), now()),
        );
        assert_ne!(one.state, two.state);
        assert_ne!(one.nonce, two.nonce);
        assert_ne!(one.pkce_verifier, two.pkce_verifier);
        assert!(one.pkce_verifier.len() >= 43, "RFC 7636, 4.1");
    }

    #[test]
    fn a_flow_survives_the_session_store() {
        let flow = Flow::new(asking(Purpose::approve([7; 32], 300)), now());
        let kept = serde_json::to_string(&flow).unwrap();
        assert_eq!(serde_json::from_str::<Flow>(&kept).unwrap(), flow);
    }

    #[test]
    fn printing_a_flow_or_an_answer_shows_no_secret() {
        let flow = Flow::new(asking(Purpose::SignIn), now());
        let printed = format!("{flow:?}");
        assert!(!printed.contains(&flow.state) && !printed.contains(&flow.pkce_verifier));
        let params = CallbackParams {
            code: Some("the-code".to_owned()),
            ..CallbackParams::default()
        };
        assert!(!format!("{params:?}").contains("the-code"));
    }
}
