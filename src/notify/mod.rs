//! The channels notices go out by. The compliance feed is not here: it is the ledger itself.

pub mod addresses;
pub mod contract;
pub mod mail;
pub mod webhook;

pub use contract::{Channels, DeliveryError, Notifier};
