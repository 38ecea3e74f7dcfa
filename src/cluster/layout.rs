//! Laying out an access: the grant's `ServiceAccount` and its bindings, and nothing beside them.

use super::server::{Result, Server, segment, text};
use super::{Access, ClusterError};
use crate::config::{GRANT_LABEL, GRANTS_NAMESPACE};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";
/// Requests of one kind under way at once.
pub(super) const AT_ONCE: usize = 8;

/// Makes what is not there; what is there must be as it would have been made.
pub(super) async fn lay_out(server: &Server, access: &Access) -> Result<()> {
    make_account(server, access).await?;
    let binding = binding(access);
    futures::stream::iter(binding_paths(access))
        .map(|path| {
            let binding = &binding;
            async move {
                let what = format!("binding {} at {path}", access.account);
                make_or_compare(server, &what, &path, binding, |found| {
                    same_binding(binding, found)
                })
                .await
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    for found in bindings_of(server, &access.account).await? {
        if !(is_ours(&found.object, access) && same_binding(&binding, &found.object).is_ok()) {
            let why = format!("{} gives {} more than was laid out", found.path, access.account);
            return Err(ClusterError::Unsound(why));
        }
    }
    Ok(())
}

/// Makes the account where it is not there.
pub(super) async fn make_account(server: &Server, access: &Access) -> Result<()> {
    let account = account(access);
    let what = format!("ServiceAccount {GRANTS_NAMESPACE}/{}", access.account);
    let path = account_path("");
    make_or_compare(server, &what, &path, &account, |found| {
        same_account(&account, found)
    })
    .await
}

async fn make_or_compare(
    server: &Server,
    what: &str,
    path: &str,
    object: &Value,
    same: impl Fn(&Value) -> std::result::Result<(), String>,
) -> Result<()> {
    if server
        .make(&format!("making the {what}"), path, object)
        .await?
        .is_some()
    {
        return Ok(());
    }
    let path = format!("{path}/{}", segment(text(object, "/metadata/name")));
    let found = server
        .find(&format!("reading the {what}"), &path)
        .await?
        .unwrap_or_default();
    same(&found).map_err(|why| ClusterError::Unsound(format!("the {what} exists and {why}")))
}

fn metadata(access: &Access, name: &str) -> Value {
    json!({"name": name, "labels": {GRANT_LABEL: access.grant}})
}

fn account(access: &Access) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(access, &access.account),
        "automountServiceAccountToken": false,
    })
}

fn binding(access: &Access) -> Value {
    let kind = if access.namespaces.is_empty() {
        "ClusterRoleBinding"
    } else {
        "RoleBinding"
    };
    json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": kind,
        "metadata": metadata(access, &access.account),
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": access.cluster_role},
        "subjects": [{"kind": "ServiceAccount", "name": access.account, "namespace": GRANTS_NAMESPACE}],
    })
}

/// The Secret of a reveal.
pub(super) fn secret(access: &Access, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(access, name),
        "type": crate::config::REVEAL_SECRET_TYPE,
    })
}

/// The path of a grant's `ServiceAccount`; of their collection for an empty name.
pub(super) fn account_path(name: &str) -> String {
    format!(
        "/api/v1/namespaces/{GRANTS_NAMESPACE}/serviceaccounts/{}",
        segment(name)
    )
    .trim_end_matches('/')
    .to_owned()
}

/// The collections an access has a binding in.
pub(super) fn binding_paths(access: &Access) -> Vec<String> {
    if access.namespaces.is_empty() {
        return vec![format!("/apis/{RBAC}/v1/clusterrolebindings")];
    }
    access
        .namespaces
        .iter()
        .map(|namespace| format!("/apis/{RBAC}/v1/namespaces/{}/rolebindings", segment(namespace)))
        .collect()
}

/// A binding and where it is.
pub(super) struct Found {
    pub(super) path: String,
    pub(super) object: Value,
}

/// Every binding in the cluster that names the account, whoever made it.
pub(super) async fn bindings_of(server: &Server, account: &str) -> Result<Vec<Found>> {
    let mut all = vec![];
    for kind in ["rolebindings", "clusterrolebindings"] {
        let list = server
            .list(&format!("listing {kind}"), &format!("/apis/{RBAC}/v1/{kind}"), "")
            .await?;
        for object in list.items.into_iter().filter(|object| names(object, account)) {
            let name = segment(text(&object, "/metadata/name"));
            let namespace = text(&object, "/metadata/namespace");
            let place = if namespace.is_empty() {
                String::new()
            } else {
                format!("namespaces/{}/", segment(namespace))
            };
            all.push(Found {
                path: format!("/apis/{RBAC}/v1/{place}{kind}/{name}"),
                object,
            });
        }
    }
    Ok(all)
}

