//! What people and API servers talk to over HTTP.

pub mod pages;
