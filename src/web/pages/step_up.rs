//! The page between a form and the sign-in provider: browsers hold redirects after a form to
//! `form-action` too, so the form is answered by a page of our own that goes on by itself.

use super::{Href, Shell, Text};
use askama::Template;

/// The answer to a form that needs a fresh sign-in.
#[derive(Debug, Clone, Template)]
#[template(path = "step_up.html")]
pub struct StepUpPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// The provider's address, or our own that redirects to it.
    pub to: Href,
    /// What the sign-in is for, e.g. "approve this request".
    pub purpose: Text,
    /// What exactly is signed, when it is an approval: the request's hash.
    pub hash: Option<Text>,
}
