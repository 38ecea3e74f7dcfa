//! Who sets an object's number of replicas: an autoscaler of its namespace, if one has it for its target.

use super::discovery::{Discovery, base};
use super::server::{Result, Server, segment, text};
use crate::domain::object::ObjectKey;
use serde_json::Value;

/// The kinds of autoscalers, each with the target it has when it names no kind.
const AUTOSCALERS: [(&str, &str, &str); 2] = [
    ("autoscaling", "horizontalpodautoscalers", ""),
    // keda.sh/v1alpha1, scaleTargetRef: kind defaults to Deployment.
    ("keda.sh", "scaledobjects", "Deployment"),
];

/// The autoscaler of that object, in words.
pub(super) async fn of(
    server: &Server,
    discovery: &Discovery,
    key: &ObjectKey,
    kind: &str,
) -> Result<Option<String>> {
    if key.namespace.is_empty() {
        return Ok(None);
    }
    for (group, plural, default_kind) in AUTOSCALERS {
        let Some(resource) = discovery.preferred(server, group, plural).await? else {
            continue;
        };
        let base = base(&resource.group, &resource.version);
        let path = format!("{base}/namespaces/{}/{plural}", segment(&key.namespace));
        let list = server.list(&format!("listing {plural}"), &path, "").await?;
        let found = list
            .items
            .iter()
            .find(|item| targets(item, default_kind, key, kind));
        if let Some(item) = found {
            let name = text(item, "/metadata/name");
            return Ok(Some(format!("{} {}/{name}", resource.kind, key.namespace)));
        }
    }
    Ok(None)
}

fn targets(item: &Value, default_kind: &str, key: &ObjectKey, kind: &str) -> bool {
    let target = |field: &str| text(item, &format!("/spec/scaleTargetRef/{field}"));
    let named = match target("kind") {
        "" => default_kind,
        kind => kind,
    };
    let version = target("apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    target("name") == key.name && named == kind && (version.is_empty() || group == key.group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_its_own_target_is_meant() {
        let key = ObjectKey {
            group: "apps".into(),
            version: "v1".into(),
            resource: "deployments".into(),
            namespace: "shop".into(),
            name: "web".into(),
        };
        let scaler = |target: Value| json!({"spec": {"scaleTargetRef": target}});
        let hpa = |target| targets(&scaler(target), "", &key, "Deployment");
        assert!(hpa(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})
        ));
        assert!(hpa(
            json!({"apiVersion": "apps/v1beta2", "kind": "Deployment", "name": "web"})
        ));
        assert!(hpa(json!({"kind": "Deployment", "name": "web"})));
        assert!(!hpa(
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"})
        ));
        assert!(!hpa(
            json!({"apiVersion": "shop.example/v1", "kind": "Deployment", "name": "web"})
        ));
        assert!(!hpa(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"})
        ));
        assert!(targets(
            &scaler(json!({"name": "web"})),
            "Deployment",
            &key,
            "Deployment"
        ));
    }
}
