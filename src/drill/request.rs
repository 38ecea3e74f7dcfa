//! From the request to the approved grant: filed, not approvable by its own requester, approved by
//! somebody else.

use super::failure::Failure;
use super::form::Form;
use super::html::Page;
use super::options::Target;
use super::visitor::Visitor;
use crate::ids::{GrantId, RequestId};
use std::str::FromStr;

/// The id in a path such as `/grants/ID?show=all`.
pub(super) fn id_after<T: FromStr>(path: &str, place: &str) -> Option<T> {
    let rest = path.split_once(place)?.1;
    rest.split(['/', '?', '#']).next()?.parse().ok()
}

/// The form of a page, or what the page says instead.
pub(super) fn form(page: &Page, action: &str) -> Result<Form, Failure> {
    page.form(action).ok_or_else(|| {
        Failure::Missing(format!(
            "the page has no form to {action}; it says: {}",
            page.headline()
        ))
    })
}

/// Files the request.
pub(super) async fn file(requester: &mut Visitor, target: &Target) -> Result<(RequestId, String), Failure> {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("cluster", &target.cluster)
        .append_pair("profile", &target.profile)
        .append_pair("namespace", &target.namespace)
        .finish();
    let page = requester.open(&format!("/requests/new?{query}")).await?.good()?;
    let form = form(&page, "/requests")?
        .with("cluster", &target.cluster)
        .with("profile", &target.profile)
        .with("namespace", &target.namespace)
        .with("minutes", &target.minutes.to_string())
        .with("reason", "Drill: scale a Deployment by one, and bring it to git.");
    let answer = requester.send(&form).await?;
    let page = answer.good()?;
    let id = id_after(answer.url.path(), "/requests/")
        .ok_or_else(|| Failure::Wrong(format!("no request came of it: {}", page.headline())))?;
    Ok((
        id,
        format!(
            "{} ({} in {} on {})",
            page.headline(),
            target.profile,
            target.namespace,
            target.cluster
        ),
    ))
}

/// Tries to approve as the requester, by whichever account, past the missing button: the answer must be a no and the
/// request must stand as before.
pub(super) async fn approve_own(requester: &mut Visitor, id: RequestId) -> Result<((), String), Failure> {
    let path = format!("/requests/{id}");
    let action = format!("{path}/approve");
    let page = requester.open(&path).await?.good()?;
    if page.form(&action).is_some() {
        return Err(Failure::Wrong("the requester is offered to approve".into()));
    }
    let hash = page.by_id("request-hash").map(|(_, inside)| inside.text());
    let hash = hash.ok_or_else(|| Failure::Missing("the page shows no hash".into()))?;
    let minutes = super::options::SHORTEST.to_string();
    let forged = Form {
        action,
        fields: token(&page),
        buttons: vec![],
    }
    .with("hash", &hash)
    .with("minutes", &minutes);
    let answer = requester.send(&forged).await?;
    let said = answer.page();
    let state = requester.open(&path).await?.good()?.state("request-state");
    if state.as_deref() != Some("pending") {
        return Err(Failure::Wrong(format!(
            "the request is {} now",
            state.unwrap_or_else(|| "in no state".into())
        )));
    }
    if !(400..500).contains(&answer.status) {
        return Err(Failure::Wrong(format!(
            "it was answered {}: {}",
            answer.status,
            said.headline()
        )));
    }
    let words = said
        .by_id("main")
        .map_or_else(|| said.text(), |(_, main)| main.text());
    Ok(((), format!("refused with {}: {words}", answer.status)))
}

/// The hidden field that every form of the page carries.
fn token(page: &Page) -> Vec<(String, String)> {
    let forms = page.forms().into_iter();
    forms
        .flat_map(|form| form.fields)
        .filter(|(name, _)| name == "csrf")
        .take(1)
        .collect()
}

/// Approves as somebody else, signing in again when asked.
pub(super) async fn approve(approver: &mut Visitor, id: RequestId) -> Result<(GrantId, String), Failure> {
    let path = format!("/requests/{id}");
    let inbox = approver.open("/approvals").await?.good()?;
    if inbox.link_to(&path).is_none() {
        return Err(Failure::Missing(format!(
            "the request is not among the approvals: {}",
            inbox.headline()
        )));
    }
    // Signing in again may lead back to the form: then it is pressed once more.
    for _ in 0..2 {
        let page = approver.open(&path).await?.good()?;
        if page.state("request-state").as_deref() != Some("pending") {
            break;
        }
        approver
            .send(&form(&page, &format!("{path}/approve"))?)
            .await?
            .good()?;
    }
    let page = approver.open(&path).await?.good()?;
    let grant = page
        .link_to("/grants/")
        .and_then(|href| id_after(&href, "/grants/"));
    match (page.state("request-state").as_deref(), grant) {
        (Some("approved"), Some(grant)) => {
            Ok((grant, format!("stepped up and approved: {}", page.headline())))
        }
        (state, _) => Err(Failure::Wrong(format!(
            "the request is {}: {}",
            state.unwrap_or("in no state"),
            page.headline()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_addresses() {
        let id = GrantId::new();
        assert_eq!(id_after(&format!("/grants/{id}?show=all"), "/grants/"), Some(id));
        assert_eq!(
            id_after(&format!("https://a.test/grants/{id}"), "/grants/"),
            Some(id)
        );
        assert_eq!(id_after::<GrantId>("/grants/new", "/grants/"), None);
        assert_eq!(id_after::<GrantId>("/requests/", "/grants/"), None);
    }
}
