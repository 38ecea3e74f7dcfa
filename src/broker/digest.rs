//! A batch read, on the cores and not beside what waits.

use super::record::Known;
use super::window::Claim;
use crate::audit::{self, Intake, Wrapping};
use crate::clock::Time;
use crate::cores;
use bytes::Bytes;
use std::sync::Arc;

/// How a batch came.
#[derive(Clone, Copy)]
pub(super) enum Came<'a> {
    /// Just now, from the API server of this name; empty where it is not said which.
    Now(&'a str),
    /// A moment ago: it is looked at again.
    Before,
    /// From a file, in this wrapping.
    Imported(Wrapping),
}

/// Reads a batch, on a core of its own.
pub(super) async fn digest(
    cluster: &str,
    body: &Bytes,
    known: &Arc<Known>,
    now: Time,
    came: Came<'_>,
    claim: &mut Option<Claim>,
) -> Intake {
    let imported = matches!(came, Came::Imported(_));
    loop {
        let mut own = claim.take();
        let (cluster, body, known) = (cluster.to_owned(), body.clone(), Arc::clone(known));
        let (intake, mut own) = cores::run(move || {
            if let Some(claim) = &mut own {
                claim.begin_again();
            }
            let mut fresh = |event: &[u8]| own.as_mut().map_or(imported, |claim| claim.is_fresh(event));
            let intake = audit::digest_fresh(&cluster, &body, &known.accounts, now, &mut fresh);
            (intake, own)
        })
        .await;
        let again = match &mut own {
            Some(claim) => claim.waits().await,
            None => false,
        };
        *claim = own;
        if again {
            continue;
        }
        #[cfg(feature = "failpoints")]
        let intake = super::doctored::without_dropped(intake);
        return intake;
    }
}
