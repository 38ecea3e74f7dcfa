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
const CAPTURED: Duration = Duration::from_mins(2);
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
    let drift = drift_in(&owed, scaling).ok_or_else(|| {
        let Scaling {
            deployment,
            before,
            after,
        } = scaling;
        Failure::Missing(format!(
            "the page shows no drift of {deployment} from {before} to {after} replicas"
        ))
    })?;
    let pull =
        Url::parse(&pull).map_err(|error| Failure::Missing(format!("{pull} is no address: {error}")))?;
    Ok((pull, format!("spec.replicas {drift}. {}", owed.headline())))
}

/// The drift of the Deployment's replicas as the page shows it: the line before and the line after.
fn drift_in(page: &Page, scaling: &Scaling) -> Option<String> {
    let figures = page
        .all(|tag| tag.get("class") == Some("diff"))
        .into_iter()
        .map(|(_, figure)| figure);
    let mut about = figures.filter(|figure| figure.text().contains(&scaling.deployment));
    about.find_map(|figure| {
        let line = |name: &str, replicas: i64| {
            let lines = figure.named(name).into_iter().map(|(_, line)| line.text());
            lines.into_iter().find(|line| sets_replicas(line, replicas))
        };
        let caption = figure
            .named("figcaption")
            .first()
            .map(|(_, caption)| caption.text())?;
        Some(format!(
            "{} {} ({caption})",
            line("del", scaling.before)?,
            line("ins", scaling.after)?
        ))
    })
}

/// Whether a line of YAML sets `replicas` to exactly that number; a comment may follow.
fn sets_replicas(line: &str, replicas: i64) -> bool {
    let value = line
        .split_once("replicas:")
        .map(|(_, value)| value.split('#').next().unwrap_or_default());
    value.is_some_and(|value| value.trim().trim_end_matches(['}', ',']).trim() == replicas.to_string())
}

/// The requester's own approval at the forge must not count.
pub(super) async fn own_review(
    forge: &mut DemoForge,
    requester: &mut Visitor,
    id: FollowUpId,
    login: &str,
) -> Result<((), String), Failure> {
    forge.act(login, "approve").await?;
    let words = until("the verdict on the requester's review", FOLLOWED, async || {
        let page = page(requester, id).await?;
        let lines = page
            .section("pull")
            .map(|pull| pull.named("li"))
            .unwrap_or_default();
        let about: Vec<String> = lines
            .into_iter()
            .map(|(_, line)| line.text())
            .filter(|line| line.contains(login))
            .collect();
        // The review itself, and below it what the check makes of it.
        Ok(if about.len() > 1 {
            Ok(about.join("; "))
        } else {
            Err(page.headline())
        })
    })
    .await?;
    let check = forge
        .check()
        .await?
        .ok_or_else(|| Failure::Missing("the forge shows no check".into()))?;
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
pub(super) async fn delivered(
    owner: &Kubectl,
    target: &Target,
    scaling: &Scaling,
) -> Result<((), String), Failure> {
    let who = until("the delivery", FOLLOWED, async || {
        let get = [
            "get",
            "deployment",
            &scaling.deployment,
            "-n",
            &target.namespace,
            "-o",
            "json",
            "--show-managed-fields",
        ];
        let live: Value = serde_json::from_str(&owner.good(&get).await?)
            .map_err(|error| Failure::Missing(format!("kubectl's answer is no JSON: {error}")))?;
        let replicas = live.pointer("/spec/replicas").and_then(Value::as_i64);
        let writers = writers_of_replicas(&live);
        let applied = writers.iter().any(|(_, operation)| operation == "Apply");
        let names: Vec<String> = writers
            .into_iter()
            .map(|(manager, how)| format!("{manager} ({how})"))
            .collect();
        let words = format!(
            "{} replicas, written by {}",
            replicas.unwrap_or_default(),
            names.join(" and ")
        );
        Ok(if applied && replicas == Some(scaling.after) {
            Ok(words)
        } else {
            Err(words)
        })
    });
    Ok(((), who.await?))
}

/// Who owns `spec.replicas`, and by which operation.
fn writers_of_replicas(live: &Value) -> Vec<(String, String)> {
    let fields = live
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    fields
        .filter(|one| one.pointer("/fieldsV1/f:spec/f:replicas").is_some())
        .filter_map(|one| {
            Some((
                one.get("manager")?.as_str()?.to_owned(),
                one.get("operation")?.as_str()?.to_owned(),
            ))
        })
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
    fn drift_is_the_line_before_and_the_line_after_of_this_deployment() {
        let page = |name: &str, after: &str| {
            Page::parse(&format!(
                "<figure class=\"diff\"><figcaption>apps/api.yaml</figcaption><td>name: {name}</td>\
                 <del><span>−</span> replicas: 3 # two at night</del><ins><span>+</span> replicas: {after} # two at night</ins></figure>"
            ))
        };
        let scaling = Scaling {
            deployment: "api".into(),
            before: 3,
            after: 4,
        };
        let shown = drift_in(&page("api", "4"), &scaling).unwrap();
        assert_eq!(
            shown,
            "− replicas: 3 # two at night + replicas: 4 # two at night (apps/api.yaml)"
        );
        assert_eq!(drift_in(&page("api", "40"), &scaling), None);
        assert_eq!(drift_in(&page("web", "4"), &scaling), None);
    }

    #[test]
    fn only_owners_of_the_field_are_its_writers() {
        let live = json!({"metadata": {"managedFields": [
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "shop-sync", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}},
        ]}});
        assert_eq!(
            writers_of_replicas(&live),
            [("kubectl".to_owned(), "Update".to_owned())]
        );
        assert_eq!(writers_of_replicas(&json!({})), []);
    }
}
