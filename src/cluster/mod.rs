//! The adapter to a Kubernetes cluster.
