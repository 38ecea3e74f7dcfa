//! Who is a person: by the user that the API server authenticated, never by what a client says of itself.
//!
//! Kubernetes' own parts are none, nor what the configuration names. A ServiceAccount is none while it acts by the
//! token of a Pod, and in `kube-system`, where the controllers act by tokens of no Pod. By any other token anybody
//! may act in its name: `kubectl create token` makes one, a Secret holds one.

use super::event::{Event, User};
use crate::config::Automation;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const ACCOUNT: &str = "system:serviceaccount:";

/// Who is behind an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Behind<'e> {
    /// The user.
    pub user: &'e str,
    /// Who acted in that user's name, where the API server knew another: a gateway that people come through.
    pub through: Option<&'e str>,
}

/// The person behind `event`, where it is one.
pub(super) fn person<'e>(event: &'e Event<'_>, automation: &Automation) -> Option<Behind<'e>> {
    let authenticated = &*event.user.username;
    if is_person(&event.user, automation) {
        return Some(Behind {
            user: authenticated,
            through: None,
        });
    }
    // What is no person may act for one. As another account it acts for itself.
    let other = event.impersonated_user.as_ref()?;
    let is_account = other.username.starts_with(ACCOUNT);
    (!is_account && is_person(other, automation)).then_some(Behind {
        user: &other.username,
        through: Some(authenticated),
    })
}

fn is_person(user: &User<'_>, automation: &Automation) -> bool {
    let name = &*user.username;
    let groups = || user.groups.iter().flatten().map(|group| &**group);
    if automation.names(name, groups()) {
        return false;
    }
    if let Some(account) = name.strip_prefix(ACCOUNT) {
        let of_a_pod = || {
            user.extra
                .as_ref()
                .is_some_and(|extra| extra.contains_key(POD_NAME))
        };
        return !account.starts_with("kube-system:") && !of_a_pod();
    }
    let is_node = name.starts_with("system:node:") && groups().any(|group| group == "system:nodes");
    let is_kubernetes = name.starts_with("system:kube-")
        || name.starts_with("system:bootstrap:")
        || matches!(name, "system:apiserver" | "system:cloud-controller-manager");
    !is_node && !is_kubernetes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::event::parse;
    use serde_json::{Value, json};

    fn behind(user: &Value, other: &Value) -> Option<(String, Option<String>)> {
        let mut event = json!({"level": "Metadata", "auditID": "a", "stage": "ResponseComplete", "requestURI": "/x",
            "verb": "create", "user": user, "requestReceivedTimestamp": "2026-03-01T10:00:00Z",
            "stageTimestamp": "2026-03-01T10:00:00Z"});
        if !other.is_null() {
            event["impersonatedUser"] = other.clone();
        }
        let automation = Automation {
            users: vec!["gateway".to_owned(), "system:serviceaccount:ci:*".to_owned()],
            groups: vec!["robots".to_owned()],
        };
        let text = event.to_string();
        let event = parse(text.as_bytes()).unwrap();
        let found = person(&event, &automation)?;
        Some((found.user.to_owned(), found.through.map(str::to_owned)))
    }

    fn is_person(user: &Value) -> bool {
        behind(user, &Value::Null).is_some()
    }

    #[test]
    fn kubernetes_and_what_is_named_are_no_persons() {
        for user in [
            json!({"username": "system:apiserver", "groups": ["system:masters"]}),
            json!({"username": "system:kube-controller-manager"}),
            json!({"username": "system:kube-scheduler"}),
            json!({"username": "system:node:node-1", "groups": ["system:nodes"]}),
            json!({"username": "system:bootstrap:07401b"}),
            json!({"username": "system:serviceaccount:kube-system:job-controller"}),
            json!({"username": "system:serviceaccount:argocd:controller",
                "extra": {"authentication.kubernetes.io/pod-name": ["controller-0"]}}),
            json!({"username": "system:serviceaccount:ci:deployer"}),
            json!({"username": "gateway"}),
            json!({"username": "robot", "groups": ["robots"]}),
        ] {
            assert!(!is_person(&user), "{user}");
        }
    }

    #[test]
    fn everybody_else_is_one() {
        for user in [
            json!({"username": "alice@example.org", "groups": ["oncall"]}),
            json!({"username": "kubernetes-admin", "groups": ["system:masters"]}),
            json!({"username": "system:anonymous", "groups": ["system:unauthenticated"]}),
            json!({"username": "system:admin"}),
            // A certificate may carry the name of a node and not be one.
            json!({"username": "system:node:node-1", "groups": ["system:authenticated"]}),
            // By a token of no Pod: anybody who holds it.
            json!({"username": "system:serviceaccount:argocd:controller",
                "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]}}),
            json!({"username": "system:serviceaccount:argocd:controller"}),
        ] {
            assert!(is_person(&user), "{user}");
        }
    }

    #[test]
    fn a_gateway_acts_for_people_and_a_person_for_nobody_else() {
        let (gateway, alice) = (json!({"username": "gateway"}), json!({"username": "alice"}));
        let through = Some(("alice".to_owned(), Some("gateway".to_owned())));
        assert_eq!(behind(&gateway, &alice), through);
        let account = json!({"username": "system:serviceaccount:shop:reconciler"});
        assert_eq!(behind(&gateway, &account), None);
        assert_eq!(
            behind(&gateway, &json!({"username": "system:kube-scheduler"})),
            None
        );
        // As whatever she acts, it is her.
        assert_eq!(behind(&alice, &account), Some(("alice".to_owned(), None)));
        assert_eq!(behind(&alice, &gateway), Some(("alice".to_owned(), None)));
    }
}
