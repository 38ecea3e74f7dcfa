//! What people and API servers talk to over HTTP.
