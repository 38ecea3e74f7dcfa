//! What compliance and an auditor see of the drill: feed, SLA, and the export that proves itself.

use super::failure::Failure;
use super::visitor::Visitor;
use crate::broker::verify::judge_bundle;
use crate::domain::entry_kind::EntryKind;
use crate::ids::{FollowUpId, GrantId};
use crate::ledger::{Bundle, Integrity, VerifierKey};
use serde_json::Value;

/// What the feed must tell of an emergency that went this way.
const TOLD: &[EntryKind] = &[
    EntryKind::RequestFiled,
    EntryKind::RequestApproved,
    EntryKind::GrantReady,
    EntryKind::GrantActive,
    EntryKind::FirstChange,
    EntryKind::GrantEnding,
    EntryKind::GrantEnded,
    EntryKind::FollowUpOwed,
    EntryKind::FollowUpMerged,
    EntryKind::FollowUpConverged,
];

/// The feed tells each stage of this grant.
pub(super) async fn feed(
    compliance: &mut Visitor,
    request: &str,
    grant: GrantId,
) -> Result<((), String), Failure> {
    let answer = compliance.open("/feed.json").await?;
    if answer.status != 200 {
        return Err(answer.failure());
    }
    let feed: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::Missing(format!("/feed.json is no JSON: {error}")))?;
    let told = told_of(&feed, &[request, &grant.to_string()]);
    let missing: Vec<&str> = TOLD
        .iter()
        .map(|kind| kind.name())
        .filter(|name| !told.iter().any(|(tag, _)| tag == name))
        .collect();
    if !missing.is_empty() {
        return Err(Failure::Missing(format!(
            "the feed does not tell of {}",
            missing.join(", ")
        )));
    }
    let last = told.first().map(|(_, title)| title.as_str()).unwrap_or_default();
    Ok((
        (),
        format!("{} entries of this emergency, the newest: {last}", told.len()),
    ))
}

/// The entries of the feed that name one of `ids`: kind and sentence.
fn told_of(feed: &Value, ids: &[&str]) -> Vec<(String, String)> {
    let items = feed.get("items").and_then(Value::as_array).into_iter().flatten();
    items
        .filter(|item| {
            let text = item.to_string();
            ids.iter().any(|id| text.contains(id))
        })
        .filter_map(|item| {
            let tag = item.pointer("/tags/0")?.as_str()?;
            Some((
                tag.to_owned(),
                item.get("title")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            ))
        })
        .collect()
}

/// Every deadline of the follow-up is met, and the SLA page counts it as closed in time.
pub(super) async fn sla(compliance: &mut Visitor, id: FollowUpId) -> Result<((), String), Failure> {
    let path = format!("/follow-ups/{id}");
    let page = compliance.open(&path).await?.good()?;
    let bars = page
        .section("deadlines")
        .map(|section| section.all(|tag| is_deadline(tag.get("class"))))
        .unwrap_or_default();
    let words: Vec<String> = bars.iter().map(|(_, bar)| bar.text()).collect();
    let unmet = bars
        .iter()
        .zip(&words)
        .find(|((tag, _), _)| tag.get("class") != Some("deadline done"));
    if let Some((_, words)) = unmet {
        return Err(Failure::Wrong(format!("a deadline is not met: {words}")));
    }
    if bars.is_empty() {
        return Err(Failure::Missing("the follow-up shows no deadline".into()));
    }
    let mut lists = async |query: &str| {
        let sla = compliance.open(&format!("/sla{query}")).await?.good()?;
        let listed = sla.section("owed").and_then(|list| list.link_to(&path)).is_some();
        Ok::<_, Failure>((sla, listed))
    };
    let (sla, owed) = lists("").await?;
    let (_, in_time) = lists("?show=in-time").await?;
    if owed || !in_time {
        return Err(Failure::Wrong(
            "the SLA page does not list it among those closed in time".into(),
        ));
    }
    Ok((
        (),
        format!(
            "{} deadlines met ({}); SLA: {}",
            bars.len(),
            words.join("; "),
            sla.headline()
        ),
    ))
}

fn is_deadline(class: Option<&str>) -> bool {
    class.is_some_and(|class| class.split(' ').next() == Some("deadline"))
}

/// Downloads the export of the grant and checks it with the log's public key.
pub(super) async fn export(
    compliance: &mut Visitor,
    grant: GrantId,
    key: &VerifierKey,
) -> Result<((), String), Failure> {
    let answer = compliance.open(&format!("/ledger/export/{grant}.bgx")).await?;
    if answer.status != 200 {
        return Err(answer.failure());
    }
    Ok(((), verified(&answer.body, Some(grant), key)?))
}

/// Checks an export: unaltered, by this key, and of this grant.
pub(super) fn verified(bytes: &[u8], grant: Option<GrantId>, key: &VerifierKey) -> Result<String, Failure> {
    let bundle = Bundle::parse(bytes)
        .map_err(|error| Failure::Wrong(format!("the export cannot be read: {error}")))?;
    if grant.is_some() && bundle.grant != grant {
        return Err(Failure::Wrong("the export is of another grant".into()));
    }
    let judged = judge_bundle(std::slice::from_ref(key), &[], &bundle);
    let report = &judged.report;
    if report.integrity() != Integrity::Whole || report.entries == 0 || report.approvals.good == 0 {
        return Err(Failure::Wrong(format!("the export does not verify: {report}")));
    }
    Ok(format!("{} bytes, {report}", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_feed_is_searched_for_this_emergency_alone() {
        let item = |tag: &str, grant: &str| json!({"tags": [tag], "title": "said", "_breakglass": {"about": {"grant": grant}}});
        let feed = json!({"items": [item("grant-ended", "g-1"), item("grant-ready", "g-2")]});
        assert_eq!(
            told_of(&feed, &["g-1"]),
            [("grant-ended".to_owned(), "said".to_owned())]
        );
        assert_eq!(told_of(&json!({}), &["g-1"]), []);
    }

    #[test]
    fn an_export_that_is_none_is_refused() {
        let key = crate::ledger::Signer::from_seed("log.test", [7; 32])
            .unwrap()
            .verifier_key();
        assert!(verified(b"{}", None, &key).is_err());
    }
}
