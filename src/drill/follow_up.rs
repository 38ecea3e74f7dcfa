//! What is owed afterwards: drift captured, pull request reviewed by somebody else, merged, converged.

use super::failure::Failure;
use super::forge::DemoForge;
use super::grant::Scaling;
use super::html::Page;
use super::kubectl::Kubectl;
use super::options::Target;
use super::visitor::Visitor;
use super::wait::until;
use crate::ids::FollowUpId;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// The pull request must be open by then: the record settles first.
const CAPTURED: Duration = Duration::from_secs(120);
/// The check, the merge and the convergence must each be there by then.
const FOLLOWED: Duration = Duration::from_secs(90);

async fn page(visitor: &mut Visitor, id: FollowUpId) -> Result<Page, Failure> {
    visitor.open(&format!("/follow-ups/{id}")).await?.good()
}

/// Waits until the drift stands on the page, and with it the pull request.
pub(super) async fn captured(
    requester: &mut Visitor,
    id: FollowUpId,
    scaling: &Scaling,
) -> Result<(Url, String), Failure> {
    let (owed, pull) = until("the pull request", CAPTURED, async || {
        let page = page(requester, id).await?;
        let pull = page.section("pull").and_then(|pull| pull.link_to("://"));
        Ok(match (page.state("follow-up-state").as_deref(), pull) {
            (Some("owed"), Some(pull)) => Ok((page, pull)),
            (Some("owed" | "capturing"), _) => Err(page.headline()),
            _ => return Err(Failure::Wrong(page.headline())),
        })
    })
    .await?;
    let (before, after) = (format!("replicas: {}", scaling.before), format!("replicas: {}", scaling.after));
    let figures = owed.all(|tag| tag.get("class") == Some("diff"));
    let about = figures.into_iter().map(|(_, figure)| figure).find(|figure| {
        let held = |name: &str, words: &str| figure.named(name).iter().any(|(_, line)| line.text().ends_with(words));
        figure.text().contains(&scaling.deployment) && held("del", &before) && held("ins", &after)
    });
    let caption = about.and_then(|figure| figure.named("figcaption").first().map(|(_, caption)| caption.text()));
    let caption = caption.ok_or_else(|| {
        Failure::Missing(format!("the page shows no drift of {} from {before} to {after}", scaling.deployment))
    })?;
    let pull = Url::parse(&pull).map_err(|error| Failure::Missing(format!("{pull} is no address: {error}")))?;
    Ok((pull, format!("{caption}: spec.{before} became spec.{after}. {}", owed.headline())))
}

/// The requester's own approval at the forge must not count.
pub(super) async fn own_review(
    forge: &mut DemoForge,
    requester: &mut Visitor,
    id: FollowUpId,
    login: &str,
) -> Result<((), String), Failure> {
    forge.act(login, "approve").await?;
    let words = until("the requester's review on the page", FOLLOWED, async || {
        let page = page(requester, id).await?;
        let reviews = page.section("pull").map(|pull| pull.named("li")).unwrap_or_default();
        let review = reviews.into_iter().map(|(_, review)| review.text()).find(|review| review.contains(login));
        Ok(review.ok_or_else(|| page.headline()))
    })
    .await?;
    let check = forge.check().await?.ok_or_else(|| Failure::Missing("the forge shows no check".into()))?;
    let state = page(requester, id).await?.state("follow-up-state");
    if check.passed || state.as_deref() != Some("owed") {
        return Err(Failure::Wrong(format!("it counted: {}", check.words)));
    }
    Ok(((), format!("{words}; the check still says: {}", check.words)))
}

/// Somebody else approves: the check passes and the merge goes through.
pub(super) async fn merged(forge: &mut DemoForge, reviewer: &str) -> Result<((), String), Failure> {
    forge.act(reviewer, "approve").await?;
    let check = until("the passed check", FOLLOWED, async || {
        let check = forge.check().await?;
        Ok(match check {
            Some(check) if check.passed => Ok(check.words),
            Some(check) => Err(check.words),
            None => Err("there is no check".to_owned()),
        })
    })
    .await?;
    forge.act(reviewer, "merge").await?;
    let merged = forge.state().await?;
    if merged.starts_with("Merged") {
        return Ok(((), format!("{check}; {merged}")));
    }
    Err(Failure::Wrong(format!("it is not merged: {merged}")))
}

/// Waits until the shop's delivery wrote what was merged: it owns the field again.
pub(super) async fn delivered(owner: &Kubectl, target: &Target, scaling: &Scaling) -> Result<((), String), Failure> {
    let who = until("the delivery", FOLLOWED, async || {
        let get = ["get", "deployment", &scaling.deployment, "-n", &target.namespace, "-o", "json", "--show-managed-fields"];
        let live: Value = serde_json::from_str(&owner.good(&get).await?)
            .map_err(|error| Failure::Missing(format!("kubectl's answer is no JSON: {error}")))?;
        let replicas = live.pointer("/spec/replicas").and_then(Value::as_i64);
        let writers = writers_of_replicas(&live);
        let applied = writers.iter().any(|(_, operation)| operation == "Apply");
        let names: Vec<String> = writers.into_iter().map(|(manager, how)| format!("{manager} ({how})")).collect();
        let words = format!("{} replicas, written by {}", replicas.unwrap_or_default(), names.join(" and "));
        Ok(if applied && replicas == Some(scaling.after) { Ok(words) } else { Err(words) })
    });
    Ok(((), who.await?))
}

/// Who owns `spec.replicas`, and by which operation.
fn writers_of_replicas(live: &Value) -> Vec<(String, String)> {
    let fields = live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    fields
        .filter(|one| one.pointer("/fieldsV1/f:spec/f:replicas").is_some())
        .filter_map(|one| Some((one.get("manager")?.as_str()?.to_owned(), one.get("operation")?.as_str()?.to_owned())))
        .collect()
}

/// Waits until the follow-up is closed; each of its deadlines must be met.
pub(super) async fn closed(requester: &mut Visitor, id: FollowUpId) -> Result<((), String), Failure> {
    let closed = until("the closed follow-up", FOLLOWED, async || {
        let page = page(requester, id).await?;
        Ok(match page.state("follow-up-state").as_deref() {
            Some("converged") => Ok(page),
            Some("owed" | "merged") => Err(page.headline()),
            _ => return Err(Failure::Wrong(page.headline())),
        })
    });
    Ok(((), closed.await?.headline()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_owners_of_the_field_are_its_writers() {
        let live = json!({"metadata": {"managedFields": [
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "shop-sync", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}},
        ]}});
        assert_eq!(writers_of_replicas(&live), [("kubectl".to_owned(), "Update".to_owned())]);
        assert_eq!(writers_of_replicas(&json!({})), []);
    }
}
