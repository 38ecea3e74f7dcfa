//! Whether what somebody wrote beside the grants is what the manifests print: putting the installation
//! there, or a change to what holds it.

use super::{Lent, documents};
use crate::config::Config;
use crate::drift::{self, Gvk};
use serde_json::Value;

/// What the API server adds to metadata, and what `kubectl apply` keeps there for itself. Owners and
/// finalizers are not among them: nothing printed has any, and they decide how long an object lives.
const ADDED: [&str; 6] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// So many differences are named.
const NAMED: usize = 5;

/// Compares `written`, the object as the API server answered it, with what [`super::manifests`] prints for
/// this cluster under that kind, namespace and name.
///
/// # Errors
/// What differs, as the second half of a sentence.
pub fn as_printed(
    config: &Config,
    cluster: &str,
    (kind, namespace, name): (&str, &str, &str),
    written: Option<&Value>,
) -> Result<(), String> {
    let lent = Lent::of(config, cluster).map_err(|error| error.to_string())?;
    let printed = documents(&lent)
        .into_iter()
        .map(|(_, document)| document)
        .find(|one| {
            let metadata = &one["metadata"];
            one["kind"] == kind && metadata["namespace"] == namespace && metadata["name"] == name
        });
    let Some(printed) = printed else {
        return Err("`breakglass manifests` prints nothing of that name".to_owned());
    };
    let Some(written) = written else {
        return Err(
            "the record does not say what was written, so it cannot be compared with what `breakglass \
             manifests` prints (only creations and replacements say it, under the audit policy of this version)"
                .to_owned(),
        );
    };
    let mut written = written.clone();
    strip(&mut written);
    let gvk = Gvk::of(&printed).ok_or("a manifest names no kind")?;
    let changes = drift::diff(&gvk, &printed, &written).map_err(|refusal| refusal.to_string())?;
    if changes.is_empty() {
        return Ok(());
    }
    let mut places: Vec<_> = changes.iter().map(|change| change.path.to_string()).collect();
    let more = places.len().saturating_sub(NAMED);
    places.truncate(NAMED);
    if more > 0 {
        places.push(format!("{more} more"));
    }
    Err(format!(
        "it is not what `breakglass manifests` prints: {} {}",
        places.join(", "),
        if changes.len() == 1 { "differs" } else { "differ" }
    ))
}

fn strip(written: &mut Value) {
    let Some(metadata) = written.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    metadata.retain(|name, _| !ADDED.contains(&name.as_str()));
    let emptied = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
        .is_some_and(|annotations| annotations.remove(LAST_APPLIED).is_some() && annotations.is_empty());
    if emptied {
        metadata.remove("annotations");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;
    use serde_json::json;

    /// The Role as an API server answered a `kubectl apply` of it.
    fn answered() -> Value {
        json!({"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": {"name": "breakglass-broker", "namespace": "breakglass-grants",
                "uid": "1d7b2f3c-0000-4000-8000-000000000000", "resourceVersion": "231",
                "creationTimestamp": "2026-03-01T10:00:00Z",
                "labels": {"app.kubernetes.io/name": "breakglass"},
                "annotations": {LAST_APPLIED: "{}\n"}},
            "rules": [
                {"verbs": ["create", "get", "list", "watch", "delete"], "apiGroups": [""], "resources": ["serviceaccounts", "secrets"]},
                {"verbs": ["create"], "apiGroups": [""], "resources": ["serviceaccounts/token"]}]})
    }

    fn judge(written: Option<&Value>, name: &str) -> Result<(), String> {
        let of = ("Role", "breakglass-grants", name);
        as_printed(&example(), "production", of, written)
    }

    #[test]
    fn what_is_printed_is_the_installation_and_one_verb_more_is_not() {
        assert_eq!(judge(Some(&answered()), "breakglass-broker"), Ok(()));
        let mut wider = answered();
        wider["rules"][0]["verbs"]
            .as_array_mut()
            .unwrap()
            .push("patch".into());
        let said = judge(Some(&wider), "breakglass-broker").unwrap_err();
        assert!(said.contains("rules differs"), "{said}");
        let mut owned = answered();
        owned["metadata"]["ownerReferences"] = json!([{"name": "x"}]);
        owned["metadata"]["annotations"]["note"] = json!("mine");
        let said = judge(Some(&owned), "breakglass-broker").unwrap_err();
        assert!(
            said.contains("metadata.ownerReferences") && said.contains("metadata.annotations"),
            "{said}"
        );
    }

    #[test]
    fn what_is_not_printed_or_not_recorded_is_no_installation() {
        let said = judge(Some(&answered()), "breakglass-extra").unwrap_err();
        assert!(said.contains("prints nothing of that name"), "{said}");
        let said = judge(None, "breakglass-broker").unwrap_err();
        assert!(said.contains("does not say what was written"), "{said}");
        assert!(as_printed(&example(), "elsewhere", ("Role", "x", "y"), None).is_err());
    }
}
