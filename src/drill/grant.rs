//! The grant: laid out, revealed, used, and every use on its page.

use super::failure::Failure;
use super::html::Page;
use super::kubectl::Kubectl;
use super::options::Target;
use super::request::form;
use super::visitor::Visitor;
use super::wait::{seconds, until};
use crate::ids::GrantId;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Access must be laid out by then.
const LAID_OUT: Duration = Duration::from_secs(30);
/// An action must stand on the page by then.
const RECORDED: Duration = Duration::from_secs(20);
/// From so many replicas on, a drill takes one away, so that drills do not grow a Deployment for ever.
const MANY: i64 = 6;

/// Waits until access is laid out.
pub(super) async fn ready(requester: &mut Visitor, grant: GrantId) -> Result<((), String), Failure> {
    let page = until("ready access", LAID_OUT, async || {
        let page = requester.open(&format!("/grants/{grant}")).await?.good()?;
        Ok(match page.state("grant-headline").as_deref() {
            Some("ready") => Ok(page),
            Some("ending" | "ended") => return Err(Failure::Wrong(page.headline())),
            _ => Err(page.headline()),
        })
    });
    Ok(((), page.await?.headline()))
}

/// Reveals the key; the kubeconfig.
pub(super) async fn reveal(requester: &mut Visitor, grant: GrantId) -> Result<(String, String), Failure> {
    let path = format!("/grants/{grant}");
    // The first press may lead to the sign-in and back to the page.
    for _ in 0..2 {
        let page = requester.open(&path).await?.good()?;
        let answer = requester.send(&form(&page, &format!("{path}/reveal"))?).await?;
        let page = answer.good()?;
        if let Some((_, key)) = page.by_id("key") {
            let said = page
                .named("h1")
                .last()
                .map(|(_, inside)| inside.text())
                .unwrap_or_default();
            let seen = page
                .section("waits")
                .map(|steps| steps.named("li").len())
                .unwrap_or_default();
            return Ok((
                key.raw_text().trim_start().to_owned(),
                format!("{said} ({seen} lines of progress before it)"),
            ));
        }
        if let Some((_, why)) = page
            .all(|tag| tag.get("role") == Some("alert"))
            .into_iter()
            .next()
        {
            return Err(Failure::Wrong(format!("no key was shown: {}", why.text())));
        }
    }
    Err(Failure::Wrong("twice asked for a key, none was shown".into()))
}

/// How many replicas the Deployment had, and what it is scaled to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scaling {
    pub(super) deployment: String,
    pub(super) before: i64,
    pub(super) after: i64,
}

/// Reads the Deployments of the namespace and picks the one to scale.
pub(super) async fn look(kubectl: &Kubectl, target: &Target) -> Result<(Scaling, String), Failure> {
    let text = kubectl
        .good(&["get", "deployments", "-n", &target.namespace, "-o", "json"])
        .await?;
    let list: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Missing(format!("kubectl's answer is no JSON: {error}")))?;
    let scaling = pick(&list, target.deployment.as_deref()).ok_or_else(|| {
        Failure::Missing(format!(
            "{} has no Deployment to scale: name one with --deployment",
            target.namespace
        ))
    })?;
    let proof = format!(
        "kubectl reads {}/{} with {} replicas",
        target.namespace, scaling.deployment, scaling.before
    );
    Ok((scaling, proof))
}

fn pick(list: &Value, named: Option<&str>) -> Option<Scaling> {
    let deployments = list.get("items")?.as_array()?.iter();
    let picked = deployments.filter_map(|one| {
        let name = one.pointer("/metadata/name")?.as_str()?;
        let recreated = one.pointer("/spec/strategy/type").and_then(Value::as_str) == Some("Recreate");
        let wanted = named.map_or(!recreated, |named| named == name);
        wanted.then(|| {
            (
                name,
                one.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1),
            )
        })
    });
    picked.into_iter().next().map(|(name, before)| Scaling {
        deployment: name.to_owned(),
        before,
        after: if before >= MANY { before - 1 } else { before + 1 },
    })
}

/// Scales it.
pub(super) async fn scale(
    kubectl: &Kubectl,
    target: &Target,
    scaling: &Scaling,
) -> Result<((), String), Failure> {
    let replicas = format!("--replicas={}", scaling.after);
    let said = kubectl
        .good(&[
            "scale",
            "deployment",
            &scaling.deployment,
            "-n",
            &target.namespace,
            &replicas,
        ])
        .await?;
    Ok((
        (),
        format!("{said}, {} to {} replicas", scaling.before, scaling.after),
    ))
}

