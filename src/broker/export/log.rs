//! The export of the whole log: its newest checkpoint and every segment, as they are stored.

use crate::broker::{Broker, Result};
use crate::domain::person::Person;
use crate::domain::transition::About;
use crate::ledger::archive;
use crate::store::StoreError;
use futures::stream::{self, Stream, StreamExt as _};
use std::sync::Arc;

impl Broker {
    /// The export of the whole log up to its present head, read by `person`: its bytes, a segment at a time, however
    /// long the log is. A segment that is gone is left out, for the verifier to name.
    ///
    /// # Errors
    /// The store's; or the reading cannot be entered.
    pub async fn export_log(
        &self,
        person: &Person,
    ) -> Result<impl Stream<Item = std::result::Result<Vec<u8>, StoreError>> + Send + use<>> {
        self.note_read(person, "export of the whole log", About::default())
            .await?;
        let head = self.store.head().await?;
        let begin = archive::begin(&head.checkpoint);
        let store = Arc::clone(&self.store);
        let segments = stream::try_unfold(0, move |next| {
            let store = Arc::clone(&store);
            async move {
                if next >= head.size {
                    return Ok(None);
                }
                let found = store.segments(next, 1).await?;
                // What was committed since is not signed by this head.
                let Some(segment) = found.into_iter().next().filter(|one| one.first < head.size) else {
                    return Ok(None);
                };
                let mut bytes = archive::before_segment(segment.first, &segment.bytes);
                bytes.extend(&segment.bytes);
                let end = segment.first + u64::from(segment.count);
                Ok(Some((bytes, end.max(segment.first + 1))))
            }
        });
        Ok(stream::once(std::future::ready(Ok(begin))).chain(segments))
    }
}
