//! `breakglass` lends time-boxed, elevated access to Kubernetes in an emergency, records what is
//! done with it, and brings git up to date afterwards. ARCHITECTURE.md walks one emergency through
//! these modules.

pub mod audit;
pub mod broker;
pub mod causes;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod cores;
pub mod domain;
pub mod drift;
pub mod drill;
pub mod forge;
pub mod identity;
pub mod ids;
pub mod import;
pub mod ledger;
pub mod notify;
pub mod store;
pub mod verify;
pub mod web;
pub mod witness;
pub mod worker;
