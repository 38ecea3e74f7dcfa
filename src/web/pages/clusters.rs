//! Clusters: can we still see?

use super::{Badge, Facts, Note, Shell, Text, count};
use askama::Template;

/// `GET /clusters`.
#[derive(Debug, Clone, Template)]
#[template(path = "clusters.html")]
pub struct ClustersPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// The clusters, those that need a look first.
    pub clusters: Vec<ClusterView>,
}

/// One cluster as the broker sees it.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// Its name.
    pub name: Text,
    /// Whether everything is as it must be.
    pub well: bool,
    /// Its state in a word.
    pub badge: Badge,
    /// Reachable, audit delay, last canary, policy coverage, self-heal paused.
    pub facts: Facts,
    /// What is wrong and what it means for requests.
    pub notes: Vec<Note>,
    /// Its API servers, one by one.
    pub servers: Vec<ServerView>,
}

/// One API server: are its canaries back, is all of its audit here?
#[derive(Debug, Clone)]
pub struct ServerView {
    /// Its name; nothing where it is the cluster's only one.
    pub name: Option<Text>,
    /// Last canary, delay, misses, events counted and lost, what its audit policy keeps.
    pub facts: Facts,
    /// Lines that its audit policy lacks.
    pub lines: Option<Text>,
}

impl ClustersPage {
    /// The answer in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        let blind = self.clusters.iter().filter(|cluster| !cluster.well).count();
        match (self.clusters.len(), blind) {
            (0, _) => "No cluster is configured.".to_owned(),
            (1, 0) => "We see the cluster.".to_owned(),
            (all, 0) => format!("We see all {all} clusters."),
            (all, blind) => format!(
                "{blind} of {} a look.",
                count(all, "cluster needs", "clusters need")
            ),
        }
    }
}
