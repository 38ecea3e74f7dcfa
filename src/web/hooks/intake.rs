//! A body read as a stream: bounded as it comes and as it unpacks, handed on in parts, and paid for out of one purse of
//! bytes in flight, so that many senders at once cost no more memory than the purse holds.

use super::cut::{Cutter, PART};
use axum::body::{Body, BodyDataStream};
use bytes::{Buf, Bytes};
use flate2::write::GzDecoder;
use futures::StreamExt;
use http::HeaderMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// What one permit stands for.
const UNIT: usize = 64 << 10;
/// How much is unpacked at a time: a thousand times as much may come out.
const UNPACKED_AT_ONCE: usize = 1 << 10;

/// Why a body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// More bytes than any batch has.
    #[error("the body is longer than is taken")]
    TooLong,
    /// No room for it in time.
    #[error("too much is in flight")]
    Full,
    /// The sender went away, or was too slow.
    #[error("the body did not come to its end")]
    Cut,
}

/// The value of a header that was sent once. Of several, two readers could believe different ones (a
/// proxy the first, we the last), so none counts.
pub fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The bounds of a body.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes as they come.
    pub sent: usize,
    /// Bytes once unpacked.
    pub unpacked: usize,
    /// How long to wait for room.
    pub room: Duration,
}

/// Bytes in flight.
#[derive(Debug, Clone)]
pub struct Purse {
    permits: Arc<Semaphore>,
    units: usize,
}

impl Purse {
    /// A purse of so many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        let units = bytes / UNIT;
        Self {
            permits: Arc::new(Semaphore::new(units)),
            units,
        }
    }

    /// Waits for room for `bytes`, for all of it where they are more than it holds.
    pub async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(UNIT).clamp(1, self.units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Arc::clone(&self.permits).acquire_many_owned(units).await.ok()
    }
}

#[derive(Debug)]
struct Room {
    purse: Purse,
    held: Option<OwnedSemaphorePermit>,
    units: usize,
    patience: Duration,
}

impl Room {
    /// Makes sure that `bytes` are paid for.
    async fn for_bytes(&mut self, bytes: usize) -> Result<(), IntakeError> {
        let more = bytes.div_ceil(UNIT).saturating_sub(self.units);
        let Some(more) = u32::try_from(more).ok().filter(|more| *more > 0) else {
            return Ok(());
        };
        let waited = timeout_at(
            Instant::now() + self.patience,
            Arc::clone(&self.purse.permits).acquire_many_owned(more),
        )
        .await;
        let permit = waited
            .map_err(|_| IntakeError::Full)?
            .map_err(|_| IntakeError::Full)?;
        self.units += more as usize;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }
}

impl Room {
    fn of(purse: &Purse, bounds: &Bounds) -> Self {
        Self {
            purse: purse.clone(),
            held: None,
            units: 0,
            patience: bounds.room,
        }
    }
}

/// A body that was read to its end, as it came. Its room is held until this is dropped.
#[derive(Debug)]
pub struct Taken {
    /// The bytes.
    pub bytes: Vec<u8>,
    _room: Room,
}

/// Reads `body` whole, which is `length` bytes long where the sender said so.
///
/// # Errors
/// Too long, no room in time, or cut off.
pub async fn take(
    body: Body,
    length: Option<usize>,
    purse: &Purse,
    bounds: Bounds,
) -> Result<Taken, IntakeError> {
    if length.is_some_and(|length| length > bounds.sent) {
        return Err(IntakeError::TooLong);
    }
    let mut room = Room::of(purse, &bounds);
    room.for_bytes(length.unwrap_or(UNIT)).await?;
    let mut bytes = vec![];
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| IntakeError::Cut)?;
        if bytes.len() + chunk.len() > bounds.sent {
            return Err(IntakeError::TooLong);
        }
        bytes.extend_from_slice(&chunk);
        room.for_bytes(bytes.len()).await?;
    }
    Ok(Taken { bytes, _room: room })
}

