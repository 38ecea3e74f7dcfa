//! The admission policy that holds sessions: a second wall where RBAC stands already, and the only
//! one around what a Pod may be. Without it a session that may create Pods or Secrets becomes
//! cluster-admin under another account.
//!
//! It cannot guard reads (admission never sees one), impersonation (that is authorization), nor
//! admission policies and webhooks themselves (the API server leaves those out): there RBAC stands
//! alone, which is why no lent role may name them.

use super::{Lent, RESOURCE, SESSION_POLICY, admission_policy, cel};
use crate::config::{GRANTS_GROUP, GRANTS_NAMESPACE, NAME_ID_DIGITS, NAME_PREFIX};
use serde_json::Value;

/// Capabilities that containers may add: those of the Baseline Pod Security Standard. `SYS_ADMIN`
/// leads out of a container as surely as `privileged` does.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

#[expect(clippy::too_many_lines, reason = "a table of rules, read from top to bottom")]
pub(super) fn policy(lent: &Lent<'_>) -> Value {
    let prefix = format!("system:serviceaccount:{GRANTS_NAMESPACE}:{NAME_PREFIX}");
    let accounts: Vec<String> = lent
        .accounts
        .iter()
        .map(|(profile, names)| format!("'{profile}': {}", cel(names.iter().map(String::as_str))))
        .collect();
    let variables = [
        ("resource", RESOURCE.to_owned()),
        (
            "inNamespace",
            "has(request.namespace) ? request.namespace : ''".to_owned(),
        ),
        (
            "written",
            "request.operation in ['CREATE', 'UPDATE'] && object != null".to_owned(),
        ),
        // The profile stands in the user name, between the prefix and digits of a fixed length.
        (
            "profile",
            format!(
                "request.userInfo.username.matches('^{prefix}.+-[0-9a-f]{{{NAME_ID_DIGITS}}}$') ? \
                 request.userInfo.username.substring({}, request.userInfo.username.size() - {}) : ''",
                prefix.len(),
                NAME_ID_DIGITS + 1,
            ),
        ),
        (
            "accountsOf",
            format!(
                "{{{}}}",
                if accounts.is_empty() {
                    "'': []".to_owned()
                } else {
                    accounts.join(", ")
                }
            ),
        ),
        (
            "accounts",
            "variables.profile in variables.accountsOf ? variables.accountsOf[variables.profile] : []"
                .to_owned(),
        ),
        ("pods", PODS.to_owned()),
    ];
    let every_pod = |test: &str| format!("variables.pods.all(pod, {test})");
    let every_container = |test: &str| {
        format!(
            "variables.pods.all(pod, [pod.?containers.orValue([]), pod.?initContainers.orValue([]), \
             pod.?ephemeralContainers.orValue([])].all(some, some.all(container, {test})))"
        )
    };
    let rules = [
        (
            "!(request.resource.group in ['rbac.authorization.k8s.io', 'certificates.k8s.io', \
             'apiregistration.k8s.io', 'admissionregistration.k8s.io'])"
                .to_owned(),
            "a break-glass session may not change rights, certificates or what the API server trusts",
        ),
        (
            "!(variables.resource in ['/serviceaccounts/token', '/nodes/proxy', '/pods/binding', '/bindings'])"
                .to_owned(),
            "a break-glass session may not make tokens, reach through a node's proxy or place Pods itself",
        ),
        (
            format!(
                "!(variables.inNamespace in {0}) && !(variables.resource == '/namespaces' && request.name in {0})",
                cel(lent.protected.iter().copied()),
            ),
            "this namespace is protected from break-glass sessions",
        ),
        (
            "!(variables.inNamespace == 'default' && variables.resource in ['/endpoints', \
             'discovery.k8s.io/endpointslices'])"
                .to_owned(),
            "the API server's own address stands here; a break-glass session may not change it",
        ),
        (
            "!(variables.written && variables.resource == '/secrets' && has(object.type) && \
             object.type == 'kubernetes.io/service-account-token')"
                .to_owned(),
            "a Secret of this type is a token that never expires; a break-glass session may not make one",
        ),
        (
            "!(variables.written && variables.resource == '/persistentvolumes' && \
             (has(object.spec.hostPath) || has(object.spec.local)))"
                .to_owned(),
            "a break-glass session may not make a volume of a node's own files",
        ),
        (
            every_pod(
                "[pod.?serviceAccountName.orValue(''), pod.?serviceAccount.orValue('')].all(name, \
                 (name == '' ? 'default' : name) in variables.accounts || (name == '' && \
                 (pod.?serviceAccountName.orValue('') != '' || pod.?serviceAccount.orValue('') != '')))",
            ),
            "this profile's Pods may not run as that ServiceAccount",
        ),
        (
            every_pod("!pod.?hostNetwork.orValue(false) && !pod.?hostPID.orValue(false) && !pod.?hostIPC.orValue(false)"),
            "a break-glass session may not make Pods that share the node's namespaces",
        ),
        (
            every_pod("pod.?volumes.orValue([]).all(volume, !has(volume.hostPath))"),
            "a break-glass session may not make Pods that see a node's own files",
        ),
        (
            // A running Pod has its node's name from the scheduler, and it cannot be changed.
            "(variables.resource.startsWith('/pods') && request.operation == 'UPDATE') || variables.pods.all(pod, \
             pod.?nodeName.orValue('') == '')"
                .to_owned(),
            "a break-glass session may not choose a Pod's node past the scheduler",
        ),
        (
            every_container(
                "!container.?securityContext.?privileged.orValue(false) && \
                 !container.?securityContext.?windowsOptions.?hostProcess.orValue(false)",
            ) + " && " + &every_pod("!pod.?securityContext.?windowsOptions.?hostProcess.orValue(false)"),
            "a break-glass session may not make privileged containers",
        ),
        (
            every_container(&format!(
                "container.?securityContext.?capabilities.?add.orValue([]).all(one, one in {})",
                cel(CAPABILITIES)
            )),
            "a break-glass session may not give containers capabilities beyond the Baseline standard",
        ),
    ];
    let who = format!("has(request.userInfo.groups) && '{GRANTS_GROUP}' in request.userInfo.groups");
    admission_policy(SESSION_POLICY, &who, &variables, &rules)
}

/// Every Pod specification in what is written: the Pod's own, or the template of whatever makes
/// Pods, other controllers' resources included. Sub-resources other than these carry no Pod.
const PODS: &str = "!variables.written ? [] : \
     variables.resource in ['/pods', '/pods/ephemeralcontainers', '/pods/resize'] ? [object.spec] : \
     variables.resource == '/podtemplates' ? [object.template.spec] : \
     variables.resource == 'batch/cronjobs' ? [object.spec.jobTemplate.spec.template.spec] : \
     has(object.spec) && type(object.spec) == map && has(object.spec.template) && \
     type(object.spec.template) == map && has(object.spec.template.spec) && \
     type(object.spec.template.spec) == map ? [object.spec.template.spec] : []";
