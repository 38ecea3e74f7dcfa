//! Pure rules: what may happen, decided without IO. No async, SQL, HTTP or Kubernetes client here.

pub mod action;
pub mod canonical;
pub mod counted;
pub mod counting;
pub mod deadline;
pub mod entry_kind;
pub mod finding;
#[cfg(test)]
pub(crate) mod fixture;
pub mod follow_up;
pub mod grant;
pub mod job;
pub mod notice;
pub mod object;
pub mod person;
pub mod policy;
pub mod request;
pub mod review;
#[cfg(test)]
mod tests;
pub mod transition;
