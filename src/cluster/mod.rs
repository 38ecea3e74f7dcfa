//! The adapter to a Kubernetes cluster.

pub mod contract;
pub mod manifests;

pub use contract::{
    Access, Cluster, ClusterError, FirstUse, Probe, Token,
};
