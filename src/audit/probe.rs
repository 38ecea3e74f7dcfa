//! Probes of the audit policy: requests of the broker, most of them by an account without rights.

use super::event::{Level, Stage};
use super::intake::View;
use super::record::Intake;
use crate::config::PROBE_PARAMETER;

/// A request by which the broker sees what the audit policy makes of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Which.
    pub nonce: String,
    /// How much the audit policy wrote down.
    pub level: Level,
    /// The stage.
    pub stage: Stage,
}

/// Whether a request of the probing account is one that the broker sends: named as such, and refused, as whatever
/// that account asks for is. Its answer is not known yet when it is received.
#[must_use]
pub fn is_probe(uri: &str, is_received: bool, code: Option<u16>) -> bool {
    nonce(uri).is_some() && (is_received || code.is_some_and(|code| (400..500).contains(&code)))
}

fn nonce(uri: &str) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let (_, nonce) = pairs.find(|(name, _)| name == PROBE_PARAMETER)?;
    Some(nonce.into_owned())
}

impl View<'_> {
    /// Takes in what came back of a probe. False where it is none: `refused` ones alone are, of an account that has
    /// no rights.
    pub(super) fn probe(&self, refused: bool, intake: &mut Intake) -> bool {
        let event = self.event;
        let is_received = event.stage == Stage::RequestReceived;
        if refused && !is_probe(&event.uri, is_received, event.code()) {
            return false;
        }
        let Some(nonce) = nonce(&event.uri) else {
            return false;
        };
        intake.probed.push(Probed {
            nonce,
            level: event.level,
            stage: event.stage,
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::{Accounts, AlarmKind, Intake, Level, digest_batch};
    use crate::clock::Time;
    use crate::config::BROKER_USER;
    use serde_json::json;

    fn intake(user: &str, query: &str, stage: &str, code: u16) -> Intake {
        let uri = format!("/api/v1/namespaces/shop/pods/x?dryRun=All{query}");
        let event = json!({"level": "RequestResponse", "auditID": "a", "stage": stage, "requestURI": uri, "verb": "patch",
            "user": {"username": user, "groups": ["system:serviceaccounts:breakglass-grants"]},
            "objectRef": {"resource": "pods", "namespace": "shop", "name": "x", "apiVersion": "v1"},
            "responseStatus": {"code": code}, "requestReceivedTimestamp": "2026-03-01T10:00:00Z",
            "stageTimestamp": "2026-03-01T10:00:00Z"});
        let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [event]});
        let accounts = Accounts {
            broker: BROKER_USER.to_owned(),
            ..Accounts::default()
        };
        digest_batch("prod", list.to_string().as_bytes(), &accounts, Time::UNIX_EPOCH)
    }

    const ACCOUNT: &str = "system:serviceaccount:breakglass-grants:breakglass-audit-probe";

    #[test]
    fn a_refused_probe_says_its_level_and_nothing_else() {
        let of = |stage, code| intake(ACCOUNT, "&breakglassAuditProbe=n1", stage, code);
        for (stage, code) in [
            ("RequestReceived", 0),
            ("ResponseComplete", 403),
            ("ResponseComplete", 404),
        ] {
            let intake = of(stage, code);
            assert_eq!(
                (intake.probed.len(), intake.alarms.len(), intake.kept.len()),
                (1, 0, 0),
                "{stage} {code}"
            );
            assert_eq!(intake.probed[0].level, Level::RequestResponse);
            assert_eq!(
                (intake.probed[0].nonce.as_str(), intake.bypasses.len()),
                ("n1", 0)
            );
        }
        let own = intake(BROKER_USER, "&breakglassAuditProbe=n2", "ResponseComplete", 403);
        assert_eq!((own.probed.len(), own.alarms.len()), (1, 0));
    }

    #[test]
    fn whatever_else_that_account_does_is_an_alarm() {
        for (query, code) in [
            ("&breakglassAuditProbe=n1", 200),
            ("&breakglassAuditProbe=n1", 500),
            ("", 403),
        ] {
            let intake = intake(ACCOUNT, query, "ResponseComplete", code);
            assert!(
                matches!(intake.alarms[0].kind, AlarmKind::UnknownAccount { .. }) && intake.probed.is_empty(),
                "{query} {code}"
            );
        }
        // Another account cannot pass for it, nor answer for it.
        let other = "system:serviceaccount:breakglass-grants:breakglass-audit-probe-1";
        let foreign = intake(other, "&breakglassAuditProbe=n1", "ResponseComplete", 403);
        assert_eq!((foreign.alarms.len(), foreign.probed.len()), (1, 0));
        let stranger = intake("alice", "&breakglassAuditProbe=n1", "ResponseComplete", 403);
        assert!(stranger.probed.is_empty());
    }
}
