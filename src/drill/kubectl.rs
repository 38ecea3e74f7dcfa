//! The real `kubectl` with the kubeconfig that was shown.

use super::failure::Failure;
use crate::ids::random_bytes;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// No command of a drill takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Finds `kubectl`: the one given, that of `KUBEBUILDER_ASSETS`, or the first in `PATH`.
pub(super) fn find(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    assets
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join("kubectl"))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Failure::Missing(
                "kubectl is neither in KUBEBUILDER_ASSETS nor in PATH: name it with --kubectl".into(),
            )
        })
}

/// What a command said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) good: bool,
    pub(super) out: String,
    pub(super) err: String,
}

/// `kubectl` with one kubeconfig. What it was given lies in a folder that only this user can read and
/// that goes with this value.
#[derive(Debug)]
pub(super) struct Kubectl {
    program: PathBuf,
    config: PathBuf,
    folder: Folder,
}

#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "the drill's folder could not be removed");
        }
    }
}

impl Kubectl {
    /// `kubectl` with the kubeconfig `text`, which lives as long as this value.
    pub(super) fn with_text(program: &Path, text: &str) -> Result<Self, Failure> {
        let folder = folder()?;
        let config = folder.0.join("kubeconfig");
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&config)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| Failure::machine(config.display().to_string(), error))?;
        Ok(Self {
            program: program.to_owned(),
            config,
            folder,
        })
    }

    /// `kubectl` with a kubeconfig file of somebody else's.
    pub(super) fn with_file(program: &Path, config: &Path) -> Result<Self, Failure> {
        Ok(Self {
            program: program.to_owned(),
            config: config.to_owned(),
            folder: folder()?,
        })
    }

    /// Runs `kubectl` with these arguments to its end.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<Said, Failure> {
        let what = format!("kubectl {}", arguments.join(" "));
        let child = Command::new(&self.program)
            .arg("--kubeconfig")
            .arg(&self.config)
            .args(arguments)
            .env_remove("KUBECONFIG")
            .env("KUBECACHEDIR", self.folder.0.join("cache"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, child)
            .await
            .map_err(|_| Failure::Late {
                what: what.clone(),
                seconds: PATIENCE.as_secs(),
                last: "it was still running".into(),
            })?
            .map_err(|error| Failure::machine(what, error))?;
        Ok(Said {
            good: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs `kubectl` where it must succeed; what it printed.
    pub(super) async fn good(&self, arguments: &[&str]) -> Result<String, Failure> {
        let said = self.run(arguments).await?;
        if said.good {
            return Ok(said.out.trim().to_owned());
        }
        Err(Failure::Wrong(format!(
            "kubectl {} failed: {}",
            arguments.join(" "),
            said.err.trim()
        )))
    }
}

fn folder() -> Result<Folder, Failure> {
    let path = std::env::temp_dir().join(format!("breakglass-drill-{}", hex::encode(random_bytes::<8>())));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(|error| Failure::machine(path.display().to_string(), error))?;
    Ok(Folder(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn a_kubeconfig_is_for_this_user_alone_and_goes_with_the_drill() {
        let kubectl = Kubectl::with_text(Path::new("/bin/echo"), "kind: Config").unwrap();
        let path = kubectl.config.clone();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(
            kubectl.good(&["get", "pods"]).await.unwrap(),
            format!("--kubeconfig {} get pods", path.display())
        );
        drop(kubectl);
        assert!(!path.parent().unwrap().exists());
    }

    #[tokio::test]
    async fn a_program_that_fails_or_is_not_there_is_a_failure() {
        let kubectl = Kubectl::with_text(Path::new("/bin/false"), "").unwrap();
        assert!(kubectl.good(&["get"]).await.is_err());
        let none = Kubectl::with_text(Path::new("/nowhere/kubectl"), "").unwrap();
        assert!(matches!(none.run(&["get"]).await, Err(Failure::Machine { .. })));
    }
}
