//! What gives access: every account and Secret of the grants' namespace, and every binding anywhere that names
//! one of its subjects, whoever made it. A list and watch, so that nothing stays unseen over a restart.

use super::contract::{Sighted, Sighting};
use super::discovery::Resource;
use super::server::{Result, Server, text};
use super::watch::{Scope, follow_all};
use crate::config::{GRANT_LABEL, GRANTS_GROUP, GRANTS_NAMESPACE};
use crate::domain::object::ObjectVersion;
use serde_json::Value;
use tokio::sync::mpsc;

const RBAC: &str = "rbac.authorization.k8s.io";

/// Sends what is there and then each change, until the receiver is gone. The system's own default account is
/// left out: it has no rights.
pub(super) async fn guard(server: &Server, sightings: &mpsc::Sender<Sighting>) -> Result<()> {
    let own = format!("/api/v1/namespaces/{GRANTS_NAMESPACE}");
    let everywhere = format!("/apis/{RBAC}/v1");
    let scopes = [
        Scope::whole(
            core("serviceaccounts", "ServiceAccount"),
            format!("{own}/serviceaccounts"),
        ),
        Scope::whole(core("secrets", "Secret"), format!("{own}/secrets")),
        Scope::whole(
            rbac("rolebindings", "RoleBinding"),
            format!("{everywhere}/rolebindings"),
        ),
        Scope::whole(
            rbac("clusterrolebindings", "ClusterRoleBinding"),
            format!("{everywhere}/clusterrolebindings"),
        ),
    ];
    let (versions, mut seen) = mpsc::channel(64);
    let pass_on = async {
        while let Some(version) = seen.recv().await {
            if let Some(sighting) = sighting(&version)
                && sightings.send(sighting).await.is_err()
            {
                break;
            }
        }
        Ok(())
    };
    tokio::select! { done = follow_all(server, &scopes, &versions) => done, done = pass_on => done }
}

fn core(plural: &str, kind: &str) -> Resource {
    Resource {
        group: String::new(),
        version: "v1".to_owned(),
        plural: plural.to_owned(),
        kind: kind.to_owned(),
        namespaced: true,
        watchable: true,
    }
}

fn rbac(plural: &str, kind: &str) -> Resource {
    Resource {
        group: RBAC.to_owned(),
        namespaced: plural == "rolebindings",
        ..core(plural, kind)
    }
}

/// `None` for what is gone and for what gives nobody of ours anything.
fn sighting(version: &ObjectVersion) -> Option<Sighting> {
    let object = version.object.as_ref()?;
    let what = match version.key.resource.as_str() {
        "serviceaccounts" if version.key.name == "default" => return None,
        "serviceaccounts" => Sighted::Account,
        "secrets" => Sighted::Secret {
            of_a_reveal: text(object, "/type") == crate::config::REVEAL_SECRET_TYPE,
        },
        _ => {
            let (ours, others) = subjects(object);
            if ours.is_empty() {
                return None;
            }
            Sighted::Binding {
                accounts: ours,
                others,
                role: format!(
                    "{} {}",
                    text(object, "/roleRef/kind"),
                    text(object, "/roleRef/name")
                ),
            }
        }
    };
    Some(Sighting {
        what,
        kind: text(object, "/kind").to_owned(),
        key: version.key.clone(),
        uid: text(object, "/metadata/uid").to_owned(),
        grant: object["metadata"]["labels"][GRANT_LABEL]
            .as_str()
            .map(str::to_owned),
    })
}

/// The accounts of ours that a binding names, `*` for all of them at once; and whether it names anybody else.
fn subjects(binding: &Value) -> (Vec<String>, bool) {
    let long = format!("system:serviceaccount:{GRANTS_NAMESPACE}:");
    let (mut ours, mut others) = (vec![], false);
    for subject in binding["subjects"].as_array().into_iter().flatten() {
        let name = text(subject, "/name");
        let own = match text(subject, "/kind") {
            "ServiceAccount" if text(subject, "/namespace") == GRANTS_NAMESPACE => Some(name),
            "User" => name.strip_prefix(&long),
            "Group" if name == GRANTS_GROUP => Some("*"),
            _ => None,
        };
        match own {
            Some(account) => ours.push(account.to_owned()),
            None => others = true,
        }
    }
    (ours, others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::object::ObjectKey;
    use serde_json::json;

    fn binding(subjects: &Value) -> Option<Sighting> {
        sighting(&ObjectVersion {
            key: ObjectKey {
                group: RBAC.into(),
                version: "v1".into(),
                resource: "rolebindings".into(),
                namespace: "payments".into(),
                name: "one".into(),
            },
            resource_version: 7,
            object: Some(
                json!({"kind": "RoleBinding", "metadata": {"uid": "u"}, "subjects": subjects,
                "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}}),
            ),
        })
    }

    #[test]
    fn an_account_is_named_by_account_by_user_and_by_group() {
        for (subject, account) in [
            (
                json!({"kind": "ServiceAccount", "namespace": GRANTS_NAMESPACE, "name": "a"}),
                "a",
            ),
            (
                json!({"kind": "User", "name": "system:serviceaccount:breakglass-grants:a"}),
                "a",
            ),
            (json!({"kind": "Group", "name": GRANTS_GROUP}), "*"),
        ] {
            let seen = binding(&json!([subject, {"kind": "User", "name": "admin"}])).unwrap();
            let Sighted::Binding {
                accounts,
                others,
                role,
            } = seen.what
            else {
                panic!("{seen:?}")
            };
            assert_eq!(
                (accounts.as_slice(), others, role.as_str()),
                ([account.to_owned()].as_slice(), true, "ClusterRole cluster-admin")
            );
        }
    }

    #[test]
    fn what_names_nobody_of_ours_is_not_ours_to_judge() {
        assert_eq!(
            binding(&json!([{"kind": "ServiceAccount", "namespace": "payments", "name": "a"}])),
            None
        );
        assert_eq!(
            binding(&json!([{"kind": "User", "name": "system:serviceaccount:breakglass-grants-x:a"}])),
            None
        );
        assert_eq!(binding(&Value::Null), None);
    }
}
