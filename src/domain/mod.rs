//! Pure rules: what may happen, decided without IO. No async, SQL, HTTP or Kubernetes client here.

pub mod entry_kind;

pub mod review;
