//! The pages: each answers one question in its headline and proves it underneath. A page is a typed
//! struct beside its template; handlers fill the struct, templates decide nothing but words.
//!
//! Nothing here asks the clock or the store. Foreign text is [`Text`], addresses are [`Href`],
//! times are [`When`]: these three make what others typed harmless. The `|safe` filter stands only
//! where our own code made the markup.

pub mod approvals;
pub mod chart;
pub mod clusters;
pub mod feed;
pub mod follow_up;
pub mod grant;
pub mod ledger;
pub mod parts;
pub mod plain;
pub mod policy;
pub mod request;
pub mod request_form;
pub mod requests;
pub mod reveal;
pub mod shell;
pub mod sla;
pub mod start;
pub mod step_up;
mod text;
mod when;

#[cfg(test)]
mod samples;

pub use crate::domain::counted::count;
pub use parts::{
    Badge, Card, Choice, Column, DeadlineBar, Diff, DiffLine, Facts, Figure, Filter, Look, Note, Pager,
    PersonRef, Piece, Reason, Svg, Table, TableRow, Timeline, TimelineItem, Words,
};
pub use shell::{Alarm, LiveBar, LivePhase, Place, Shell, Signed};
pub use text::{Href, Text};
pub use when::{Shown, When, lasting, rough};
