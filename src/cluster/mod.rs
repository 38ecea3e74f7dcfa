//! The adapter to a Kubernetes cluster. [`Cluster`] says what the broker asks of one; [`KubeCluster`]
//! does it with a real API server, one behaviour a file. [`manifests`] prints what has to be applied
//! to a cluster before.

pub mod command;
pub mod contract;
pub mod manifests;

mod audit_probe;
mod autoscaler;
mod counters;
mod credential;
mod discovery;
mod first_use;
mod guard;
mod kube;
mod kubeconfig;
mod layout;
mod list_keys;
mod remove;
mod rules;
mod server;
mod watch;

pub use self::counters::Scan;
pub use self::kube::KubeCluster;
pub use self::rules::changeable;
pub use contract::{Access, Cluster, ClusterError, FirstUse, Probe, Sighted, Sighting, Token};
