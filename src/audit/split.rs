//! The walk that finds the events in a body.

use memchr::memchr2;
use std::ops::Range;

/// More events than an API server puts into a batch by two orders of magnitude (default 400).
/// What lies beyond is quarantined in one piece, so that a body of `{},{},…` stays cheap.
const MAX_ITEMS: usize = 50_000;

/// Why a body could not be followed that ends too early.
pub const CUT: &str = "the body is cut";

/// Where the events of a body lie.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// One range a list item, in order. An item may still be malformed inside.
    pub items: Vec<Range<usize>>,
    /// The `kind` as written, quotes and all.
    pub kind: Option<Range<usize>>,
    /// The `apiVersion` as written, quotes and all.
    pub api_version: Option<Range<usize>>,
    /// From where the body could no longer be followed, and why.
    pub broken: Option<(usize, &'static str)>,
}

/// Finds the items of an `EventList` by its brackets alone, so that a malformed item costs that
/// item and not its batch. Every `items` array is walked, wherever it stands. Where brackets do
/// not match the walk stops: resuming at something that looks like an event would let a session
/// plant a forged one inside an object it sends.
#[must_use]
pub fn split(body: &[u8]) -> Split {
    let mut split = Split::default();
    let mut walk = Walk { body, at: 0 };
    if let Err(reason) = walk.list(&mut split) {
        split.broken = Some((walk.at.min(body.len()), reason));
    }
    split
}

struct Walk<'a> {
    body: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn list(&mut self, split: &mut Split) -> Result<(), &'static str> {
        self.expect(b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return self.end();
        }
        loop {
            self.blank();
            let key = self.at;
            if self.peek() != Some(b'"') {
                return Err("a key is missing");
            }
            self.value()?;
            let key = key..self.at;
            self.expect(b':')?;
            self.blank();
            let value = self.at;
            match &self.body[key] {
                br#""items""# if self.peek() == Some(b'[') => self.items(split)?,
                name => {
                    self.value()?;
                    match name {
                        br#""kind""# => split.kind = Some(value..self.at),
                        br#""apiVersion""# => split.api_version = Some(value..self.at),
                        _ => {}
                    }
                }
            }
            match self.next() {
                Some(b',') => {}
                Some(b'}') => return self.end(),
                _ => return Err(CUT),
            }
        }
    }

    fn items(&mut self, split: &mut Split) -> Result<(), &'static str> {
        self.expect(b'[')?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blank();
            let from = self.at;
            if split.items.len() >= MAX_ITEMS {
                return Err("too many events in one batch");
            }
            if let Err(reason) = self.value() {
                self.at = from;
                return Err(reason);
            }
            split.items.push(from..self.at);
            match self.next() {
                Some(b',') => {}
                Some(b']') => return Ok(()),
                next => {
                    self.at = split.items.pop().map_or(from, |item| item.start);
                    return Err(next.map_or(CUT, |_| "an item runs into something else"));
                }
            }
        }
    }

    /// Passes one value: a string, brackets with all they hold, or a bare word.
    fn value(&mut self) -> Result<(), &'static str> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.body.get(self.at) {
                None => return Err(CUT),
                Some(b'"') => self.string()?,
                Some(b'{') => {
                    open.push(b'}');
                    self.at += 1;
                }
                Some(b'[') => {
                    open.push(b']');
                    self.at += 1;
                }
                Some(close @ (b'}' | b']')) => {
                    if open.pop() != Some(*close) {
                        return Err("brackets do not match");
                    }
                    self.at += 1;
                }
                Some(b',') if open.is_empty() => return Err("a value is missing"),
                Some(_) if open.is_empty() => {
                    let rest = &self.body[self.at..];
                    let end = rest
                        .iter()
                        .position(|b| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace());
                    self.at += end.ok_or(CUT)?;
                }
                Some(_) => {
                    let rest = &self.body[self.at..];
                    let end = rest
                        .iter()
                        .position(|b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']'));
                    self.at += end.ok_or(CUT)?;
                }
            }
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    fn string(&mut self) -> Result<(), &'static str> {
        self.at += 1;
        loop {
            let rest = self.body.get(self.at..).unwrap_or_default();
            let stop = memchr2(b'"', b'\\', rest).ok_or(CUT)?;
            if rest[stop] == b'"' {
                self.at += stop + 1;
                return Ok(());
            }
            self.at += stop + 2;
        }
    }

    fn end(&mut self) -> Result<(), &'static str> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err("something follows the list"),
        }
    }

    fn blank(&mut self) {
        while self.body.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.blank();
        self.body.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Result<(), &'static str> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err("the body is no list of events")
    }
}
