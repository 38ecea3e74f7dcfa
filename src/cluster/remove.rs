//! Taking an access away. Each call returns when a read no longer finds what it deleted.

use super::credential::secret_path;
use super::layout::{AT_ONCE, Found, account_path, binding_paths, bindings_of, is_ours};
use super::server::{PATIENCE, Result, Server, segment, text};
use super::{Access, ClusterError};
use crate::config::{GRANT_LABEL, GRANTS_NAMESPACE};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const AGAIN: Duration = Duration::from_millis(100);

/// Deletes the grant's bindings where they were laid out, then whatever else of it names the account.
///
/// # Errors
/// Besides the API server's: a binding that names the account and is not the grant's. The broker may
/// not delete it, so it takes away the account first and then says which one it is.
pub(super) async fn bindings(server: &Server, access: &Access) -> Result<()> {
    futures::stream::iter(binding_paths(access))
        .map(|path| async move {
            let path = format!("{path}/{}", segment(&access.account));
            let found = server
                .find(&format!("reading the binding at {path}"), &path)
                .await?;
            match found {
                Some(object) if is_ours(&object, access) => delete(server, "binding", &path, &object).await,
                _ => Ok(()),
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    let mut foreign = vec![];
    for Found { path, object } in bindings_of(server, &access.account).await? {
        if is_ours(&object, access) {
            delete(server, "binding", &path, &object).await?;
        } else {
            foreign.push(path);
        }
    }
    if foreign.is_empty() {
        return Ok(());
    }
    account(server, access).await?;
    Err(ClusterError::Unsound(format!(
        "{} names {} and is not the grant's: a cluster administrator must delete it. The credential was \
         taken away",
        foreign.join(", "),
        access.account
    )))
}

/// Deletes a Secret.
pub(super) async fn secret(server: &Server, name: &str) -> Result<()> {
    let path = secret_path(name);
    match server.find(&format!("reading Secret {name}"), &path).await? {
        Some(object) => delete(server, "Secret", &path, &object).await,
        None => Ok(()),
    }
}

/// Deletes every Secret of the grant, then its `ServiceAccount`.
pub(super) async fn account(server: &Server, access: &Access) -> Result<()> {
    let path = format!("/api/v1/namespaces/{GRANTS_NAMESPACE}/secrets");
    let selector = format!(
        "labelSelector={}%3D{}",
        segment(GRANT_LABEL),
        segment(&access.grant)
    );
    let secrets = server
        .list("listing the grant's Secrets", &path, &selector)
        .await?;
    for object in secrets.items {
        let path = secret_path(text(&object, "/metadata/name"));
        delete(server, "Secret", &path, &object).await?;
    }
    let path = account_path(&access.account);
    match server
        .find(&format!("reading ServiceAccount {}", access.account), &path)
        .await?
    {
        Some(object) if is_ours(&object, access) => delete(server, "ServiceAccount", &path, &object).await,
        Some(_) => Err(ClusterError::Unsound(format!(
            "ServiceAccount {GRANTS_NAMESPACE}/{} is not the grant's: a cluster administrator must delete it",
            access.account
        ))),
        None => Ok(()),
    }
}

async fn delete(server: &Server, kind: &str, path: &str, object: &Value) -> Result<()> {
    let (name, uid) = (text(object, "/metadata/name"), text(object, "/metadata/uid"));
    server
        .delete(&format!("deleting {kind} {name}"), path, uid)
        .await?;
    let until = Instant::now() + PATIENCE;
    loop {
        let found = server
            .find(&format!("waiting for {kind} {name} to be gone"), path)
            .await?;
        // A namesake made meanwhile is another object.
        let Some(found) = found.filter(|found| text(found, "/metadata/uid") == uid) else {
            return Ok(());
        };
        if Instant::now() >= until {
            return Err(ClusterError::Unsound(still_there(kind, name, &found)));
        }
        sleep(AGAIN).await;
    }
}

/// What keeps a deleted object: a token bound to it lives on with it.
fn still_there(kind: &str, name: &str, found: &Value) -> String {
    let finalizers = found.pointer("/metadata/finalizers").and_then(Value::as_array);
    let held: Vec<&str> = finalizers
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if held.is_empty() {
        format!("{kind} {name} was deleted and is still there")
    } else {
        format!(
            "{kind} {name} was deleted and is held by finalizer {}",
            held.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_finalizer_is_named() {
        let held = json!({"metadata": {"finalizers": ["example.org/keep"]}});
        assert!(still_there("Secret", "s", &held).ends_with("held by finalizer example.org/keep"));
        assert!(still_there("Secret", "s", &json!({})).ends_with("is still there"));
    }
}
