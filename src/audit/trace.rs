//! What changed what, of anybody's events: so much is remembered that a change of an object without an event shows.

use super::bypass;
use super::event::Stage;
use super::intake::View;
use super::object::Object;
use super::record::Intake;

/// An object that an event changed, or may have, and when by the API server's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// `group/resource/namespace/name`; the name is empty where the event names none.
    pub place: String,
    /// In which second the request came.
    pub from_s: i64,
    /// In which it was answered.
    pub to_s: i64,
}

/// An object as [`Trace`] names it.
#[must_use]
pub fn place(group: &str, resource: &str, namespace: &str, name: &str) -> String {
    format!("{group}/{resource}/{namespace}/{name}")
}

impl View<'_> {
    /// Notes what the event changed.
    pub(super) fn trace(&self, intake: &mut Intake) {
        let event = self.event;
        if !self.class.mutates || event.stage == Stage::RequestReceived || bypass::is_idle(event) {
            return;
        }
        let Some(of) = Object::of(event, None) else {
            return;
        };
        intake.traces.push(Trace {
            place: place(
                &of.api_group,
                &of.resource,
                of.namespace.as_deref().unwrap_or_default(),
                of.name.as_deref().unwrap_or_default(),
            ),
            from_s: event.received_us.div_euclid(1_000_000),
            to_s: event.stage_us.div_euclid(1_000_000),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Accounts, digest_batch};
    use crate::clock::Time;
    use serde_json::json;

    fn traces(verb: &str, sub: &str, code: u16, live: bool) -> Vec<Trace> {
        let event = json!({"level": "Metadata", "auditID": "a", "stage": "ResponseComplete", "verb": verb,
            "requestURI": "/x", "user": {"username": "system:kube-controller-manager"},
            "objectRef": {"resource": "deployments", "apiGroup": "apps", "namespace": "shop", "name": "web",
                "apiVersion": "v1", "subresource": sub}, "responseStatus": {"code": code},
            "requestReceivedTimestamp": "1970-01-01T00:01:40.9Z", "stageTimestamp": "1970-01-01T00:01:41.1Z"});
        let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [event]});
        let accounts = Accounts {
            live,
            ..Accounts::default()
        };
        digest_batch("prod", list.to_string().as_bytes(), &accounts, Time::UNIX_EPOCH).traces
    }

    #[test]
    fn whatever_changed_something_leaves_a_trace_while_something_is_lent() {
        let trace = Trace {
            place: "apps/deployments/shop/web".to_owned(),
            from_s: 100,
            to_s: 101,
        };
        assert_eq!(traces("patch", "", 200, true), std::slice::from_ref(&trace));
        assert_eq!(
            traces("update", "scale", 200, true),
            [trace],
            "a sub-resource is its object"
        );
        assert!(traces("patch", "", 200, false).is_empty());
        assert!(traces("get", "", 200, true).is_empty() && traces("patch", "", 403, true).is_empty());
    }
}
