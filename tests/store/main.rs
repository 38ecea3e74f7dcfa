//! Every engine of the store is held to one contract: the cases of `suite` know nothing but
//! [`breakglass::store::Store`]. What only one engine promises is in the file of its name.

use breakglass::{clock, config, domain, ids};

#[expect(
    dead_code,
    reason = "shared with the tests of the domain, which use more of it"
)]
#[path = "../../src/domain/fixture.rs"]
mod fixture;
mod jobs;
mod ledger;
mod look_ups;
mod postgres;
mod questions;
mod server;
mod sqlite;
mod suite;
mod unheard;
mod wire;
mod writes;
