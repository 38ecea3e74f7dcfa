//! The adapter to a Kubernetes cluster.

pub mod manifests;
