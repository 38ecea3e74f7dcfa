//! The channels notices go out by.
