//! Before and after of what a grant touched, and its way back into git. Pure.
//!
//! The way of a change: [`touched::drift`] compares what the grant touched before and after and
//! says what each action becomes; [`plan::plan`] finds each object in the configured YAML files
//! ([`locate`]), edits it in place ([`edit`]) and lets an edit through only when another parser
//! reads exactly the expected tree ([`prove`]). Whatever cannot be edited surely becomes a
//! [`ManualItem`]; no edit is ever a guess. After the merge [`converge::converged`] compares the
//! live object with the document in git.
//!
//! Kustomize overlays and Helm values join at [`locate`] (where an object comes from) and at
//! [`plan`] (which file an edit lands in); until then their files are named and left alone.

pub mod converge;
mod defaults;
pub mod diff;
pub mod edit;
pub mod inverse;
mod judge;
pub mod list_keys;
pub mod locate;
pub mod normalise;
pub mod object;
pub mod path;
pub mod plan;
pub mod prove;
pub mod quantity;
pub mod read;
pub mod replay;
mod requested;
pub mod secret_like;
pub mod touched;
mod written;

pub use converge::{Mismatch, converged};
pub use diff::{Change, diff};
pub use inverse::{Inverse, inverse};
pub use object::{Gvk, ManualItem, ObjectRef, Refusal};
pub use path::{Path, Step};
pub use plan::{FileEdit, GitFile, Plan, Row, Rules, plan};
pub use touched::{Drift, EditAction, Note, ObjectEdit, Observed, Touched, Write, drift};
