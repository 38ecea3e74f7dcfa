//! Something that RBAC allows a profile and the session policy forbids: created as a dry run with a
//! grant's own credential, its refusal proves that the policy is enforced before anybody sees that
//! credential.

use super::SESSION_POLICY;
use crate::config::ClusterRole;
use serde_json::{Value, json};

/// An object whose creation must be refused by the session policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// The path of the collection to post to, for a namespace: `/api/v1/namespaces/NAME/pods`.
    pub path: String,
    /// The object.
    pub object: Value,
}

impl Probe {
    /// Whether the API server's words are a refusal by the session policy: any other refusal (rights,
    /// quota, another policy) says nothing about it.
    #[must_use]
    pub fn is_refused_by_policy(status: u16, message: &str) -> bool {
        matches!(status, 403 | 422)
            && message.contains(&format!("ValidatingAdmissionPolicy '{SESSION_POLICY}'"))
    }
}

/// The probe for a role in `namespace`; `None` when the role can create nothing that the policy is
/// asked about. To be posted with `?dryRun=All`.
#[must_use]
pub fn probe(role: &ClusterRole, namespace: &str) -> Option<Probe> {
    let name = json!({"name": "breakglass-probe"});
    // It fits the Restricted Pod Security Standard, which is asked before the policy; only the
    // node's name is wrong.
    let pod = json!({
        "nodeName": "breakglass-probe",
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "probe",
            "image": "breakglass.invalid/probe",
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}},
        }],
    });
    let labels = json!({"breakglass-probe": "true"});
    if role.allows("create", "", "pods") {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": name, "spec": pod});
        return Some(Probe {
            path: format!("/api/v1/namespaces/{namespace}/pods"),
            object,
        });
    }
    if role.allows("create", "", "secrets") {
        let mut metadata = name;
        metadata["annotations"] = json!({"kubernetes.io/service-account.name": "default"});
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/service-account-token",
        });
        return Some(Probe {
            path: format!("/api/v1/namespaces/{namespace}/secrets"),
            object,
        });
    }
    let template = json!({"metadata": {"labels": labels}, "spec": pod});
    let selected = json!({"selector": {"matchLabels": labels}, "template": template});
    // A Job's Pods may not be restarted for ever.
    let mut job = json!({"template": template});
    job["template"]["spec"]["restartPolicy"] = json!("Never");
    let makers = [
        ("apps", "deployments", "Deployment", selected.clone()),
        ("apps", "statefulsets", "StatefulSet", with_service(&selected)),
        ("apps", "daemonsets", "DaemonSet", selected.clone()),
        ("apps", "replicasets", "ReplicaSet", selected),
        ("batch", "jobs", "Job", job.clone()),
        (
            "batch",
            "cronjobs",
            "CronJob",
            json!({"schedule": "0 0 31 2 *", "jobTemplate": {"spec": job}}),
        ),
    ];
    let (group, plural, kind, spec) = makers
        .into_iter()
        .find(|(group, plural, ..)| role.allows("create", group, plural))?;
    Some(Probe {
        path: format!("/apis/{group}/v1/namespaces/{namespace}/{plural}"),
        object: json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": name, "spec": spec}),
    })
}

fn with_service(spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["serviceName"] = json!("breakglass-probe");
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_exists_for_whatever_can_make_pods_or_tokens() {
        let role =
            |rule: &str| -> ClusterRole { serde_saphyr::from_str(&format!("rules: [{rule}]")).unwrap() };
        let pods = probe(&ClusterRole::shipped(), "shop").unwrap();
        assert_eq!(pods.path, "/api/v1/namespaces/shop/pods");
        let secrets = role("{api_groups: [''], resources: [secrets], verbs: [create]}");
        assert_eq!(
            probe(&secrets, "shop").unwrap().object["type"],
            "kubernetes.io/service-account-token"
        );
        let deployments = role("{api_groups: [apps], resources: [deployments], verbs: [create]}");
        assert_eq!(probe(&deployments, "shop").unwrap().object["kind"], "Deployment");
        assert_eq!(
            probe(
                &role("{api_groups: [''], resources: [pods], verbs: [get]}"),
                "shop"
            ),
            None
        );
    }

    #[test]
    fn only_the_session_policys_own_refusal_counts() {
        let words = "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'breakglass-session' with binding …";
        assert!(Probe::is_refused_by_policy(403, words));
        assert!(!Probe::is_refused_by_policy(201, words));
        assert!(!Probe::is_refused_by_policy(
            403,
            "pods is forbidden: exceeded quota"
        ));
    }
}