/// Reads Secrets, which must be refused.
pub(super) async fn read_secrets(kubectl: &Kubectl, target: &Target) -> Result<((), String), Failure> {
    let said = kubectl
        .run(&["get", "secrets", "-n", &target.namespace, "-o", "name"])
        .await?;
    if said.good {
        return Err(Failure::Wrong("Secrets could be listed".into()));
    }
    if said.err.contains("Forbidden") || said.err.contains("forbidden") {
        return Ok(((), format!("refused: {}", said.err.trim())));
    }
    Err(Failure::Wrong(format!(
        "kubectl failed otherwise: {}",
        said.err.trim()
    )))
}

/// A Pod that runs, if there is one.
pub(super) async fn running_pod(kubectl: &Kubectl, target: &Target) -> Result<Option<String>, Failure> {
    let names = "jsonpath={range .items[?(@.status.phase=='Running')]}{.metadata.name}{'\\n'}{end}";
    let text = kubectl
        .good(&["get", "pods", "-n", &target.namespace, "-o", names])
        .await?;
    Ok(text.lines().next().map(str::to_owned))
}

/// Runs a harmless command in a Pod.
pub(super) async fn exec(kubectl: &Kubectl, target: &Target, pod: &str) -> Result<((), String), Failure> {
    let said = kubectl
        .good(&["exec", pod, "-n", &target.namespace, "--", "echo", "drill"])
        .await?;
    if said.lines().any(|line| line.trim() == "drill") {
        return Ok(((), format!("`echo drill` ran in {pod}")));
    }
    Err(Failure::Wrong(format!("`echo drill` in {pod} said: {said}")))
}

/// Waits until the page shows an action whose row holds all of `words`; `since` is when it was done.
pub(super) async fn recorded(
    requester: &mut Visitor,
    grant: GrantId,
    words: &[&str],
    since: Instant,
) -> Result<((), String), Failure> {
    let row = until("the action on the grant's page", RECORDED, async || {
        let page = requester.open(&format!("/grants/{grant}")).await?.good()?;
        Ok(row_with(&page, words)
            .ok_or_else(|| format!("no row with {}; {}", words.join(" "), page.headline())))
    });
    let row = row.await?;
    Ok((
        (),
        format!(
            "on the page {} after kubectl returned: {row}",
            seconds(since.elapsed())
        ),
    ))
}

fn row_with(page: &Page, words: &[&str]) -> Option<String> {
    let (_, actions) = page.by_id("grant-actions")?;
    let rows = actions.named("tr").into_iter().map(|(_, row)| row.text());
    rows.into_iter()
        .find(|row| words.iter().all(|word| row.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployment_that_may_run_twice_is_scaled_by_one() {
        let one = |name: &str, strategy: &str, replicas: i64| json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "strategy": {"type": strategy}}});
        let list = json!({"items": [one("settlement", "Recreate", 1), one("api", "RollingUpdate", 3)]});
        let scaling = |deployment: &str, before, after| Scaling {
            deployment: deployment.into(),
            before,
            after,
        };
        assert_eq!(pick(&list, None), Some(scaling("api", 3, 4)));
        assert_eq!(pick(&list, Some("settlement")), Some(scaling("settlement", 1, 2)));
        assert_eq!(pick(&list, Some("web")), None);
        assert_eq!(
            pick(&json!({"items": [one("api", "RollingUpdate", 6)]}), None),
            Some(scaling("api", 6, 5))
        );
    }

    #[test]
    fn a_row_counts_only_when_it_holds_every_word() {
        let page = Page::parse(
            "<section id=\"grant-actions\"><table><tr><td>14:00</td><td><b>scaled</b> Deployment payments/api</td></tr>\
             <tr><td>14:01</td><td><b>was refused</b> list Secrets</td></tr></table></section>",
        );
        assert_eq!(
            row_with(&page, &["scaled", "payments/api"]).as_deref(),
            Some("14:00 scaled Deployment payments/api")
        );
        assert_eq!(row_with(&page, &["scaled", "Secrets"]), None);
    }
}