/// A body that is being read. Its room is held until this is dropped.
#[derive(Debug)]
pub struct Reader {
    stream: BodyDataStream,
    bounds: Bounds,
    room: Room,
    /// What came and was not looked at.
    chunk: Bytes,
    sent: usize,
    unpacking: Option<GzDecoder<Vec<u8>>>,
    unpacked: usize,
    /// As it came, as long as nothing of it was handed on: it may only say that it is packed.
    raw: Option<Vec<u8>>,
    /// Set when the body said it was packed and is not.
    pub broken: bool,
    cutter: Cutter,
    handed: bool,
    over: bool,
}

impl Reader {
    /// Begins to read `body`, which is `length` bytes long where the sender said so.
    ///
    /// # Errors
    /// It says itself that it is too long, or there is no room in time.
    pub async fn begin(
        body: Body,
        length: Option<usize>,
        gzip: bool,
        purse: &Purse,
        bounds: Bounds,
    ) -> Result<Self, IntakeError> {
        if length.is_some_and(|length| length > bounds.sent) {
            return Err(IntakeError::TooLong);
        }
        let mut room = Room::of(purse, &bounds);
        // As much as is held of any body is paid for before it is read: two that grow side by side could
        // otherwise wait for each other.
        let most = 2 * PART;
        let first = length
            .filter(|_| !gzip)
            .map_or(most, |length| length.clamp(UNIT, most));
        room.for_bytes(first.min(purse.units * UNIT)).await?;
        Ok(Self {
            stream: body.into_data_stream(),
            bounds,
            room,
            chunk: Bytes::new(),
            sent: 0,
            unpacking: gzip.then(|| GzDecoder::new(vec![])),
            unpacked: 0,
            raw: gzip.then(Vec::new),
            broken: false,
            // Paid for above.
            cutter: Cutter::with_room(length.filter(|_| !gzip).map_or(0, |_| first)),
            handed: false,
            over: false,
        })
    }

