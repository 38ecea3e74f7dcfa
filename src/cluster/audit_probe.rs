//! Asking what an audit policy makes of a request, by requests that are refused.

use super::layout::AT_ONCE;
use super::manifests::AuditProbe;
use super::server::{Result, Server};
use futures::{StreamExt, TryStreamExt};
use http::Method;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// An API server may take a moment to know a new account.
const SETTLING: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(250);
const DOING: &str = "probing the audit policy";

/// Sends each with its nonce. Whatever is answered is audited; only that nothing was answered, or nobody was
/// recognized, is an error.
pub(super) async fn ask(server: &Server, probes: &[(String, AuditProbe)]) -> Result<()> {
    let requests: Vec<(Method, String)> = probes.iter().map(|(nonce, probe)| probe.request(nonce)).collect();
    futures::stream::iter(requests)
        .map(|(method, path)| async move { one(server, &method, &path).await })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

async fn one(server: &Server, method: &Method, path: &str) -> Result<()> {
    let until = Instant::now() + SETTLING;
    loop {
        match server.send(DOING, method.clone(), path, None).await? {
            Err(status) if status.code == 401 && Instant::now() < until => sleep(AGAIN).await,
            // It never came to the policy.
            Err(status) if matches!(status.code, 401 | 429) => return Err(server.refused(DOING, &status)),
            _ => return Ok(()),
        }
    }
}
