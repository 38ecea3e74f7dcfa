//! The export of a whole log (`.bgl`): its newest signed checkpoint and every segment, as they are stored. Whoever
//! has it and the public key needs nothing else: that no entry was left out is what the checkpoint signs.
//!
//! ```text
//! "breakglass-log/1\n"
//! length of the checkpoint   u32     all numbers big-endian
//! checkpoint
//! for each segment: where it is stored (the index of its first entry, u64), its length (u32), its bytes
//! ```

use super::checkpoint::MAX_NOTE;
use super::segment::{HEADER_LEN, MAX_BODY, MAX_COUNT};
use std::io::{ErrorKind, Read};

/// How every export of a log begins.
pub const MAGIC: &[u8] = b"breakglass-log/1\n";
/// No segment is longer: incompressible bytes grow by less than 1 in 100.
const LONGEST: usize = HEADER_LEN + 32 * MAX_COUNT + MAX_BODY + MAX_BODY / 100;

/// Why an export of a log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Not one, or one of a version this program does not know.
    #[error("not the export of a log of version 1")]
    Version,
    /// It ends in the middle.
    #[error("it was cut off after {0} segments")]
    CutOff(u64),
    /// A length that no writer gives.
    #[error("what follows {after} segments claims a length of {length} bytes")]
    Length {
        /// How many segments were read before.
        after: u64,
        /// What is claimed.
        length: usize,
    },
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// How an export of a log begins.
#[must_use]
pub fn begin(checkpoint: &str) -> Vec<u8> {
    [MAGIC, &length(checkpoint.len()), checkpoint.as_bytes()].concat()
}

/// What stands before a segment's bytes.
#[must_use]
pub fn before_segment(first: u64, bytes: &[u8]) -> Vec<u8> {
    [&first.to_be_bytes()[..], &length(bytes.len())].concat()
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// The export of a log, read piece by piece: memory holds one segment.
#[derive(Debug)]
pub struct Archive<R> {
    from: R,
    /// The signed checkpoint over all of it.
    pub checkpoint: String,
    segments: u64,
}

impl<R: Read> Archive<R> {
    /// Reads how it begins.
    ///
    /// # Errors
    /// It is not one.
    pub fn open(from: R) -> Result<Self, ArchiveError> {
        let mut archive = Self {
            from,
            checkpoint: String::new(),
            segments: 0,
        };
        let mut magic = [0; MAGIC.len()];
        if !archive.fill(&mut magic)? || magic != MAGIC {
            return Err(ArchiveError::Version);
        }
        let note = archive.piece(MAX_NOTE)?;
        archive.checkpoint = String::from_utf8(note).map_err(|_| ArchiveError::Version)?;
        Ok(archive)
    }

    /// The next segment and where it is stored; `None` at the end.
    ///
    /// # Errors
    /// It was cut off, or a length in it cannot be.
    pub fn segment(&mut self) -> Result<Option<(u64, Vec<u8>)>, ArchiveError> {
        let mut first = [0; 8];
        if !self.fill(&mut first)? {
            return Ok(None);
        }
        let bytes = self.piece(LONGEST)?;
        self.segments += 1;
        Ok(Some((u64::from_be_bytes(first), bytes)))
    }

    fn piece(&mut self, bound: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut length = [0; 4];
        let cut_off = ArchiveError::CutOff(self.segments);
        if !self.fill(&mut length)? {
            return Err(cut_off);
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > bound {
            return Err(ArchiveError::Length {
                after: self.segments,
                length,
            });
        }
        // What is claimed costs no memory before it is there.
        let mut bytes = vec![];
        self.from.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() == length {
            Ok(bytes)
        } else {
            Err(cut_off)
        }
    }

    /// Fills `bytes`; false where nothing follows any more.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.from.read(&mut bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(ArchiveError::CutOff(self.segments)),
                Ok(more) => filled += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::verify::tests::Log;
    use super::*;

    fn written(log: &Log) -> Vec<u8> {
        let mut bytes = begin(log.notes.last().unwrap());
        for (first, segment) in &log.segments {
            bytes.extend(before_segment(*first, segment));
            bytes.extend(segment);
        }
        bytes
    }

    type Found = (String, Vec<(u64, Vec<u8>)>);

    fn read(bytes: &[u8]) -> Result<Found, ArchiveError> {
        let mut archive = Archive::open(bytes)?;
        let mut segments = vec![];
        while let Some(segment) = archive.segment()? {
            segments.push(segment);
        }
        Ok((archive.checkpoint, segments))
    }

    #[test]
    fn what_is_written_is_read_again() {
        let log = Log::of_twenty();
        let (note, segments) = read(&written(&log)).unwrap();
        assert_eq!((&note, &segments), (log.notes.last().unwrap(), &log.segments));
    }

    #[test]
    fn one_that_was_cut_off_is_never_a_shorter_one() {
        let log = Log::of_twenty();
        let bytes = written(&log);
        let ends = |at: usize| {
            let mut end = begin(log.notes.last().unwrap()).len();
            let after = log.segments.iter().map(|(_, segment)| {
                end += 12 + segment.len();
                end
            });
            at == begin(log.notes.last().unwrap()).len() || after.collect::<Vec<_>>().contains(&at)
        };
        for at in 0..bytes.len() {
            assert_eq!(read(&bytes[..at]).is_ok(), ends(at), "cut off at {at}");
        }
        // Where a segment ends the checkpoint tells: see `verify`.
        assert!(matches!(
            read(&bytes[..bytes.len() - 1]),
            Err(ArchiveError::CutOff(4))
        ));
    }

    #[test]
    fn a_length_that_lies_costs_no_memory() {
        let mut bytes = begin("note");
        bytes.extend(before_segment(0, b""));
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(read(&bytes), Err(ArchiveError::Length { after: 0, .. })));
        bytes[at..].copy_from_slice(&(64_u32 << 20).to_be_bytes());
        assert!(matches!(read(&bytes), Err(ArchiveError::CutOff(0))));
        assert!(matches!(read(b"breakglass-log/2\n"), Err(ArchiveError::Version)));
    }
}
