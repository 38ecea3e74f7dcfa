//! One typed id per kind, so that a grant's id can never be passed where a request's is meant.
//! All are UUID version 7 (RFC 9562): sortable by the time they were made.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, made now.
            #[must_use]
            #[expect(clippy::disallowed_methods, reason = "ids are made here and nowhere else")]
            #[expect(clippy::new_without_default, reason = "a default id would hide where ids are made")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The last eight hex digits: short enough for a label, random enough to tell neighbours apart.
            #[must_use]
            pub fn short(self) -> String {
                let text = self.0.simple().to_string();
                text[text.len() - 8..].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// A request for access.
    RequestId,
    /// One person's approval of one request.
    ApprovalId,
    /// The access itself.
    GrantId,
    /// One showing of a credential of a grant.
    RevealId,
    /// One recorded audit event of a grant.
    ActionId,
    /// What a grant owes afterwards.
    FollowUpId,
    /// One manual item of a follow-up.
    ItemId,
    /// One piece of work in the outbox.
    JobId,
    /// One notice to people.
    NoticeId,
    /// Something that is wrong and that people must look at.
    FindingId,
}

/// `N` unpredictable bytes from the operating system: for salts, tokens and session ids.
///
/// # Panics
/// When the operating system gives no randomness: nothing that follows would be safe.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_being_written_and_read() {
        let id = GrantId::new();
        assert_eq!(id, id.to_string().parse().unwrap());
        assert_eq!(id.short().len(), 8);
        assert!("not-an-id".parse::<GrantId>().is_err());
    }
}
