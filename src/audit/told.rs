//! An event that was kept without a line of its own: who it is of, and what it was, in words.

use super::{
    classify::classify,
    event::parse,
    redact, scrub,
    words::{self, Words},
};

/// What the line of a batch says where some of it was kept: the events themselves have none.
pub const KEPT: &str = "events of others were kept";
/// The longest name that is shown.
const LONGEST_NAME: usize = 120;

/// A kept event, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The user that the API server authenticated.
    pub user: String,
    /// What was done.
    pub words: Words,
    /// It changed something, or may have.
    pub mutates: bool,
}

/// Tells a kept event; `None` where it cannot be read. It is redacted once more: what came in by an older version
/// is shown by today's rules.
#[must_use]
pub fn told(raw: &[u8]) -> Option<Told> {
    let event = parse(raw).ok()?;
    let redacted = redact::event(raw, &event);
    let (body, answer) = (redacted.body(), redacted.answer());
    let object = redacted.object(&event);
    let class = classify(&event);
    Some(Told {
        user: words::shown(&scrub::scrub(&event.user.username).0, LONGEST_NAME),
        words: words::say(&event, class, object.as_ref(), &redacted.uri, body, answer),
        mutates: class.mutates,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_says_who_and_what_and_hides_what_must_not_be_shown() {
        let event = json!({"level": "Request", "auditID": "a", "stage": "ResponseComplete", "verb": "patch",
            "requestURI": "/apis/apps/v1/namespaces/shop/deployments/web/scale", "user": {"username": "alice\u{202e}"},
            "objectRef": {"resource": "deployments", "apiGroup": "apps", "namespace": "shop", "name": "web",
                "subresource": "scale"},
            "requestObject": {"spec": {"replicas": 5}}, "responseStatus": {"code": 200},
            "requestReceivedTimestamp": "2026-03-01T10:00:00Z", "stageTimestamp": "2026-03-01T10:00:00Z"});
        let told = told(event.to_string().as_bytes()).unwrap();
        assert!(
            told.user.starts_with("alice") && !told.user.contains('\u{202e}'),
            "{told:?}"
        );
        assert_eq!(
            (told.words.text.as_str(), told.words.object.as_str(), told.mutates),
            (
                "scaled Deployment shop/web to 5 replicas",
                "Deployment shop/web",
                true
            )
        );
        assert_eq!(super::told(b"{}"), None);
    }
}
