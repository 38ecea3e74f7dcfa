//! The audit policy as rules: printed for the API servers, and asked what it promises of a request, so that what is
//! probed is what is printed.

use crate::audit::Level;
use crate::config::{GRANTS_GROUP, GRANTS_NAMESPACE};
use std::fmt::Write;

/// One rule. Whatever is left empty matches everything.
pub(super) struct AuditRule {
    comment: &'static [&'static str],
    pub(super) level: Level,
    /// Also sent when the request is received: it arrives even where the end's event cannot be written.
    pub(super) early: bool,
    /// More than this is wrong too: it would send secrets, or bodies large enough to lose other events.
    pub(super) exact: bool,
    of_grants: bool,
    namespaces: &'static [&'static str],
    verbs: &'static [&'static str],
    resources: &'static [(&'static str, &'static [&'static str])],
    urls: &'static [&'static str],
}

/// Matches everything, at the lowest level that says who did what.
const EVERYTHING: AuditRule = AuditRule {
    comment: &[],
    level: Level::Metadata,
    early: false,
    exact: false,
    of_grants: false,
    namespaces: &[],
    verbs: &[],
    resources: &[],
    urls: &[],
};

/// The order is their meaning: the first that matches wins.
pub(super) const RULES: &[AuditRule] = &[
    AuditRule {
        comment: &["First, since the body of a token request holds the token."],
        exact: true,
        resources: &[
            ("", &["secrets", "configmaps", "serviceaccounts/token"]),
            ("authentication.k8s.io", &["tokenreviews"]),
        ],
        ..EVERYTHING
    },
    AuditRule {
        comment: &["Bodies of lists are large enough to make the webhook lose other events."],
        exact: true,
        of_grants: true,
        verbs: &["list", "watch"],
        ..EVERYTHING
    },
    AuditRule {
        comment: &[
            "The event of a patch whose body is no JSON cannot be sent at its end: that it came is known by this.",
        ],
        level: Level::RequestResponse,
        early: true,
        of_grants: true,
        verbs: &["patch"],
        ..EVERYTHING
    },
    AuditRule {
        level: Level::RequestResponse,
        of_grants: true,
        ..EVERYTHING
    },
    AuditRule {
        comment: &[
            "By its body, what is printed here is told from what somebody else writes there. Not patches: where",
            "bodies are kept, the event of one that is no JSON cannot be sent.",
        ],
        level: Level::RequestResponse,
        namespaces: &[GRANTS_NAMESPACE],
        verbs: &["create", "update"],
        resources: &[("rbac.authorization.k8s.io", &["roles", "rolebindings"])],
        ..EVERYTHING
    },
    AuditRule {
        level: Level::None,
        urls: &["/healthz*", "/livez*", "/readyz*", "/metrics"],
        ..EVERYTHING
    },
    EVERYTHING,
];

/// What a request is to the rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) of_grants: bool,
    pub(super) verb: &'a str,
    pub(super) group: &'a str,
    /// With its sub-resource: `pods/exec`.
    pub(super) resource: &'a str,
    pub(super) namespace: &'a str,
}

impl AuditRule {
    /// Whether it matches a request for a resource, as the API server decides it (apiserver `pkg/audit/policy`).
    fn matches(&self, asked: &Asked<'_>) -> bool {
        let is_in = |list: &[&str], item: &str| list.is_empty() || list.contains(&item);
        let of_resources = || {
            self.resources.is_empty()
                || self
                    .resources
                    .iter()
                    .any(|(group, names)| *group == asked.group && is_in(names, asked.resource))
        };
        self.urls.is_empty()
            && (!self.of_grants || asked.of_grants)
            && is_in(self.verbs, asked.verb)
            && is_in(self.namespaces, asked.namespace)
            && of_resources()
    }

    fn print(&self, text: &mut String) {
        let list = |words: &[&str]| {
            let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
            format!("[{}]", quoted.join(", "))
        };
        for line in self.comment {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "- level: {:?}", self.level);
        if !self.early && self.level != Level::None {
            text.push_str("  omitStages: [RequestReceived]\n");
        }
        if self.of_grants {
            let _ = writeln!(text, "  userGroups: [{GRANTS_GROUP:?}]");
        }
        for (name, words) in [
            ("namespaces", self.namespaces),
            ("verbs", self.verbs),
            ("nonResourceURLs", self.urls),
        ] {
            if !words.is_empty() {
                let _ = writeln!(text, "  {name}: {}", list(words));
            }
        }
        for (at, (group, names)) in self.resources.iter().enumerate() {
            if at == 0 {
                text.push_str("  resources:\n");
            }
            let _ = writeln!(text, "  - {{group: {group:?}, resources: {}}}", list(names));
        }
    }
}

