//! What several pages say in the same words: histories, rules, states.

use super::App;
use super::error::Result;
use super::pages::{Badge, Href, Look, Shell, Text, Timeline, TimelineItem, Words};
use super::session::Signed;
use super::shell::{MANY, sees_all};
use crate::domain::entry_kind::EntryKind;
use crate::domain::grant::{Grant, GrantState};
use crate::domain::request::Request;
use crate::store::EntryFilter;
use serde_json::Value;

/// The history of a request, a grant or a follow-up: its entries of the ledger, oldest first, without
/// the single actions, which have their own list; then what comes next.
///
/// # Errors
/// The store's.
pub async fn history(
    app: &App,
    signed: &Signed,
    shell: &Shell,
    mut filter: EntryFilter,
    next: Option<Words>,
) -> Result<Timeline> {
    filter.kinds = EntryKind::ALL
        .iter()
        .copied()
        // Actions have their own table; who was told and who read is in the ledger.
        .filter(|kind| {
            use EntryKind as K;
            !matches!(
                kind,
                K::AuditEvent | K::Bypass | K::NoticeDelivered | K::LedgerRead | K::BatchCount
            )
        })
        .collect();
    filter.limit = MANY;
    let linked = sees_all(app.config(), &signed.person);
    let mut lines = app.broker.store.entries(filter).await?;
    lines.reverse();
    let mut items: Vec<TimelineItem> = lines
        .into_iter()
        .map(|line| {
            let words = Words::say(Text::prose(&line.sentence).sentence());
            let item = TimelineItem::new(look_of(line.kind), shell.when(line.at), words);
            if linked {
                let to = Href::path(format!("/ledger/entries/{}", line.index));
                item.detail(Words::default().link(to, format!("entry {}", line.index)))
            } else {
                item
            }
        })
        .collect();
    items.extend(next.map(TimelineItem::next));
    Ok(Timeline(items))
}

fn look_of(kind: EntryKind) -> Look {
    use EntryKind as K;
    match kind {
        K::GrantActive | K::FirstChange => Look::Live,
        K::RequestDenied
        | K::RevealFailed
        | K::EndingStuck
        | K::DeadlineBreached
        | K::Finding
        | K::Gap
        | K::BypassAttached => Look::Late,
        K::RequestWithdrawn | K::RequestLapsed | K::SteppedUp => Look::Info,
        K::FollowUpOwed | K::FollowUpRejected | K::RevertChosen | K::DeadlineDueSoon | K::GrantEnding => {
            Look::Wait
        }
        _ => Look::Done,
    }
}

/// A grant's state as a badge.
#[must_use]
pub fn grant_badge(grant: &Grant) -> Badge {
    let stuck = grant.ending.as_ref().is_some_and(|ending| ending.stuck);
    match grant.state {
        GrantState::Provisioning => Badge::new(Look::Wait, "being laid out"),
        GrantState::Ready => Badge::new(Look::Wait, "ready, no key yet"),
        GrantState::Issuing => Badge::new(Look::Wait, "making a key"),
        GrantState::Active => Badge::new(Look::Live, "active"),
        GrantState::Ending if stuck => Badge::new(Look::Late, "ending is stuck"),
        GrantState::Ending => Badge::new(Look::Wait, "ending"),
        GrantState::Ended => Badge::new(Look::Info, "ended"),
    }
}

/// A request's state as a badge.
#[must_use]
pub fn request_badge(request: &Request) -> Badge {
    match request.state_name() {
        "pending" => Badge::new(Look::Wait, "waiting for approval"),
        "approved" => Badge::new(Look::Done, "approved"),
        "denied" => Badge::new(Look::Late, "denied"),
        other => Badge::new(Look::Info, other),
    }
}

/// An incident: a link where it is an address.
#[must_use]
pub fn incident(text: &str) -> Words {
    Words::default().link_if_safe(text, text)
}

