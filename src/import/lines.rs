//! A file, line by line: packed or plain, of any length.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Chain, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

/// The longest line that is read, in bytes: an event may hold a body of some megabytes.
const LONGEST: usize = 64 << 20;
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Where lines come from.
pub(super) struct Source {
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    read: Rc<Cell<u64>>,
    length: Option<u64>,
}

/// What comes next.
pub(super) enum Next<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// A line that is not held: it was passed over.
    TooLong,
    /// Nothing.
    End,
}

impl Source {
    /// The file of that name; standard input for `-`.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        if path == Path::new("-") {
            return Self::of(std::io::stdin(), None);
        }
        let file = File::open(path)?;
        let length = file.metadata()?;
        let length = length.is_file().then_some(length.len());
        Self::of(file, length)
    }

    fn of(from: impl Read + 'static, length: Option<u64>) -> std::io::Result<Self> {
        let read = Rc::new(Cell::new(0));
        let mut from = Counted {
            from,
            read: Rc::clone(&read),
        };
        let mut start = vec![0; MAGIC.len()];
        let mut filled = 0;
        while filled < start.len() {
            match from.read(&mut start[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        start.truncate(filled);
        let packed = start == MAGIC;
        let whole: Chain<Cursor<Vec<u8>>, _> = Cursor::new(start).chain(from);
        let reader: Box<dyn BufRead> = if packed {
            Box::new(BufReader::with_capacity(
                1 << 16,
                flate2::read::MultiGzDecoder::new(whole),
            ))
        } else {
            Box::new(BufReader::with_capacity(1 << 16, whole))
        };
        Ok(Self {
            reader,
            line: vec![],
            read,
            length,
        })
    }

    /// The next line.
    pub(super) fn next(&mut self) -> std::io::Result<Next<'_>> {
        self.line.clear();
        let mut too_long = false;
        let mut any = false;
        loop {
            let bytes = match self.reader.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            if bytes.is_empty() {
                break;
            }
            any = true;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + piece.len() > LONGEST {
                too_long = true;
                self.line = vec![];
            } else if !too_long {
                self.line.extend_from_slice(piece);
            }
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        Ok(match (any, too_long) {
            (false, _) => Next::End,
            (true, true) => Next::TooLong,
            (true, false) => Next::Line(&self.line),
        })
    }

    /// How much of it was read, in per cent, where its length is known.
    pub(super) fn part(&self) -> Option<u64> {
        let length = self.length.filter(|length| *length > 0)?;
        Some((self.read.get().saturating_mul(100) / length).min(100))
    }
}

struct Counted<R> {
    from: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn lines(bytes: Vec<u8>) -> Vec<Option<Vec<u8>>> {
        let length = bytes.len() as u64;
        let mut source = Source::of(Cursor::new(bytes), Some(length)).unwrap();
        let mut all = vec![];
        loop {
            match source.next().unwrap() {
                Next::Line(line) => all.push(Some(line.to_vec())),
                Next::TooLong => all.push(None),
                Next::End => break,
            }
        }
        assert!(length == 0 || source.part() == Some(100));
        all
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lines_come_whole_whether_packed_or_plain() {
        let text = format!("one\n{}\n\nlast", "x".repeat(200_000));
        let expected: Vec<_> = text
            .split('\n')
            .map(|line| Some(line.as_bytes().to_vec()))
            .collect();
        assert_eq!(lines(text.clone().into_bytes()), expected);
        // Rotated files may be packed piece by piece.
        let pieces = [packed(&text.as_bytes()[..100]), packed(&text.as_bytes()[100..])].concat();
        assert_eq!(lines(pieces), expected);
        for short in ["", "\n", "x"] {
            assert_eq!(
                lines(short.as_bytes().to_vec()).len(),
                usize::from(!short.is_empty())
            );
        }
    }

    #[test]
    fn a_line_that_never_ends_costs_itself_and_no_memory() {
        let text = [vec![b'x'; LONGEST + 1], b"\nnext\n".to_vec()].concat();
        assert_eq!(lines(packed(&text)), [None, Some(b"next".to_vec())]);
    }
}
