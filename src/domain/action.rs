//! Actions as they are looked up and shown: one row a recorded stage of a request.

use crate::clock::Time;
use crate::ids::GrantId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;

/// One recorded audit event of a grant, as it is looked up and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRow {
    /// The grant; `None` for the broker's own issuance of a credential.
    pub grant: Option<GrantId>,
    /// The cluster.
    pub cluster: String,
    /// When the API server received the request, microseconds since 1970.
    pub received_us: i64,
    /// When it was entered here.
    pub arrived_at: Time,
    /// The credential used, or issued.
    pub credential_id: Option<String>,
    /// The main class: read, change, delete, exec, …
    pub class: String,
    /// More that is notable: denied, secret read, rights change, uncertain, …
    pub flags: Vec<String>,
    /// The verb in words ("scaled").
    pub words: String,
    /// The object in words ("Deployment payments/web").
    pub object: String,
    /// The detail in words ("replicas = 5").
    pub detail: String,
    /// The answer's HTTP code.
    pub code: Option<u16>,
    /// Whether it may have changed something.
    pub mutation: bool,
    /// Identifies one request across its stages (the audit id).
    pub audit_id: String,
    /// The stage.
    pub stage: String,
    /// It opened a stream that outlives revocation.
    pub stream: bool,
    /// Everything else, as the audit room made it (redacted).
    pub facts: Value,
}

/// The flag of the broker's own first use of a key, before anybody was shown it.
const OWN_CHECK: &str = "own-check";

impl ActionRow {
    /// Marks it as the broker's own use of a key that nobody had been shown yet.
    pub fn mark_own_check(&mut self) {
        self.flags.push(OWN_CHECK.to_owned());
    }

    /// Whether the broker itself did this with the key, to see it recorded before showing it. It is part of
    /// the record and none of the engineer's doing.
    #[must_use]
    pub fn is_own_check(&self) -> bool {
        self.flags.iter().any(|flag| flag == OWN_CHECK)
    }

    /// Only its arrival at the API server is known, not how it ended.
    #[must_use]
    pub fn has_no_end(&self) -> bool {
        self.stage == "RequestReceived"
    }

    /// How far the request had come.
    fn reached(&self) -> u8 {
        match self.stage.as_str() {
            "RequestReceived" => 0,
            "ResponseStarted" => 1,
            _ => 2,
        }
    }
}

/// One row a request, the furthest stage of it that arrived, in the order of the requests. A request is
/// recorded when it is received (a patch), when its stream opens, and when it ends; batches come out of order.
#[must_use]
pub fn requests(rows: &[(u64, ActionRow)]) -> Vec<&(u64, ActionRow)> {
    let mut furthest: HashMap<&str, (u8, usize)> = HashMap::new();
    for (at, (_, row)) in rows.iter().enumerate() {
        let reached = (row.reached(), at);
        let known = furthest.entry(&row.audit_id).or_insert(reached);
        *known = (*known).max(reached);
    }
    rows.iter()
        .enumerate()
        .filter(|(at, (_, row))| {
            furthest
                .get(row.audit_id.as_str())
                .is_some_and(|(_, last)| last == at)
        })
        .map(|(_, row)| row)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture;

    #[test]
    fn a_request_is_one_action_whatever_order_its_stages_come_in() {
        let stage = |stage: &str| {
            let mut row = fixture::action("change");
            row.stage = stage.to_owned();
            row.audit_id = "one".to_owned();
            row
        };
        let (received, ended) = (stage("RequestReceived"), stage("ResponseComplete"));
        for rows in [
            [(7, received.clone()), (8, ended.clone())],
            [(7, ended.clone()), (8, received.clone())],
        ] {
            let shown = requests(&rows);
            assert_eq!(shown.len(), 1);
            assert_eq!(shown[0].1.stage, "ResponseComplete");
        }
        assert_eq!(
            requests(&[(7, received)]).len(),
            1,
            "without an end it is shown all the same"
        );
    }
}
