//! A body read as a stream: bounded as it comes and as it unpacks, and paid for out of one purse of
//! bytes in flight, so that many senders at once cost no more memory than the purse holds.

use axum::body::Body;
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
}

impl Purse {
    /// A purse of so many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(bytes / UNIT)),
        }
    }
}

/// A body that was read to its end. Its room is held until this is dropped.
#[derive(Debug)]
pub struct Taken {
    /// The bytes, unpacked.
    pub bytes: Vec<u8>,
    /// Set when the body said it was packed and is not: `bytes` are then as they came.
    pub broken: bool,
    _room: Room,
}

#[derive(Debug)]
struct Room {
    purse: Purse,
    held: Option<OwnedSemaphorePermit>,
    units: usize,
    until: Instant,
}

impl Room {
    /// Makes sure that `bytes` are paid for.
    async fn for_bytes(&mut self, bytes: usize) -> Result<(), IntakeError> {
        let more = bytes.div_ceil(UNIT).saturating_sub(self.units);
        let Some(more) = u32::try_from(more).ok().filter(|more| *more > 0) else {
            return Ok(());
        };
        let waited = timeout_at(
            self.until,
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

/// Reads `body`, which is `length` bytes long where the sender said so.
///
/// # Errors
/// Too long as sent or unpacked, no room in time, or cut off.
pub async fn take(
    body: Body,
    length: Option<usize>,
    gzip: bool,
    purse: &Purse,
    bounds: Bounds,
) -> Result<Taken, IntakeError> {
    if length.is_some_and(|length| length > bounds.sent) {
        return Err(IntakeError::TooLong);
    }
    let mut room = Room {
        purse: purse.clone(),
        held: None,
        units: 0,
        until: Instant::now() + bounds.room,
    };
    // What is announced is paid for before it is read: two that grow side by side could otherwise
    // wait for each other.
    room.for_bytes(length.unwrap_or(UNIT)).await?;
    let mut raw = vec![];
    let mut unpacking = gzip.then(|| {
        GzDecoder::new(Bounded {
            bytes: vec![],
            bound: bounds.unpacked,
            over: false,
        })
    });
    let mut broken = false;
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| IntakeError::Cut)?;
        if raw.len() + chunk.len() > bounds.sent {
            return Err(IntakeError::TooLong);
        }
        raw.extend_from_slice(&chunk);
        let mut unpacked = 0;
        if let (Some(decoder), false) = (&mut unpacking, broken) {
            broken = decoder.write_all(&chunk).is_err();
            if decoder.get_ref().over {
                return Err(IntakeError::TooLong);
            }
            unpacked = decoder.get_ref().bytes.len();
        }
        room.for_bytes(raw.len() + unpacked).await?;
    }
    let Some(mut decoder) = unpacking else {
        return Ok(Taken {
            bytes: raw,
            broken: false,
            _room: room,
        });
    };
    broken |= decoder.try_finish().is_err();
    if decoder.get_ref().over {
        return Err(IntakeError::TooLong);
    }
    if broken {
        return Ok(Taken {
            bytes: raw,
            broken: true,
            _room: room,
        });
    }
    let bytes = std::mem::take(&mut decoder.get_mut().bytes);
    room.for_bytes(bytes.len()).await?;
    Ok(Taken {
        bytes,
        broken: false,
        _room: room,
    })
}

/// Takes unpacked bytes up to a bound: a few kilobytes can unpack to gigabytes.
struct Bounded {
    bytes: Vec<u8>,
    bound: usize,
    over: bool,
}

impl Write for Bounded {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + buffer.len() > self.bound {
            self.over = true;
            return Err(std::io::Error::other("over the bound"));
        }
        self.bytes.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
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

    async fn taken(bytes: Vec<u8>, gzip: bool) -> Result<Taken, IntakeError> {
        take(Body::from(bytes), None, gzip, &Purse::of(16 << 20), bounds()).await
    }

    #[tokio::test]
    async fn a_packed_body_comes_out_as_it_went_in() {
        let body = b"{\"kind\":\"EventList\"}".repeat(1_000);
        let taken = taken(packed(&body), true).await.unwrap();
        assert_eq!((taken.bytes, taken.broken), (body, false));
    }

    #[tokio::test]
    async fn a_few_bytes_that_unpack_to_many_are_refused() {
        let bomb = packed(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(taken(bomb, true).await.unwrap_err(), IntakeError::TooLong);
    }

    #[tokio::test]
    async fn what_only_says_that_it_is_packed_is_kept_as_it_came() {
        for body in [
            b"not gzip at all".to_vec(),
            packed(b"cut short, as a sender may")[..20].to_vec(),
        ] {
            let taken = taken(body.clone(), true).await.unwrap();
            assert_eq!((taken.bytes, taken.broken), (body, true));
        }
    }

    #[tokio::test]
    async fn a_body_longer_than_any_batch_is_not_read() {
        assert_eq!(
            taken(vec![b'x'; (1 << 20) + 1], false).await.unwrap_err(),
            IntakeError::TooLong
        );
        let announced = take(Body::empty(), Some(2 << 20), false, &Purse::of(1 << 20), bounds()).await;
        assert_eq!(announced.unwrap_err(), IntakeError::TooLong);
    }

    #[tokio::test]
    async fn bytes_in_flight_are_bounded_and_given_back() {
        let purse = Purse::of(1 << 20);
        let read = |purse: Purse| async move {
            take(
                Body::from(vec![b'x'; 700 << 10]),
                Some(700 << 10),
                false,
                &purse,
                bounds(),
            )
            .await
        };
        let first = read(purse.clone()).await.unwrap();
        assert_eq!(read(purse.clone()).await.unwrap_err(), IntakeError::Full);
        drop(first);
        assert!(read(purse).await.is_ok());
    }
}
