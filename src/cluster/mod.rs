//! The adapter to a Kubernetes cluster.

pub mod contract;

pub use contract::{
    Access, Cluster, ClusterError, FirstUse, Probe, Token,
};
pub mod manifests;
