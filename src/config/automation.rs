//! `clusters.NAME.audit.automation`: who changes a cluster and is no person.

use serde::{Deserialize, Serialize};

/// Who changes this cluster and is no person. What Kubernetes runs itself (its control plane, its nodes, its
/// controllers in `kube-system`) and every ServiceAccount that acts from a Pod need not be named. Whoever else
/// changes something without a grant is taken for a person, and that is a finding: so name what changes the
/// cluster from outside, such as a pipeline, and what the provider of a managed cluster runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Automation {
    /// User names as the API server authenticates them; one that ends with `*` stands for all that begin so
    /// (`eks:*`). No name of a person may begin so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Groups that no person is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// Groups that people are in, or may be: the cluster's own admin key is in the last.
const OF_PEOPLE: [&str; 3] = ["system:authenticated", "system:unauthenticated", "system:masters"];

impl Automation {
    /// Whether nothing is named.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Whether the user of that name and in those groups is named.
    #[must_use]
    pub fn names<'g>(&self, user: &str, mut groups: impl Iterator<Item = &'g str>) -> bool {
        let fits = |named: &String| match named.strip_suffix('*') {
            Some(beginning) => user.starts_with(beginning),
            None => named == user,
        };
        self.users.iter().any(fits) || groups.any(|group| self.groups.iter().any(|named| named == group))
    }

    /// Why a user name is not taken: it would stand for people too, or for nobody.
    #[must_use]
    pub fn refuses_user(named: &str) -> Option<&'static str> {
        let beginning = named.strip_suffix('*').unwrap_or(named);
        match beginning {
            _ if beginning.contains('*') => Some("a `*` stands at the end or nowhere"),
            "" | "system:" => Some("it would stand for people too"),
            _ => None,
        }
    }

    /// Why a group is not taken.
    #[must_use]
    pub fn refuses_group(named: &str) -> Option<&'static str> {
        if OF_PEOPLE.contains(&named) {
            Some("people are in it, and what they change without a grant would not be found")
        } else if named.is_empty() || named.contains('*') {
            Some("a group is named whole")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_a_beginning_or_a_group_fits() {
        let named = Automation {
            users: vec!["pipeline".to_owned(), "eks:*".to_owned()],
            groups: vec!["robots".to_owned()],
        };
        let is = |user: &str, groups: &[&str]| named.names(user, groups.iter().copied());
        assert!(is("pipeline", &[]) && is("eks:node-manager", &[]) && is("x", &["a", "robots"]));
        assert!(!is("pipeline2", &[]) && !is("my-eks:x", &[]) && !is("robots", &["robot"]));
        assert!(!Automation::default().names("", std::iter::empty()));
    }

    #[test]
    fn nobody_hides_everybody() {
        for wide in ["*", "", "system:*", "a*b", "**"] {
            assert!(Automation::refuses_user(wide).is_some(), "{wide}");
        }
        for fine in ["eks:*", "pipeline", "system:serviceaccount:ci:*"] {
            assert_eq!(Automation::refuses_user(fine), None);
        }
        for wide in ["system:masters", "system:authenticated", "x*", ""] {
            assert!(Automation::refuses_group(wide).is_some(), "{wide}");
        }
        assert_eq!(Automation::refuses_group("robots"), None);
    }
}
