//! What is asked of an API server to see that its audit policy keeps what is promised: requests by somebody without
//! rights, which are refused and audited all the same, one for each kind that the printed policy speaks of.

use super::audit_policy::{Asked, RULES, deciding, lines};
use crate::audit::Level;
use crate::config::{ClusterRole, Config, GRANTS_NAMESPACE, PROBE_PARAMETER, Scope};
use http::Method;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const RBAC: &str = "rbac.authorization.k8s.io";
/// No object is ever called so.
const NOBODY: &str = "breakglass-audit-probe";
/// In so many namespaces of a profile one request is tried.
const NAMESPACES: usize = 200;

/// One kind of request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AuditProbe {
    /// Asked by an account like those of grants; otherwise by the broker itself.
    pub of_grants: bool,
    /// The API group, empty for the core group.
    pub group: String,
    /// The resource with its sub-resource: `pods/exec`.
    pub resource: String,
    /// The namespace; empty for what is in none.
    pub namespace: String,
    /// The verb.
    pub verb: String,
}

/// What came back of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// The level of the event of its being received.
    pub early: Option<Level>,
    /// The level of the event of its end.
    pub end: Option<Level>,
}

/// A kind of request that is not kept as promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// Which.
    pub probe: AuditProbe,
    /// What is promised.
    pub promised: Level,
    /// What came; nothing when no event did.
    pub got: Option<Level>,
}

impl AuditProbe {
    fn new(of_grants: bool, verb: &str, (group, resource): (&str, &str), namespace: &str) -> Self {
        Self {
            of_grants,
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            verb: verb.to_owned(),
        }
    }

    fn rule(&self) -> usize {
        deciding(&Asked {
            of_grants: self.of_grants,
            verb: &self.verb,
            group: &self.group,
            resource: &self.resource,
            namespace: &self.namespace,
        })
    }

    /// The request: it names what is not there and asks for nothing to be done, whatever its sender may.
    #[must_use]
    pub fn request(&self, nonce: &str) -> (Method, String) {
        let (plural, sub) = match self.resource.split_once('/') {
            Some((plural, sub)) => (plural, Some(sub)),
            None => (self.resource.as_str(), None),
        };
        let base = if self.group.is_empty() {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{}/v1", self.group)
        };
        let mut path = match self.namespace.as_str() {
            "" => format!("{base}/{plural}"),
            namespace => format!("{base}/namespaces/{namespace}/{plural}"),
        };
        let of_collection = matches!(
            self.verb.as_str(),
            "list" | "watch" | "create" | "deletecollection"
        );
        if let Some(sub) = sub {
            path = format!("{path}/{NOBODY}/{sub}");
        } else if !of_collection {
            path = format!("{path}/{NOBODY}");
        }
        let method = match self.verb.as_str() {
            "create" => Method::POST,
            "update" => Method::PUT,
            "patch" => Method::PATCH,
            "delete" | "deletecollection" => Method::DELETE,
            _ => Method::GET,
        };
        let watch = if self.verb == "watch" { "&watch=true" } else { "" };
        (
            method,
            format!("{path}?dryRun=All&{PROBE_PARAMETER}={nonce}{watch}"),
        )
    }

    /// Whether all that is promised came back.
    #[must_use]
    pub fn is_whole(&self, heard: &Heard) -> bool {
        heard.end.is_some() && (heard.early.is_some() || !RULES[self.rule()].early)
    }

    /// What is wrong with what came back.
    #[must_use]
    pub fn judge(&self, heard: &Heard) -> Option<Wrong> {
        let rule = &RULES[self.rule()];
        let wrong = |got: Option<Level>| {
            Some(Wrong {
                probe: self.clone(),
                promised: rule.level,
                got,
            })
        };
        let fits = |got: Level| {
            if rule.exact {
                got == rule.level
            } else {
                got >= rule.level
            }
        };
        match (heard.end, heard.early) {
            (end, _) if !end.is_some_and(fits) => wrong(end),
            (end, None) if rule.early => wrong(end),
            _ => None,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        let group = if self.group.is_empty() { "" } else { "." };
        let place = match self.namespace.as_str() {
            "" => String::new(),
            namespace => format!(" in {namespace}"),
        };
        let by = if self.of_grants {
            "an access"
        } else {
            "anybody else"
        };
        format!(
            "{} of {}{group}{}{place} by {by}",
            self.verb, self.resource, self.group
        )
    }
}

impl Wrong {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        let (what, promised) = (self.probe.words(), self.promised);
        match self.got {
            None => format!("{what} is not recorded, and {promised:?} is promised"),
            Some(got) if got > promised => {
                format!(
                    "{what} is recorded at {got:?}, which sends what must stay out, and {promised:?} is promised"
                )
            }
            Some(got) if got < promised => {
                format!("{what} is recorded at {got:?}, and {promised:?} is promised")
            }
            Some(_) => format!("{what} is recorded at its end alone, and is to be when it is received too"),
        }
    }

