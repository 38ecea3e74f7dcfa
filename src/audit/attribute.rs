//! Whose event it is: a grant's, the broker's own, or somebody else's.

use std::collections::HashMap;
use std::sync::Arc;

use super::event::{Event, User};
use super::foothold::{Foothold, Footholds};
use crate::config::{Automation, GRANTS_GROUP, GRANTS_NAMESPACE, Keep, PROBE_ACCOUNT};
use crate::ids::GrantId;

pub(super) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
const ISSUED_CREDENTIAL_ID: &str = "authentication.kubernetes.io/issued-credential-id";

/// What the ledger knows about one `ServiceAccount` of the grants' namespace.
#[derive(Debug, Clone, Copy)]
pub struct GrantRef<'a> {
    /// The grant it was made for.
    pub grant: GrantId,
    /// The ids (JTIs) of every token the broker had issued for it.
    pub credentials: &'a [String],
    /// Those of them that the broker itself asks with, to see that what this user does is recorded.
    pub own: &'a [String],
}

/// What the broker knows, asked once an event.
pub trait Lookup {
    /// The grant of a `ServiceAccount`, by its bare name in [`GRANTS_NAMESPACE`].
    fn account(&self, name: &str) -> Option<GrantRef<'_>>;
    /// The broker's own user name in the cluster.
    fn broker(&self) -> &str;
    /// What sessions got hold of.
    fn footholds(&self) -> &Footholds;
    /// Who the configuration says is no person.
    fn automation(&self) -> &Automation;
    /// What is kept of events that are no grant's.
    fn keep(&self) -> Keep;
    /// Whether something is lent there, or was lately: then it is noted what is changed, by whomever.
    fn live(&self) -> bool;
}

/// One account of [`Accounts`].
#[derive(Debug, Clone)]
pub struct KnownGrant {
    /// The grant.
    pub grant: GrantId,
    /// The ids of its tokens. An id must be written down before its token is first used: the
    /// first use of an unknown one is an alarm.
    pub credentials: Vec<String>,
    /// The ids of the tokens that the broker itself asks with.
    pub own: Vec<String>,
}

/// A snapshot of what the broker knows about one cluster.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// The broker's own user name there.
    pub broker: String,
    /// Each `ServiceAccount`'s grant, ended grants included: their late events are theirs.
    pub grants: HashMap<String, KnownGrant>,
    /// What their sessions got hold of.
    pub footholds: Arc<Footholds>,
    /// Who is no person there.
    pub automation: Automation,
    /// What is kept of events that are no grant's.
    pub keep: Keep,
    /// Something is lent there, or was lately.
    pub live: bool,
}

impl Lookup for Accounts {
    fn account(&self, name: &str) -> Option<GrantRef<'_>> {
        let known = self.grants.get(name)?;
        Some(GrantRef {
            grant: known.grant,
            credentials: &known.credentials,
            own: &known.own,
        })
    }

    fn broker(&self) -> &str {
        &self.broker
    }

    fn footholds(&self) -> &Footholds {
        &self.footholds
    }

    fn automation(&self) -> &Automation {
        &self.automation
    }

    fn keep(&self) -> Keep {
        self.keep
    }

    fn live(&self) -> bool {
        self.live
    }
}

/// Whose an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribution {
    /// A grant's, under a credential the ledger knows.
    Grant {
        /// The grant.
        grant: GrantId,
        /// The credential's id, without `JTI=`.
        credential: String,
    },
    /// The broker's own question as a grant's user.
    OwnUse {
        /// The grant.
        grant: GrantId,
        /// The credential's id.
        credential: String,
    },
    /// A grant's account with a credential nobody issued through the broker. An alarm.
    UnknownCredential {
        /// The grant.
        grant: GrantId,
        /// The credential's id; none where the API server names none, which a bound token never
        /// lacks since Kubernetes 1.30.
        credential: Option<String>,
    },
    /// An identity of the grants' namespace the ledger does not know. An alarm.
    UnknownAccount {
        /// The account, or the whole user name where only the group matched.
        name: String,
    },
    /// Another account's, acting by what a session got hold of.
    Borrowed {
        /// The session's grant.
        grant: GrantId,
        /// By what.
        by: Foothold,
    },
    /// The account's that the broker probes the audit policy with.
    Probe,
    /// The broker's own.
    Broker,
    /// Somebody else's.
    Other,
}

/// Says whose `event` is, by the authenticated user alone.
#[must_use]
pub fn attribute(event: &Event<'_>, lookup: &dyn Lookup) -> Attribution {
    let user = &event.user;
    if let Some(name) = account_of(user) {
        if name == PROBE_ACCOUNT {
            return Attribution::Probe;
        }
        let Some(known) = lookup.account(name) else {
            return Attribution::UnknownAccount {
                name: name.to_owned(),
            };
        };
        let (grant, mut ids) = (known.grant, credential_ids(user));
        if let [id] = ids.as_slice()
            && known.own.iter().any(|own| own == id)
        {
            let credential = (*id).to_owned();
            return Attribution::OwnUse { grant, credential };
        }
        let is_known = |id: &&str| known.credentials.iter().any(|known| bare(known) == *id);
        // More than one id is nothing an API server writes; only if all are known is it believed.
        let stranger = ids.iter().copied().find(|id| !is_known(id));
        return match (stranger, ids.pop()) {
            (None, Some(id)) => Attribution::Grant {
                grant,
                credential: id.to_owned(),
            },
            (stranger, _) => Attribution::UnknownCredential {
                grant,
                credential: stranger.map(str::to_owned),
            },
        };
    }
    if !lookup.broker().is_empty() && *user.username == *lookup.broker() {
        return Attribution::Broker;
    }
    // A certificate or an impersonator can carry the group without the name.
    if user.groups.iter().flatten().any(|group| &**group == GRANTS_GROUP) {
        return Attribution::UnknownAccount {
            name: user.username.to_string(),
        };
    }
    match lookup.footholds().holder(event) {
        Some((grant, by)) => Attribution::Borrowed {
            grant,
            by: by.clone(),
        },
        None => Attribution::Other,
    }
}

/// The account of a `ServiceAccount`'s token that has no id: one from a Secret, which never expires. Tokens
/// that the API server issues have one since Kubernetes 1.30.
pub(super) fn lasting_token<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    let account = event.user.username.strip_prefix("system:serviceaccount:")?;
    credential_ids(&event.user).is_empty().then_some(account)
}

/// The bare name, when the user is a `ServiceAccount` of the grants' namespace.
pub(super) fn account_of<'u>(user: &'u User<'_>) -> Option<&'u str> {
    let account = user.username.strip_prefix("system:serviceaccount:")?;
    account.strip_prefix(GRANTS_NAMESPACE)?.strip_prefix(':')
}

/// The id of the token this event says was issued, without `JTI=`.
pub(super) fn issued_credential<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    event.annotation(ISSUED_CREDENTIAL_ID).map(bare)
}

fn credential_ids<'u>(user: &'u User<'_>) -> Vec<&'u str> {
    let Some(extra) = &user.extra else {
        return Vec::new();
    };
    let ids = extra.get(CREDENTIAL_ID).into_iter().flatten().flatten();
    ids.map(|id| bare(id)).collect()
}

pub(super) fn bare(id: &str) -> &str {
    id.strip_prefix("JTI=").unwrap_or(id)
}
