//! The page for what the rules do not allow.

use super::pages::{Href, Shell, Text, Words};
use askama::Template;

/// `422`: the rules say no, or the form cannot be read; nothing was done.
#[derive(Debug, Clone, Template)]
#[template(path = "refused.html")]
pub struct RefusedPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// Why not, and what to do.
    pub why: Words,
    /// What was typed and is kept nowhere, to be copied from.
    pub typed: Option<Text>,
    /// The thing it was about.
    pub href: Href,
}
