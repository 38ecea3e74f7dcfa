//! What must hold of a parser whatever bytes come: one file a target, each with one function `holds` that
//! panics where something does not. The fuzzer (`../../../fuzz`) and `cargo test` run the same functions.

pub mod audit;
pub mod config;
pub mod drift;
pub mod figures;
pub mod import;
pub mod note;
pub mod proof;
pub mod segment;
pub mod web;
pub mod yaml;