fn strings(rule: &Value, name: &str) -> Vec<String> {
    let list = rule.get(name).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn rules_of(rules: &Value) -> impl Iterator<Item = &Value> {
    rules.as_array().into_iter().flatten()
}

/// The exact rules of a `ClusterRole`, one line each.
#[must_use]
pub fn rule_lines(rules: &Value) -> Vec<Text> {
    rules_of(rules)
        .map(|rule| {
            let groups: Vec<String> = strings(rule, "apiGroups")
                .into_iter()
                .map(|group| {
                    if group.is_empty() {
                        "core".to_owned()
                    } else {
                        group
                    }
                })
                .collect();
            let names = strings(rule, "resourceNames");
            let only = if names.is_empty() {
                String::new()
            } else {
                format!(" named {}", names.join(", "))
            };
            let paths = strings(rule, "nonResourceURLs");
            let what = if paths.is_empty() {
                format!(
                    "{}: {}{only}",
                    groups.join(", "),
                    strings(rule, "resources").join(", ")
                )
            } else {
                paths.join(", ")
            };
            Text::prose(format!("{what}: {}", strings(rule, "verbs").join(", ")))
        })
        .collect()
}

/// What kinds of verbs are called when people speak of them.
const DEEDS: [(&str, &[&str]); 5] = [
    ("read", &["get", "list", "watch"]),
    ("create", &["create"]),
    ("change", &["update", "patch"]),
    ("delete", &["delete", "deletecollection"]),
    ("do everything with", &["*"]),
];

/// What the rules allow, in words, and what they keep closed.
#[must_use]
pub fn in_words(rules: &Value) -> (Vec<Words>, Vec<Words>) {
    let mut may = vec![];
    for (deed, verbs) in DEEDS {
        let mut things: Vec<String> = vec![];
        for rule in rules_of(rules) {
            if !strings(rule, "verbs")
                .iter()
                .any(|verb| verbs.contains(&verb.as_str()))
            {
                continue;
            }
            things.extend(
                strings(rule, "resources")
                    .into_iter()
                    .filter(|resource| !is_stream(resource)),
            );
        }
        things.sort();
        things.dedup();
        if !things.is_empty() {
            may.push(
                Words::default()
                    .strong(deed)
                    .and(" ")
                    .and(Text::prose(things.join(", ")).sentence()),
            );
        }
    }
    let mut may_not = vec![];
    for (resource, verb, words) in [
        (
            "pods/exec",
            "create",
            "run commands inside Pods (exec); what is typed there is not recorded",
        ),
        ("pods/attach", "create", "attach to running processes"),
        ("pods/portforward", "create", "forward ports to Pods"),
        (
            "pods/ephemeralcontainers",
            "patch",
            "add debug containers to Pods",
        ),
        ("secrets", "get", "read Secrets"),
        ("secrets", "patch", "change Secrets"),
        ("rolebindings", "create", "give rights to others"),
        ("namespaces", "delete", "delete namespaces"),
    ] {
        if allows(rules, resource, verb) {
            if is_stream(resource) || resource == "rolebindings" {
                may.push(words.into());
            }
        } else {
            may_not.push(words.split(';').next().unwrap_or(words).into());
        }
    }
    (may, may_not)
}

fn is_stream(resource: &str) -> bool {
    matches!(
        resource,
        "pods/exec" | "pods/attach" | "pods/portforward" | "pods/ephemeralcontainers"
    )
}

fn allows(rules: &Value, resource: &str, verb: &str) -> bool {
    let has = |list: Vec<String>, item: &str| list.iter().any(|own| own == "*" || own == item);
    rules_of(rules).any(|rule| has(strings(rule, "resources"), resource) && has(strings(rule, "verbs"), verb))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_told_in_words_and_in_full() {
        let rules = json!([
            {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"], "resourceNames": ["web"]},
            {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]},
        ]);
        let lines: Vec<_> = rule_lines(&rules).iter().map(Text::plain).collect();
        assert_eq!(lines[0], "core: pods, services: get, list");
        assert_eq!(lines[1], "apps: deployments named web: get, patch");
        let (may, may_not) = in_words(&rules);
        let may: Vec<_> = may.iter().map(ToString::to_string).collect();
        assert!(
            may[0].contains("read") && may[0].contains("deployments, pods, services"),
            "{may:?}"
        );
        assert!(may.iter().any(|words| words.contains("inside Pods")), "{may:?}");
        let may_not: Vec<_> = may_not.iter().map(ToString::to_string).collect();
        assert!(
            may_not.iter().any(|words| words.contains("read Secrets")),
            "{may_not:?}"
        );
        assert!(
            !may_not.iter().any(|words| words.contains("inside Pods")),
            "{may_not:?}"
        );
    }

    #[test]
    fn a_star_is_everything() {
        let rules = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
        let (may, may_not) = in_words(&rules);
        assert!(may.iter().any(|words| words.to_string().contains("everything")));
        assert!(may_not.is_empty());
    }
}