/// The rule that decides on a request. The last one matches whatever the others left.
pub(super) fn deciding(asked: &Asked<'_>) -> usize {
    RULES
        .iter()
        .position(|rule| rule.matches(asked))
        .unwrap_or(RULES.len() - 1)
}

/// The first rules as YAML, that of `last` among them. Put before all others of a policy they bring about what they
/// promise, since the first that matches wins, and change nothing that a later one of ours decides.
pub(super) fn lines(last: usize) -> String {
    let mut text = String::new();
    for rule in &RULES[..=last.min(RULES.len() - 1)] {
        rule.print(&mut text);
    }
    text
}

/// The audit policy to start every API server with (`--audit-policy-file`).
#[must_use]
pub fn audit_policy() -> String {
    format!(
        "# The first rule that matches wins: keep the order. Start the API server also with\n\
         #   --audit-webhook-config-file=FILE --audit-webhook-batch-max-wait=1s\n\
         #   --audit-webhook-truncate-enabled --audit-webhook-truncate-max-event-size=8388608\n\
         # Without the last two, one patch whose body is no JSON makes the API server drop the whole batch of\n\
         # events it is in.\n\
         apiVersion: audit.k8s.io/v1\n\
         kind: Policy\n\
         omitManagedFields: true\n\
         # RequestReceived is left out: half the traffic, and nothing is lost (only blocking-strict needs it),\n\
         # but for a patch of a session. It is left out rule by rule: left out here, it would be for that patch too.\n\
         rules:\n{}",
        lines(RULES.len())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rules(text: &str) -> Vec<Value> {
        let parsed: Value = serde_saphyr::from_str(text).unwrap();
        parsed
            .as_array()
            .unwrap_or_else(|| parsed["rules"].as_array().unwrap())
            .clone()
    }

    #[test]
    fn it_reads_as_yaml_and_keeps_tokens_out_first() {
        let rules = rules(&audit_policy());
        assert_eq!(rules.len(), RULES.len());
        assert_eq!(rules[0]["level"], "Metadata");
        let named = &rules[0]["resources"];
        assert_eq!(
            named[0],
            json!({"group": "", "resources": ["secrets", "configmaps", "serviceaccounts/token"]})
        );
        assert_eq!(named[1]["group"], "authentication.k8s.io");
        assert_eq!(rules[3]["level"], "RequestResponse");
        assert_eq!(rules[3]["userGroups"][0], GRANTS_GROUP);
        let early: Vec<_> = rules
            .iter()
            .filter(|rule| rule["level"] != "None" && rule["omitStages"] != json!(["RequestReceived"]))
            .collect();
        assert_eq!(
            early.len(),
            1,
            "only a patch of a session is sent when it is received"
        );
        assert_eq!(
            (&early[0]["verbs"], &early[0]["userGroups"][0]),
            (&json!(["patch"]), &json!(GRANTS_GROUP))
        );
        // Where bodies are kept, the event of a patch that is no JSON cannot be sent.
        let of_others = &rules[4];
        assert_eq!(of_others["namespaces"], json!([GRANTS_NAMESPACE]));
        assert_eq!(of_others["verbs"], json!(["create", "update"]));
        assert_eq!(rules[5]["nonResourceURLs"][3], "/metrics");
        assert_eq!(
            rules[6],
            json!({"level": "Metadata", "omitStages": ["RequestReceived"]})
        );
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let of = |of_grants, verb, group, resource, namespace| {
            deciding(&Asked {
                of_grants,
                verb,
                group,
                resource,
                namespace,
            })
        };
        assert_eq!(
            of(true, "list", "", "secrets", "shop"),
            0,
            "whoever asks, whatever for"
        );
        assert_eq!(of(false, "create", "", "serviceaccounts/token", "shop"), 0);
        assert_eq!(of(true, "list", "", "pods", "shop"), 1);
        assert_eq!(of(true, "patch", "apps", "deployments", "shop"), 2);
        assert_eq!(of(true, "get", "", "pods/exec", "shop"), 3);
        assert_eq!(
            of(
                false,
                "update",
                "rbac.authorization.k8s.io",
                "roles",
                GRANTS_NAMESPACE
            ),
            4
        );
        assert_eq!(
            of(false, "update", "rbac.authorization.k8s.io", "roles", "shop"),
            6
        );
        assert_eq!(of(false, "patch", "apps", "deployments", "shop"), 6);
    }

    #[test]
    fn the_lines_are_the_first_rules_of_the_policy() {
        let all = rules(&audit_policy());
        for last in 0..RULES.len() {
            assert_eq!(rules(&lines(last)), all[..=last]);
        }
    }
}
