//! Requests: every request and grant, newest first.

use super::{Filter, Pager, Shell, Table, Words};
use askama::Template;

/// `GET /requests`.
#[derive(Debug, Clone, Template)]
#[template(path = "requests.html")]
pub struct RequestsPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// How many are alive now: pending requests and grants that are not dead.
    pub alive: usize,
    /// Whether the reader may ask for access.
    pub may_ask: bool,
    /// The filters, as they are set.
    pub filters: Vec<Filter>,
    /// Where older ones are, when not all are listed.
    pub older: Option<Words>,
    /// The requests: state, who asks for what, where, when.
    pub table: Table,
    /// The way through the list.
    pub pager: Pager,
}