    /// Whether something that this role lends is recorded otherwise than promised. In whatever namespace that was
    /// seen: the rule that does it may name none.
    #[must_use]
    pub fn concerns(&self, role: &ClusterRole) -> bool {
        let probe = &self.probe;
        let asked = (probe.group.as_str(), probe.resource.as_str());
        probe.of_grants
            && role
                .rules
                .iter()
                .any(|rule| rule.verbs.contains(&probe.verb) && rule.pairs().any(|pair| pair == asked))
    }
}

/// The lines that bring about what is promised, to be put before all other rules of the policy.
#[must_use]
pub fn lines_for(wrong: &[Wrong]) -> String {
    let last = wrong.iter().map(|wrong| wrong.probe.rule()).max();
    last.map(lines).unwrap_or_default()
}

/// Every kind of request that the profiles lend on a cluster, and what else the policy speaks of. `there`: the
/// cluster's namespaces.
#[must_use]
pub fn audit_probes(config: &Config, cluster: &str, there: &[String]) -> Vec<AuditProbe> {
    let (mut all, mut tried) = (BTreeSet::new(), BTreeSet::new());
    let Some(settings) = config.clusters.get(cluster) else {
        return vec![];
    };
    for profile in config.profiles_on(cluster) {
        let Some(lends) = config.cluster_role(&profile.cluster_role) else {
            continue;
        };
        let mut namespaces: Vec<&str> = there
            .iter()
            .map(String::as_str)
            .filter(|name| profile.allows_namespace(name) && !settings.protects(name))
            .collect();
        if lends.scope == Scope::Cluster {
            namespaces = vec![""];
        }
        let mut namespaces = namespaces.into_iter();
        let Some(first) = namespaces.next() else { continue };
        let lent: BTreeSet<AuditProbe> = lends
            .rules
            .iter()
            .flat_map(|rule| {
                rule.pairs()
                    .flat_map(move |pair| rule.verbs.iter().map(move |verb| (verb, pair)))
            })
            .filter(|(verb, (_, resource))| is_asked(verb, resource))
            .map(|(verb, pair)| AuditProbe::new(true, verb, pair, first))
            .collect();
        // A rule of the policy may name namespaces: in each the one that is promised most is tried.
        let most = lent.iter().max_by_key(|probe| {
            let rule = &RULES[probe.rule()];
            (rule.level, rule.early)
        });
        if let Some(most) = most {
            all.insert(most.clone());
            all.extend(namespaces.take(NAMESPACES).map(|namespace| AuditProbe {
                namespace: namespace.to_owned(),
                ..most.clone()
            }));
        }
        // The same right of another profile is the same kind of request.
        for probe in lent {
            if tried.insert((probe.group.clone(), probe.resource.clone(), probe.verb.clone())) {
                all.insert(probe);
            }
        }
    }
    for (of_grants, verb, pair, namespace) in [
        (true, "get", ("", "secrets"), "default"),
        (true, "create", ("", "serviceaccounts/token"), "default"),
        (true, "create", ("authentication.k8s.io", "tokenreviews"), ""),
        (true, "list", ("", "pods"), "default"),
        (false, "get", ("", "secrets"), "default"),
        (false, "update", ("", "configmaps"), "default"),
        (false, "create", ("", "serviceaccounts/token"), "default"),
        (false, "create", (RBAC, "roles"), GRANTS_NAMESPACE),
        (false, "update", (RBAC, "roles"), GRANTS_NAMESPACE),
        (false, "update", (RBAC, "rolebindings"), GRANTS_NAMESPACE),
        (false, "patch", ("apps", "deployments"), "default"),
    ] {
        all.insert(AuditProbe::new(of_grants, verb, pair, namespace));
    }
    all.into_iter().collect()
}

/// Verbs that a request can have; others stand in roles alone. A sub-resource is one object's.
fn is_asked(verb: &str, resource: &str) -> bool {
    match verb {
        "get" | "create" | "update" | "patch" | "delete" => true,
        "list" | "watch" | "deletecollection" => !resource.contains('/'),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
