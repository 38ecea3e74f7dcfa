//! The command that prints what a cluster needs.

use crate::config::command;
use std::path::Path;

/// What has to be applied to a cluster before access to it can be lent, or its audit policy.
/// `cluster` may be left out where there is only one.
///
/// # Errors
/// What is wrong, to be printed as it is.
pub fn manifests(path: &Path, cluster: Option<&str>, audit_policy: bool) -> Result<String, String> {
    let config = command::load(path, false)?;
    if audit_policy {
        return Ok(super::manifests::audit_policy());
    }
    let names: Vec<&str> = config.clusters.keys().map(String::as_str).collect();
    let name = match (cluster, names.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => {
            return Err(format!(
                "error: there are several clusters; choose one with --cluster: {}",
                names.join(", ")
            ));
        }
    };
    super::manifests::manifests(&config, name)
        .map_err(|error| format!("error: {error}; the clusters are {}", names.join(", ")))
}
