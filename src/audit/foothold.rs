//! What a session got hold of and can act as somebody else with: a Pod that it was in, or made, whose
//! account's token it could read; a token that it had issued. What is done with it afterwards is told as the
//! session's, though the API server knows another user.

use super::{
    attribute::{CREDENTIAL_ID, bare, issued_credential},
    classify::{Class, Classified, Flag},
    event::Event,
    object::Object,
};
use crate::ids::GrantId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Something that lets its holder act as another account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "foothold")]
pub enum Foothold {
    /// A Pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its UID, where the event that gave it says so: an exec's does not.
        uid: Option<String>,
    },
    /// A token, by its id (JTI).
    Token {
        /// The id, without prefix.
        id: String,
        /// The account it is of, `namespace/name`.
        account: String,
    },
}

impl Foothold {
    /// What `event`, a session's own, gave it. `answer` is the answer's body.
    pub(super) fn given_by(
        event: &Event<'_>,
        class: Classified,
        object: Option<&Object>,
        answer: Option<&Value>,
    ) -> Option<Self> {
        let happened = event.code().is_some_and(|code| code < 400) && !class.flags.has(Flag::DryRun);
        let of = object.filter(|of| happened && of.api_group.is_empty())?;
        let (namespace, name) = (of.namespace.clone()?, of.name.clone()?);
        let makes = *event.verb == *"create" && of.resource == "pods" && of.subresource.is_none();
        match class.class {
            Class::Exec | Class::Attach | Class::Debug => {}
            _ if makes => {}
            _ if *event.verb == *"create" && of.is_token() => {
                let id = issued_credential(event)?.to_owned();
                let account = format!("{namespace}/{name}");
                return Some(Self::Token { id, account });
            }
            _ => return None,
        }
        let uid = answer
            .filter(|_| of.resource == "pods")
            .and_then(|answer| answer.pointer("/metadata/uid")?.as_str())
            .map(str::to_owned);
        Some(Self::Pod { namespace, name, uid })
    }

    fn key(&self) -> String {
        match self {
            Self::Pod { namespace, name, .. } => format!("pod {namespace}/{name}"),
            Self::Token { id, .. } => format!("token {id}"),
        }
    }
}

/// In words, as a sentence goes on after "from".
impl fmt::Display for Foothold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { namespace, name, .. } => write!(f, "Pod {namespace}/{name}"),
            Self::Token { account, .. } => write!(f, "a token issued to it for {account}"),
        }
    }
}

/// Every foothold of one cluster's sessions, those that are over included: what they left behind acts on.
#[derive(Debug, Clone, Default)]
pub struct Footholds(HashMap<String, Vec<Held>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    grant: GrantId,
    since_us: i64,
    foothold: Foothold,
}

impl Footholds {
    /// Adds one; false when it was known.
    pub fn add(&mut self, grant: GrantId, since_us: i64, foothold: &Foothold) -> bool {
        let all = self.0.entry(foothold.key()).or_default();
        // Every exec into one Pod is the same foothold; the first counts.
        if let Some(known) = all
            .iter_mut()
            .find(|held| held.grant == grant && held.foothold == *foothold)
        {
            let earlier = since_us < known.since_us;
            known.since_us = known.since_us.min(since_us);
            return earlier;
        }
        all.push(Held {
            grant,
            since_us,
            foothold: foothold.clone(),
        });
        true
    }

    /// Whose the account behind `event` was when it was received: the last session to get hold of it.
    #[must_use]
    pub fn holder(&self, event: &Event<'_>) -> Option<(GrantId, &Foothold)> {
        let account = event.user.username.strip_prefix("system:serviceaccount:")?;
        let (namespace, _) = account.split_once(':')?;
        let extra = event.user.extra.as_ref()?;
        let one = |key: &str| extra.get(key)?.iter().flatten().next().map(|text| &**text);
        let uid = one(POD_UID);
        let of_pod = one(POD_NAME).and_then(|name| self.0.get(&format!("pod {namespace}/{name}")));
        let of_token = one(CREDENTIAL_ID).and_then(|id| self.0.get(&format!("token {}", bare(id))));
        of_pod
            .into_iter()
            .chain(of_token)
            .flatten()
            .filter(|held| held.since_us <= event.received_us)
            .filter(|held| match &held.foothold {
                // Another Pod may have got the name since.
                Foothold::Pod { uid: Some(known), .. } => uid.is_none_or(|uid| uid == known),
                _ => true,
            })
            .max_by_key(|held| held.since_us)
            .map(|held| (held.grant, &held.foothold))
    }
}
