//! What a person changed without a grant: past the broker, by rights of their own.

use super::{
    attribute::Lookup,
    classify::{Flag, classify},
    event::{Event, Stage},
    intake::View,
    key::EventKey,
    person,
    record::{AlarmKind, Bypass, Intake},
    redact, scrub, words,
};
use crate::domain::canonical;

/// Longest user name that is shown, in characters.
const LONGEST_NAME: usize = 120;

impl View<'_> {
    /// Keeps the event where a person changed something, or got where changes are not audited. What is an alarm
    /// already (those from `told` on) is told louder.
    pub(super) fn bypass(&self, lookup: &dyn Lookup, told: usize, intake: &mut Intake) {
        let event = self.event;
        if !self.reaches() {
            return;
        }
        let Some(behind) = person::person(event, lookup.automation()) else {
            return;
        };
        let is_lasting = |kind: &AlarmKind| matches!(kind, AlarmKind::LastingToken { .. });
        if intake.alarms[told..].iter().any(|alarm| !is_lasting(&alarm.kind)) {
            return;
        }
        let redacted = redact::event(self.raw, event);
        let (body, answer) = (redacted.body(), redacted.answer());
        let object = redacted.object(event);
        // What came through a gateway is told as the person's own.
        let mut own = event.clone();
        if behind.through.is_some() {
            own.impersonated_user = None;
        }
        let class = classify(&own);
        let shown = |name: &str| words::shown(&scrub::scrub(name).0, LONGEST_NAME);
        intake.bypasses.push(Bypass {
            user: shown(behind.user),
            user_digest: canonical::digest("breakglass bypass v1", &behind.user),
            through: behind.through.map(shown),
            // All stages of one request are one change.
            key: EventKey::of_request(self.cluster, event, &redacted.uri),
            at_us: event.received_us,
            source_ip: event.source_ip().map(|ip| words::shown(ip, LONGEST_NAME)),
            class: class.class,
            flags: class.flags,
            words: words::say(&own, class, object.as_ref(), &redacted.uri, body, answer),
            object,
            code: event.code(),
            level: event.level,
            event: canonical::bytes(&redacted.event),
        });
    }

    /// Whether it changed something, or may have; or its caller got where the API server does not see what is
    /// changed: into a container, onto a node, or to the token of another account.
    fn reaches(&self) -> bool {
        let event = self.event;
        if event.stage == Stage::RequestReceived || is_idle(event) {
            return false;
        }
        if self.class.mutates {
            return true;
        }
        let Some(of) = &event.object_ref else {
            return false;
        };
        let gets_in = match (&*of.resource, &*of.subresource) {
            (_, "exec" | "attach") | ("nodes", "proxy") => true,
            (_, "proxy") => !matches!(&*event.verb, "get" | "list" | "watch" | "head" | "options"),
            ("serviceaccounts", "token") => *event.verb == *"create",
            _ => false,
        };
        let was_let = event.code().is_some_and(|code| code < 400);
        gets_in && was_let && !self.class.flags.has(Flag::DryRun)
    }
}

