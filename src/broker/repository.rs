//! The configured repositories: which one a grant's cluster is described in, and the files it holds.

use super::{Broker, BrokerError, Result};
use crate::config::Repository;
use crate::domain::grant::Grant;
use crate::drift::{GitFile, Rules};
use crate::forge::Repo;

/// The directory rules of a repository.
pub(super) fn rules_of(repository: &Repository, cluster: &str) -> Rules {
    let paths: Vec<_> = repository
        .paths
        .iter()
        .filter(|path| path.cluster == cluster)
        .collect();
    Rules {
        default_namespaces: paths
            .iter()
            .filter_map(|path| Some((path.path.clone(), path.default_namespace.clone()?)))
            .collect(),
        new_files_in: paths.first().map(|path| path.path.clone()).unwrap_or_default(),
    }
}

impl Broker {
    /// The first repository that deploys to the grant's cluster.
    pub(super) fn repository_for(&self, grant: &Grant) -> Option<(String, Repository)> {
        self.config
            .forge
            .repositories
            .iter()
            .find(|(_, repository)| repository.paths.iter().any(|path| path.cluster == grant.cluster))
            .map(|(name, repository)| (name.clone(), repository.clone()))
    }

    /// Every YAML file of the repository's configured directories, at `commit` or the base branch's head.
    pub(super) async fn git_files(
        &self,
        repository: &Repository,
        commit: Option<&str>,
    ) -> Result<Vec<GitFile>> {
        let repo = repo_of(repository);
        let at = match commit {
            Some(commit) => commit.to_owned(),
            None => self.forge.head(&repo, &repository.base_branch).await?.sha,
        };
        let mut files = vec![];
        for path in &repository.paths {
            for file in self.forge.list_files(&repo, &path.path, &at).await? {
                let yaml = [".yaml", ".yml"]
                    .iter()
                    .any(|end| file.to_ascii_lowercase().ends_with(end));
                if !yaml || files.iter().any(|known: &GitFile| known.path == file) {
                    continue;
                }
                let bytes = self.forge.read_file(&repo, &file, &at).await?;
                let Some(bytes) = bytes else { continue };
                let text = String::from_utf8(bytes).map_err(|_| {
                    BrokerError::Refused(format!("{file} in {} is not UTF-8", repository.repository))
                })?;
                files.push(GitFile { path: file, text });
            }
        }
        Ok(files)
    }

    /// The repository of that name.
    pub(super) fn repository(&self, name: &str) -> Result<(Repo, Repository)> {
        let repository = self.config.forge.repositories.get(name).ok_or_else(|| {
            BrokerError::Refused(format!("repository {name} is not in the configuration any more"))
        })?;
        Ok((repo_of(repository), repository.clone()))
    }
}

/// The forge's name for a configured repository.
pub(super) fn repo_of(repository: &Repository) -> Repo {
    // The configuration was refused at start if this is not `owner/name`.
    let (owner, name) = repository.owner_and_name().unwrap_or_default();
    Repo {
        owner: owner.to_owned(),
        name: name.to_owned(),
        id: None,
    }
}
