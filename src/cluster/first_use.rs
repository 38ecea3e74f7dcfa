//! The first use of a token, by the broker, before anybody sees it: what rights it really has, and
//! whether the session policy really stands in its way.

use super::manifests::{Probe, probe};
use super::rules::as_role;
use super::server::{Result, Server};
use super::{Access, ClusterError, FirstUse};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// API servers take a moment to enforce a new policy and to learn of a new binding.
const SETTLING: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(250);

/// Reviews the rights in each namespace (`default` for a cluster-scoped role), then tries what RBAC
/// allows and the session policy forbids. `server` speaks with the new token alone; `rules` are the role's.
pub(super) async fn use_once(server: &Server, access: &Access, rules: &Value) -> Result<Vec<FirstUse>> {
    let default = vec!["default".to_owned()];
    let asked = if access.namespaces.is_empty() {
        &default
    } else {
        &access.namespaces
    };
    let mut uses = vec![];
    for namespace in asked {
        uses.push(review(server, namespace).await?);
    }
    let role = as_role(rules);
    let probes: Vec<Probe> = access
        .namespaces
        .iter()
        .filter_map(|name| probe(&role, name))
        .collect();
    if !probes.is_empty() {
        see_policy(server, &probes).await?;
    }
    Ok(uses)
}

async fn review(server: &Server, namespace: &str) -> Result<FirstUse> {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    });
    let doing = format!("reviewing a new token's rights in {namespace}");
    let answer = server.ask(&doing, Method::POST, path, Some(&body)).await?;
    let status = &answer["status"];
    let rules = status["resourceRules"].clone();
    // No list is no answer: taken as "no rights beyond" it would let everything pass.
    let incomplete = status["incomplete"] != json!(false) || !rules.is_array();
    Ok(FirstUse {
        namespace: namespace.to_owned(),
        rules,
        incomplete,
    })
}

/// What one try showed.
enum Seen {
    Refused,
    Accepted,
    Otherwise(String),
}

/// Returns once the session policy was seen to refuse. One namespace is enough: the policy is bound
/// to the whole cluster. Others are tried where something else (rights that are not known yet, a
/// quota, an admission webhook) stands before it.
async fn see_policy(server: &Server, probes: &[Probe]) -> Result<()> {
    let until = Instant::now() + SETTLING;
    loop {
        let mut last = String::new();
        for probe in probes {
            match try_once(server, probe).await? {
                Seen::Refused => return Ok(()),
                Seen::Accepted => {
                    last = format!("a forbidden object at {} was let through", probe.path);
                    break;
                }
                Seen::Otherwise(why) => last = why,
            }
        }
        if Instant::now() >= until {
            return Err(ClusterError::Unsound(format!(
                "the session policy was not seen to hold the new token within {} s: {last}",
                SETTLING.as_secs()
            )));
        }
        sleep(AGAIN).await;
    }
}

async fn try_once(server: &Server, probe: &Probe) -> Result<Seen> {
    let path = format!("{}?dryRun=All", probe.path);
    let doing = "trying what the session policy forbids";
    Ok(
        match server
            .send(doing, Method::POST, &path, Some(&probe.object))
            .await?
        {
            Ok(_) => Seen::Accepted,
            Err(status) if Probe::is_refused_by_policy(status.code, &status.message) => Seen::Refused,
            Err(status) => Seen::Otherwise(format!("{} ({})", status.message, status.code)),
        },
    )
}