/// Whatever runs writes these for as long as it runs.
pub(super) fn is_idle(event: &Event<'_>) -> bool {
    event.object_ref.as_ref().is_some_and(|of| {
        matches!(
            (&*of.api_group, &*of.resource),
            ("coordination.k8s.io", "leases") | ("" | "events.k8s.io", "events")
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::audit::{Accounts, Intake, digest_batch};
    use crate::clock::Time;
    use serde_json::{Value, json};

    fn event(verb: &str, resource: &str, sub: &str, code: u16) -> Value {
        let group = if resource == "deployments" { "apps" } else { "" };
        json!({
            "level": "Metadata", "auditID": format!("{verb}-{resource}-{sub}-{code}"), "stage": "ResponseComplete",
            "requestURI": format!("/x/{resource}/web/{sub}"), "verb": verb,
            "user": {"username": "alice", "groups": ["oncall"]}, "sourceIPs": ["6.6.6.6", "10.1.2.3"],
            "objectRef": {"resource": resource, "namespace": "payments", "name": "web", "apiGroup": group,
                "apiVersion": "v1", "subresource": sub},
            "responseStatus": {"code": code}, "requestReceivedTimestamp": "2026-03-01T10:00:00.5Z",
            "stageTimestamp": "2026-03-01T10:00:00.5Z",
        })
    }

    fn with(mut event: Value, pointer: &str, value: Value) -> Value {
        *event.pointer_mut(pointer).unwrap() = value;
        event
    }

    fn intake(items: &[Value]) -> Intake {
        let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": items});
        digest_batch(
            "prod",
            list.to_string().as_bytes(),
            &Accounts::default(),
            Time::UNIX_EPOCH,
        )
    }

    fn found(event: Value) -> usize {
        intake(&[event]).bypasses.len()
    }

    #[test]
    fn a_change_by_a_person_says_who_what_and_from_where() {
        let intake = intake(&[event("patch", "deployments", "scale", 200)]);
        let [found] = intake.bypasses.as_slice() else {
            panic!("{intake:?}")
        };
        assert_eq!(
            (
                found.user.as_str(),
                found.through.as_deref(),
                found.source_ip.as_deref()
            ),
            ("alice", None, Some("10.1.2.3"))
        );
        assert_eq!(found.words.text, "scaled Deployment payments/web");
        assert_eq!(
            intake.counted_others.total, 1,
            "it is counted with the others too"
        );
        let kept: Value = serde_json::from_slice(&found.event).unwrap();
        assert_eq!(kept["user"]["username"], "alice");
    }

    #[test]
    fn what_changes_or_gets_in_is_found() {
        for (verb, resource, sub, code) in [
            ("create", "deployments", "", 201),
            ("update", "deployments", "status", 200),
            ("patch", "configmaps", "", 200),
            ("delete", "pods", "", 200),
            ("deletecollection", "pods", "", 200),
            ("create", "pods", "eviction", 201),
            // A time-out says nothing about what was stored.
            ("patch", "deployments", "", 504),
            ("get", "pods", "exec", 101),
            ("create", "pods", "attach", 101),
            ("get", "nodes", "proxy", 200),
            ("create", "services", "proxy", 200),
            ("create", "serviceaccounts", "token", 201),
        ] {
            assert_eq!(
                found(event(verb, resource, sub, code)),
                1,
                "{verb} {resource}/{sub} {code}"
            );
        }
    }

    #[test]
    fn what_looks_fails_or_is_idle_is_not() {
        for (verb, resource, sub, code) in [
            ("get", "secrets", "", 200),
            ("list", "pods", "", 200),
            ("patch", "deployments", "", 403),
            ("create", "deployments", "", 409),
            ("get", "pods", "exec", 403),
            ("get", "services", "proxy", 200),
            ("get", "pods", "log", 200),
            ("create", "events", "", 201),
        ] {
            assert_eq!(
                found(event(verb, resource, sub, code)),
                0,
                "{verb} {resource}/{sub} {code}"
            );
        }
        let lease = with(
            event("update", "leases", "", 200),
            "/objectRef/apiGroup",
            json!("coordination.k8s.io"),
        );
        assert_eq!(found(lease), 0);
        let review = with(
            event("create", "selfsubjectaccessreviews", "", 201),
            "/objectRef/apiGroup",
            json!("authorization.k8s.io"),
        );
        assert_eq!(found(review), 0);
        let dry = with(
            event("patch", "deployments", "", 200),
            "/requestURI",
            json!("/x?dryRun=All"),
        );
        assert_eq!(found(dry), 0);
        let early = with(
            event("patch", "deployments", "", 200),
            "/stage",
            json!("RequestReceived"),
        );
        assert_eq!(found(early), 0);
        let machine = with(
            event("patch", "deployments", "", 200),
            "/user/username",
            json!("system:kube-controller-manager"),
        );
        assert_eq!(found(machine), 0);
    }

    #[test]
    fn the_stages_of_one_request_are_one_change() {
        let begun = with(
            event("get", "pods", "exec", 101),
            "/stage",
            json!("ResponseStarted"),
        );
        let intake = intake(&[begun, event("get", "pods", "exec", 101)]);
        assert_eq!(intake.bypasses.len(), 2);
        assert_eq!(intake.bypasses[0].key, intake.bypasses[1].key);
    }

    #[test]
    fn what_is_an_alarm_is_not_told_twice() {
        let mut planted = event("create", "secrets", "", 201);
        planted["objectRef"]["namespace"] = json!("breakglass-grants");
        let intake = intake(&[planted]);
        assert_eq!((intake.alarms.len(), intake.bypasses.len()), (1, 0));
        // That an account's key never expires is another matter than what is done with it.
        let lasting = with(
            event("delete", "pods", "", 200),
            "/user/username",
            json!("system:serviceaccount:shop:deployer"),
        );
        let intake = super::tests::intake(&[lasting]);
        assert_eq!((intake.alarms.len(), intake.bypasses.len()), (1, 1));
    }

    #[test]
    fn a_hostile_name_is_cut_and_its_hidden_characters_are_written_out() {
        let name = format!("\u{202e}ecila\n{}", "x".repeat(500));
        let intake = intake(&[with(
            event("delete", "pods", "", 200),
            "/user/username",
            json!(name),
        )]);
        let user = &intake.bypasses[0].user;
        assert!(
            user.starts_with("\\u{202e}ecila\\n") && user.chars().count() <= 120,
            "{user}"
        );
    }
}
