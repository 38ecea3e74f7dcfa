//! The broker's own rights, and the admission policy that holds it to writing nothing but what
//! belongs to its grants.

use super::{BROKER_POLICY, Lent, RESOURCE, SESSION_POLICY, admission_policy, cel, named, with};
use crate::config::{
    BROKER_ACCOUNT, BROKER_NAMESPACE, BROKER_USER, GRANT_LABEL, GRANTS_NAMESPACE, NAME_PREFIX,
    REVEAL_SECRET_TYPE, Scope,
};
use serde_json::{Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn rights(lent: &Lent<'_>) -> Vec<(&'static str, Value)> {
    vec![
        (
            "The broker's own rights in the whole cluster.",
            cluster_role(lent),
        ),
        ("", bound("ClusterRoleBinding", "ClusterRole", None)),
        (
            "The broker's own rights over its grants' ServiceAccounts and Secrets.",
            grants_role(),
        ),
        ("", bound("RoleBinding", "Role", Some(GRANTS_NAMESPACE))),
        (
            "The addresses of the API servers, for the canaries.",
            addresses_role(),
        ),
        ("", bound("RoleBinding", "Role", Some("default"))),
    ]
}

fn cluster_role(lent: &Lent<'_>) -> Value {
    let lent_roles: Vec<&str> = lent.roles.keys().copied().collect();
    let mut rules = vec![
        json!({"apiGroups": [RBAC], "resources": ["rolebindings", "clusterrolebindings"],
               "verbs": ["create", "delete", "get", "list", "watch"]}),
        json!({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]}),
        json!({"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}),
        json!({"apiGroups": ["authorization.k8s.io"], "verbs": ["create"],
               "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]}),
        // So that a missing wall is seen before access is lent.
        json!({"apiGroups": ["admissionregistration.k8s.io"], "verbs": ["get"],
               "resources": ["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
               "resourceNames": [BROKER_POLICY, SESSION_POLICY]}),
        // Whether a number of replicas is an autoscaler's, and so must not be brought to git.
        json!({"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]}),
        json!({"apiGroups": ["keda.sh"], "resources": ["scaledobjects"], "verbs": ["list"]}),
        json!({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}),
    ];
    // An empty list of names would mean every ClusterRole there is.
    if !lent_roles.is_empty() {
        rules.insert(
            1,
            json!({"apiGroups": [RBAC], "resources": ["clusterroles"], "verbs": ["bind", "get"], "resourceNames": lent_roles}),
        );
    }
    for (group, resources) in lent.watched() {
        rules.push(json!({"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]}));
    }
    with(
        named("rbac.authorization.k8s.io/v1", "ClusterRole", BROKER_POLICY, None),
        json!({"rules": rules}),
    )
}

fn grants_role() -> Value {
    with(
        named(
            "rbac.authorization.k8s.io/v1",
            "Role",
            BROKER_POLICY,
            Some(GRANTS_NAMESPACE),
        ),
        json!({"rules": [
            {"apiGroups": [""], "resources": ["serviceaccounts", "secrets"],
             "verbs": ["create", "get", "list", "watch", "delete"]},
            {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
        ]}),
    )
}

fn addresses_role() -> Value {
    with(
        named(
            "rbac.authorization.k8s.io/v1",
            "Role",
            BROKER_POLICY,
            Some("default"),
        ),
        json!({"rules": [
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
        ]}),
    )
}

fn bound(kind: &str, role: &str, namespace: Option<&str>) -> Value {
    with(
        named("rbac.authorization.k8s.io/v1", kind, BROKER_POLICY, namespace),
        json!({
            "roleRef": {"apiGroup": RBAC, "kind": role, "name": BROKER_POLICY},
            "subjects": [{"kind": "ServiceAccount", "name": BROKER_ACCOUNT, "namespace": BROKER_NAMESPACE}],
        }),
    )
}

pub(super) fn policy(lent: &Lent<'_>) -> Value {
    let bindings = format!("['{RBAC}/rolebindings', '{RBAC}/clusterrolebindings']");
    let variables = [
        ("resource", RESOURCE.to_owned()),
        // A deletion carries what is deleted in oldObject; whoever looked at object alone would let
        // a thief delete everybody's bindings.
        (
            "it",
            "request.operation == 'DELETE' ? oldObject : object".to_owned(),
        ),
        ("isBinding", format!("variables.resource in {bindings}")),
        (
            "isObject",
            "variables.resource in ['/secrets', '/serviceaccounts']".to_owned(),
        ),
        (
            "isToken",
            "variables.resource == '/serviceaccounts/token'".to_owned(),
        ),
    ];
    let ours = format!(
        "variables.it.metadata.name.startsWith('{NAME_PREFIX}') && has(variables.it.metadata.labels) && \
         '{GRANT_LABEL}' in variables.it.metadata.labels"
    );
    let rules = [
        (
            "variables.isBinding || variables.isObject || variables.isToken || variables.resource in \
             ['authentication.k8s.io/tokenreviews', 'authentication.k8s.io/selfsubjectreviews', \
             'authorization.k8s.io/selfsubjectaccessreviews', 'authorization.k8s.io/selfsubjectrulesreviews']"
                .to_owned(),
            "the broker writes bindings, and ServiceAccounts and Secrets of its grants, and nothing else",
        ),
        (
            "!(variables.isBinding || variables.isObject) || request.operation in ['CREATE', 'DELETE']"
                .to_owned(),
            "the broker makes and deletes, and changes nothing",
        ),
        (
            format!("!(variables.isBinding || variables.isObject) || ({ours})"),
            "the broker touches only what has its name prefix and its label",
        ),
        (
            format!(
                "!(variables.isObject || variables.isToken) || request.namespace == '{GRANTS_NAMESPACE}'"
            ),
            "the broker's ServiceAccounts and Secrets live in one namespace",
        ),
        (
            format!(
                "!variables.isBinding || (has(variables.it.subjects) && variables.it.subjects.size() > 0 && \
                 variables.it.subjects.all(s, s.kind == 'ServiceAccount' && has(s.namespace) && \
                 s.namespace == '{GRANTS_NAMESPACE}' && s.name.startsWith('{NAME_PREFIX}')))"
            ),
            "the broker binds, and unbinds, its grants' ServiceAccounts and nobody else",
        ),
        (
            // On creation alone: a binding to a role that has since left the configuration must
            // still be possible to delete.
            format!(
                "!(variables.isBinding && request.operation == 'CREATE') || (variables.it.roleRef.kind == 'ClusterRole' \
                 && variables.it.roleRef.name in (request.resource.resource == 'clusterrolebindings' ? {} : {}))",
                cel(lent.role_names(Scope::Cluster)),
                cel(lent.role_names(Scope::Namespaces)),
            ),
            "the broker binds the profiles' ClusterRoles, in the whole cluster only those made for it",
        ),
        (
            format!(
                "!(request.resource.resource == 'rolebindings' && request.operation == 'CREATE') || \
                 !(request.namespace in {})",
                cel(lent.protected.iter().copied()),
            ),
            "the broker binds nothing in a protected namespace",
        ),
        (
            // A Secret of type kubernetes.io/service-account-token would be a token that never expires.
            format!(
                "variables.resource != '/secrets' || (has(variables.it.type) && variables.it.type == '{REVEAL_SECRET_TYPE}')"
            ),
            "the broker's Secrets are of its own type",
        ),
        (
            format!(
                "!variables.isToken || (request.name.startsWith('{NAME_PREFIX}') && \
                 object.spec.?boundObjectRef.?kind.orValue('') == 'Secret' && \
                 object.spec.?boundObjectRef.?name.orValue('').startsWith('{NAME_PREFIX}') && \
                 (!has(object.spec.expirationSeconds) || object.spec.expirationSeconds <= {}))",
                lent.longest.max(600) + 3600,
            ),
            "the broker's tokens are bound to a Secret of a grant and live no longer than a grant may",
        ),
    ];
    admission_policy(
        BROKER_POLICY,
        &format!("request.userInfo.username == '{BROKER_USER}'"),
        &variables,
        &rules,
    )
}
