//! The end: said by the engineer, proved from outside and by the broker.

use super::failure::Failure;
use super::probe::Probe;
use super::request::{form, id_after};
use super::visitor::Visitor;
use super::wait::until;
use crate::ids::{FollowUpId, GrantId};
use std::time::{Duration, Instant};

/// The broker must have proved the death by then.
const PROVED: Duration = Duration::from_mins(1);

/// Presses "I am done" and watches the rights meanwhile. When it was pressed, and the time until the
/// first refusal.
pub(super) async fn done(
    requester: &mut Visitor,
    grant: GrantId,
    probe: &Probe,
) -> Result<(Instant, Result<Duration, Failure>, String), Failure> {
    let path = format!("/grants/{grant}");
    let page = requester.open(&path).await?.good()?;
    let form = form(&page, &format!("{path}/done"))?;
    if !probe.is_known().await? {
        return Err(Failure::Wrong("the key is dead before its end".into()));
    }
    let pressed = Instant::now();
    let (answer, refused) = tokio::join!(requester.send(&form), probe.until_refused());
    let page = answer?.good()?;
    Ok((pressed, refused.map(|at| at - pressed), page.headline()))
}

/// Waits until the broker shows its own proof; the follow-up it leads to.
pub(super) async fn proved(requester: &mut Visitor, grant: GrantId) -> Result<(FollowUpId, String), Failure> {
    let page = until("the proof of death", PROVED, async || {
        let page = requester.open(&format!("/grants/{grant}")).await?.good()?;
        Ok(if page.state("grant-headline").as_deref() == Some("ended") {
            Ok(page)
        } else {
            Err(page.headline())
        })
    });
    let page = page.await?;
    let words = page
        .by_id("grant-headline")
        .map(|(_, inside)| inside.text())
        .unwrap_or_default();
    let follow_up = page
        .link_to("/follow-ups/")
        .and_then(|href| id_after(&href, "/follow-ups/"));
    match follow_up {
        Some(id) if words.contains("proved") => Ok((id, words)),
        Some(_) => Err(Failure::Missing(format!("the page shows no proof: {words}"))),
        None => Err(Failure::Missing(format!("the page names no follow-up: {words}"))),
    }
}