/// A `ServiceAccount` is also a user by its long name.
fn names(binding: &Value, account: &str) -> bool {
    let user = format!("system:serviceaccount:{GRANTS_NAMESPACE}:{account}");
    binding
        .get("subjects")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|subject| {
            let (kind, name) = (text(subject, "/kind"), text(subject, "/name"));
            (kind == "ServiceAccount" && name == account && text(subject, "/namespace") == GRANTS_NAMESPACE)
                || (kind == "User" && name == user)
        })
}

/// Whether an object carries the grant's label.
pub(super) fn is_ours(object: &Value, access: &Access) -> bool {
    let label = object
        .get("metadata")
        .and_then(|m| m.get("labels"))
        .and_then(|l| l.get(GRANT_LABEL));
    label.and_then(Value::as_str) == Some(&access.grant)
}

type Same = std::result::Result<(), String>;

/// The label and the life of an object we would have made.
fn same_metadata(wanted: &Value, found: &Value) -> Same {
    let label = |object: &Value| object["metadata"]["labels"][GRANT_LABEL].clone();
    if label(wanted) != label(found) {
        return Err("does not belong to this grant".into());
    }
    if !text(found, "/metadata/deletionTimestamp").is_empty() {
        return Err("is being deleted".into());
    }
    Ok(())
}

fn same_account(wanted: &Value, found: &Value) -> Same {
    same_metadata(wanted, found)?;
    if found["automountServiceAccountToken"] != json!(false) {
        return Err("would give its token to Pods".into());
    }
    // A token Secret linked to it would outlive every reveal.
    let linked = found
        .get("secrets")
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty());
    if linked {
        Err("has Secrets of its own".into())
    } else {
        Ok(())
    }
}

fn same_binding(wanted: &Value, found: &Value) -> Same {
    same_metadata(wanted, found)?;
    if wanted["roleRef"] != found["roleRef"] {
        let role = text(found, "/roleRef/name");
        return Err(format!("binds {} {role}", text(found, "/roleRef/kind")));
    }
    let subjects = |object: &Value| -> Vec<[String; 3]> {
        let all = object
            .get("subjects")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        all.map(|s| ["/kind", "/namespace", "/name"].map(|part| text(s, part).to_owned()))
            .collect()
    };
    if subjects(wanted) == subjects(found) {
        Ok(())
    } else {
        Err("names other subjects".into())
    }
}

/// Whether a Secret found under a reveal's name is the one that would have been made.
pub(super) fn same_secret(wanted: &Value, found: &Value) -> Same {
    same_metadata(wanted, found)?;
    if wanted["type"] == found["type"] {
        Ok(())
    } else {
        Err("is of another type".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access {
            account: "breakglass-repair-0123456789ab".into(),
            grant: "g-1".into(),
            cluster_role: "breakglass-workloads".into(),
            namespaces: vec!["shop".into()],
        }
    }

    #[test]
    fn a_binding_that_was_changed_is_told_apart() {
        let wanted = binding(&access());
        assert_eq!(same_binding(&wanted, &wanted), Ok(()));
        for (pointer, value) in [
            ("/roleRef/name", json!("cluster-admin")),
            ("/roleRef/kind", json!("Role")),
            ("/subjects/0/name", json!("breakglass-other")),
            ("/subjects/0/namespace", json!("shop")),
            ("/metadata/labels", json!({GRANT_LABEL: "g-2"})),
        ] {
            let mut found = wanted.clone();
            *found.pointer_mut(pointer).unwrap() = value;
            assert!(same_binding(&wanted, &found).is_err(), "{pointer}");
        }
        let mut more = wanted.clone();
        more["subjects"]
            .as_array_mut()
            .unwrap()
            .push(json!({"kind": "User", "name": "x"}));
        assert!(same_binding(&wanted, &more).is_err());
    }

    #[test]
    fn an_account_is_found_by_its_user_name_too() {
        let account = access().account;
        let by = |subject: Value| names(&json!({"subjects": [subject]}), &account);
        assert!(by(
            json!({"kind": "ServiceAccount", "name": account, "namespace": GRANTS_NAMESPACE})
        ));
        assert!(by(
            json!({"kind": "User", "name": format!("system:serviceaccount:{GRANTS_NAMESPACE}:{account}")})
        ));
        assert!(!by(
            json!({"kind": "ServiceAccount", "name": account, "namespace": "shop"})
        ));
        assert!(!names(&json!({}), &account));
    }
}