    /// The next part; `None` behind the last one.
    ///
    /// # Errors
    /// Too long as sent or unpacked, no room in time, or cut off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, IntakeError> {
        loop {
            if let Some(part) = self.cutter.cut() {
                (self.raw, self.handed) = (None, true);
                return Ok(Some(part));
            }
            if self.over {
                // Nothing at all is something that cannot be read.
                let nothing = (!self.handed).then(Bytes::new);
                self.handed = true;
                return Ok(std::mem::take(&mut self.cutter).last().or(nothing));
            }
            if !self.chunk.is_empty() {
                self.look()?;
                self.room
                    .for_bytes(self.cutter.held().min(self.room.purse.units * UNIT))
                    .await?;
                continue;
            }
            match self.stream.next().await {
                Some(chunk) => self.chunk = chunk.map_err(|_| IntakeError::Cut)?,
                None => self.end(),
            }
            self.sent += self.chunk.len();
            if self.sent > self.bounds.sent {
                return Err(IntakeError::TooLong);
            }
        }
    }

    /// Looks at more of what came.
    fn look(&mut self) -> Result<(), IntakeError> {
        let Some(decoder) = &mut self.unpacking else {
            self.cutter.feed(&self.chunk);
            self.chunk.clear();
            return Ok(());
        };
        let piece = &self.chunk[..self.chunk.len().min(UNPACKED_AT_ONCE)];
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(piece);
        }
        if self.raw.as_ref().is_some_and(|raw| raw.len() > PART) {
            self.raw = None;
        }
        if !self.broken {
            self.broken = decoder.write_all(piece).is_err();
            let out = std::mem::take(decoder.get_mut());
            self.unpacked += out.len();
            self.cutter.feed(&out);
        }
        self.chunk.advance(piece.len());
        if self.unpacked > self.bounds.unpacked {
            return Err(IntakeError::TooLong);
        }
        Ok(())
    }

    fn end(&mut self) {
        self.over = true;
        let Some(decoder) = &mut self.unpacking else {
            return;
        };
        self.broken |= decoder.try_finish().is_err();
        let out = std::mem::take(decoder.get_mut());
        self.cutter.feed(&out);
        // What was unpacked so far is all there is of a body whose parts were handed on.
        if self.broken
            && let Some(raw) = self.raw.take()
        {
            self.cutter = Cutter::default();
            self.cutter.feed(&raw);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            sent: 1 << 20,
            unpacked: 2 << 20,
            room: Duration::from_millis(50),
        }
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn read(body: Vec<u8>, gzip: bool, bounds: Bounds) -> Result<(Vec<Bytes>, bool), IntakeError> {
        let mut reader = Reader::begin(Body::from(body), None, gzip, &Purse::of(16 << 20), bounds).await?;
        let mut parts = vec![];
        while let Some(part) = reader.next().await? {
            parts.push(part);
        }
        Ok((parts, reader.broken))
    }

    #[tokio::test]
    async fn a_packed_body_comes_out_as_it_went_in() {
        let body = b"{\"kind\":\"EventList\"}".repeat(1_000);
        let (parts, broken) = read(packed(&body), true, bounds()).await.unwrap();
        assert_eq!((parts, broken), (vec![Bytes::from(body)], false));
    }

    #[tokio::test]
    async fn a_few_bytes_that_unpack_to_many_are_refused() {
        let bomb = packed(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(
            read(bomb, true, bounds()).await.unwrap_err(),
            IntakeError::TooLong
        );
    }

    #[tokio::test]
    async fn what_only_says_that_it_is_packed_is_kept_as_it_came() {
        for body in [
            b"not gzip at all".to_vec(),
            packed(b"cut short, as a sender may")[..20].to_vec(),
        ] {
            let (parts, broken) = read(body.clone(), true, bounds()).await.unwrap();
            assert_eq!((parts, broken), (vec![Bytes::from(body)], true));
        }
    }

    #[tokio::test]
    async fn a_body_longer_than_any_batch_is_not_read() {
        let long = vec![b'x'; (1 << 20) + 1];
        assert_eq!(
            read(long, false, bounds()).await.unwrap_err(),
            IntakeError::TooLong
        );
        let announced =
            Reader::begin(Body::empty(), Some(2 << 20), false, &Purse::of(1 << 20), bounds()).await;
        assert_eq!(announced.unwrap_err(), IntakeError::TooLong);
    }

    #[tokio::test]
    async fn of_a_long_body_a_part_is_held_at_a_time() {
        let event = format!("{{\"pad\":\"{}\"}}", "x".repeat(100_000));
        let events = vec![event; 300].join(",");
        let body =
            format!("{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":[{events}]}}");
        let chunks: Vec<std::io::Result<Bytes>> = body
            .as_bytes()
            .chunks(50_000)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        let body = Body::from_stream(futures::stream::iter(chunks));
        let bounds = Bounds {
            sent: 64 << 20,
            ..bounds()
        };
        let purse = Purse::of(16 << 20);
        let mut reader = Reader::begin(body, None, false, &purse, bounds).await.unwrap();
        let mut parts = 0;
        while let Some(part) = reader.next().await.unwrap() {
            assert!(part.len() <= PART + 100_100);
            assert!(
                reader.room.units * UNIT <= 2 * PART,
                "{} units are paid for",
                reader.room.units
            );
            parts += 1;
        }
        assert!(parts >= 14, "{parts} parts");
    }

    #[tokio::test]
    async fn bytes_in_flight_are_bounded_and_given_back() {
        let purse = Purse::of(1 << 20);
        let begin = |purse: Purse| async move {
            Reader::begin(Body::empty(), Some(700 << 10), false, &purse, bounds()).await
        };
        let first = begin(purse.clone()).await.unwrap();
        assert_eq!(begin(purse.clone()).await.unwrap_err(), IntakeError::Full);
        drop(first);
        assert!(begin(purse).await.is_ok());
    }
}
