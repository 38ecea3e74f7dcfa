//! The sign-in adapter against a real provider, honest and misbehaving.
//!
//! Needs `BREAKGLASS_SIGNIN`, the address of a running test provider:
//! `node tests/world/signin.mjs --dir DIR --control` prints it. With `--tls-key` and `--tls-cert` there,
//! `BREAKGLASS_SIGNIN_CA` names the PEM file of the authority that made the certificate.

mod approval;
mod sign_in;
mod step_up;
mod tampering;
mod world;
