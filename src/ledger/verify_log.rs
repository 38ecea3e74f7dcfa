//! Checks a log that can be read from its beginning to its end.

use super::checkpoint::SignedCheckpoint;
use super::checks::Checks;
use super::report::Report;
use super::segment;
use super::verify::{Progress, Verifier};

/// Verifies a log from two iterators: its checkpoints by rising size, and its segments with the index
/// in their row by rising index. `progress` is told after each segment.
pub fn verify_log(
    checks: Checks<'_>,
    checkpoints: impl IntoIterator<Item = String>,
    segments: impl IntoIterator<Item = (u64, Vec<u8>)>,
    progress: &mut dyn FnMut(&Progress),
) -> Report {
    let mut verifier = Verifier::new(checks);
    let mut checkpoints = checkpoints.into_iter();
    // Checkpoints are taken until one lies beyond the segment, so that few are held at a time.
    let mut taken = 0;
    for (row, bytes) in segments {
        let end =
            segment::leaves(&bytes).map_or(row, |(first, leaves)| first.saturating_add(leaves.len() as u64));
        while taken <= end
            && let Some(note) = checkpoints.next()
        {
            taken = SignedCheckpoint::parse(&note).map_or(taken, |signed| signed.checkpoint().size);
            verifier.stored_checkpoint(&note);
        }
        progress(&verifier.segment(row, &bytes));
    }
    checkpoints.for_each(|note| verifier.stored_checkpoint(&note));
    verifier.finish()
}
