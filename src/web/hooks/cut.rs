//! A long `EventList` cut into several while it comes, each an `EventList` of whole events: what is held of a body of
//! hundreds of megabytes is a part of it. Where it is cut depends on its bytes alone, so that the same body sent again
//! comes in the same parts.

use crate::audit::split::{CUT, Split, split};
use bytes::Bytes;

/// About how long a part is. No commit grows with its batch.
pub const PART: usize = 2 << 20;
/// The longest event that is held whole; API servers cut theirs at 8 MiB as they are told to. Of a longer one the
/// beginning is kept, as of anything that cannot be read.
const EVENT: usize = 16 << 20;
/// How parts after the first begin.
const HEAD: &[u8] = br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":["#;
/// Deeper than this nobody's event is followed.
const DEEPEST: usize = 1024;

/// Cuts what is fed to it.
#[derive(Debug, Default)]
pub struct Cutter {
    held: Vec<u8>,
    /// Looked at again when there is more than this.
    looked: usize,
    passing: Passing,
}

/// What is not held.
#[derive(Debug, Default)]
enum Passing {
    /// Everything is.
    #[default]
    Nothing,
    /// The rest of an event that is too long.
    Event(End),
    /// Whatever still comes: it cannot be followed.
    Rest,
}

impl Cutter {
    /// One that has room for so many bytes.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        Self {
            held: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes more of the body.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        if let Passing::Event(end) = &mut self.passing {
            match end.find(bytes) {
                Found::Not => return,
                Found::Lost => self.passing = Passing::Rest,
                Found::At(at) => {
                    bytes = &bytes[at..];
                    self.go_on();
                }
            }
        }
        if !matches!(self.passing, Passing::Rest) {
            self.held.extend_from_slice(bytes);
        }
    }

    /// A part, where there is more than one of them.
    pub fn cut(&mut self) -> Option<Bytes> {
        if self.held.len() <= self.looked.max(PART) {
            return None;
        }
        let found = split(&self.held);
        let is_cut = found.broken.as_ref().is_none_or(|(_, why)| *why == CUT);
        if !is_cut {
            return Some(self.rest_is_lost());
        }
        let is = |range: &Option<std::ops::Range<usize>>, text: &[u8]| {
            range
                .as_ref()
                .is_some_and(|range| &self.held[range.clone()] == text)
        };
        let says_what = is(&found.kind, br#""EventList""#) && is(&found.api_version, br#""audit.k8s.io/v1""#);
        if says_what && let Some((end, next)) = place(&found, &self.held) {
            let rest = self.held.split_off(next);
            self.held.truncate(end);
            self.held.extend_from_slice(b"]}");
            let part = std::mem::replace(&mut self.held, HEAD.to_vec());
            self.held.extend_from_slice(&rest);
            self.looked = 0;
            return Some(part.into());
        }
        self.looked = self.held.len() + PART / 2;
        if self.held.len() <= EVENT {
            return None;
        }
        match found.broken {
            Some((at, _)) if says_what && found.items.is_empty() && begins_items(&self.held[..at]) => {
                let mut end = End::default();
                let start = end.find(&self.held[at..]);
                let part = std::mem::take(&mut self.held);
                self.looked = 0;
                self.passing = match start {
                    Found::Not => Passing::Event(end),
                    // It was followed to its end, or it cannot be.
                    Found::Lost | Found::At(_) => Passing::Rest,
                };
                Some(part.into())
            }
            _ => Some(self.rest_is_lost()),
        }
    }

    /// What is left when the body is over.
    pub fn last(self) -> Option<Bytes> {
        let rest = self.held;
        (!rest.is_empty()).then(|| rest.into())
    }

    /// Behind an event that was too long comes a comma, or the list's end.
    fn go_on(&mut self) {
        self.passing = Passing::Nothing;
        self.held = HEAD.to_vec();
        // An event of no content stands for the one that was passed, so that what follows reads as it is.
        self.held.extend_from_slice(b"null");
    }

    /// What is held goes as it is: the intake finds out what is wrong with it and keeps its beginning.
    fn rest_is_lost(&mut self) -> Bytes {
        self.passing = Passing::Rest;
        std::mem::take(&mut self.held).into()
    }
}

/// Where the first part ends and the next begins: before the event with which it would be too long. That one may still
/// be coming.
fn place(found: &Split, held: &[u8]) -> Option<(usize, usize)> {
    let (first, last) = (found.items.first()?.start, found.items.last()?.end);
    let coming = found.broken.as_ref().map(|(at, _)| *at);
    let coming = coming.filter(|at| held.get(last..*at).is_some_and(|gap| gap.trim_ascii() == b","));
    let coming = coming.map(|at| (at, held.len()));
    let starts = found
        .items
        .iter()
        .map(|item| (item.start, item.end))
        .chain(coming);
    let (start, _) = starts.skip(1).find(|(_, end)| end - first > PART)?;
    let end = found
        .items
        .iter()
        .take_while(|item| item.start < start)
        .last()?
        .end;
    Some((end, start))
}

/// Whether the list's items begin right behind `head`.
fn begins_items(head: &[u8]) -> bool {
    let before = |head: &[u8], what: &[u8]| head.trim_ascii_end().strip_suffix(what).map(<[u8]>::to_vec);
    before(head, b"[")
        .and_then(|head| before(&head, b":"))
        .is_some_and(|head| head.trim_ascii_end().ends_with(b"\"items\""))
}

/// The end of a value that is passed over.
#[derive(Debug, Default)]
struct End {
    open: Vec<u8>,
    quoted: bool,
    escaped: bool,
    begun: bool,
}

enum Found {
    /// Not yet.
    Not,
    /// Just behind it.
    At(usize),
    /// Its brackets do not match.
    Lost,
}

impl End {
    fn find(&mut self, bytes: &[u8]) -> Found {
        for (at, byte) in bytes.iter().enumerate() {
            if self.quoted {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.quoted = false,
                    _ => continue,
                }
                if !self.quoted && self.open.is_empty() {
                    return Found::At(at + 1);
                }
                continue;
            }
            match byte {
                b'"' => self.quoted = true,
                b'{' => self.open.push(b'}'),
                b'[' => self.open.push(b']'),
                b'}' | b']' if self.open.is_empty() && self.begun => return Found::At(at),
                b'}' | b']' => {
                    if self.open.pop() != Some(*byte) {
                        return Found::Lost;
                    }
                    if self.open.is_empty() {
                        return Found::At(at + 1);
                    }
                }
                b',' if self.open.is_empty() => return if self.begun { Found::At(at) } else { Found::Lost },
                _ => {}
            }
            self.begun = true;
            if self.open.len() > DEEPEST {
                return Found::Lost;
            }
        }
        Found::Not
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// What comes out of `body`, fed in pieces of these lengths again and again.
    fn parts(body: &[u8], pieces: &[usize]) -> Vec<Bytes> {
        let (mut cutter, mut out, mut rest) = (Cutter::default(), vec![], body);
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            cutter.feed(now);
            while let Some(part) = cutter.cut() {
                out.push(part);
            }
            rest = later;
        }
        out.extend(cutter.last());
        out
    }

    fn event(n: usize, pad: usize) -> String {
        format!(
            "{{\"auditID\":\"{n}\",\"pad\":\"[{{\\\\\\\"{}\"}}",
            "x".repeat(pad)
        )
    }

    fn list(events: &[String]) -> Vec<u8> {
        let items = events.join(" , ");
        format!("{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{{}},\"items\":[{items}]}}").into()
    }

    fn ids(parts: &[Bytes]) -> Vec<String> {
        let mut ids = vec![];
        for part in parts {
            let list: Value = serde_json::from_slice(part).unwrap();
            assert_eq!(list["kind"], "EventList");
            let items = list["items"].as_array().unwrap().iter();
            ids.extend(items.filter_map(|event| event["auditID"].as_str().map(str::to_owned)));
        }
        ids
    }

    #[test]
    fn what_is_short_stays_as_it_came() {
        for body in [list(&[event(1, 10)]), b"no list".to_vec(), b"{\"kind\":".to_vec()] {
            assert_eq!(parts(&body, &[7]), [body]);
        }
        assert_eq!(parts(b"", &[1]), Vec::<Bytes>::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn every_event_comes_once_and_in_the_same_parts_however_the_body_comes(
            pads in proptest::collection::vec(0usize..900_000, 1..24),
            pieces in proptest::collection::vec(1usize..300_000, 1..6),
        ) {
            let events: Vec<_> = pads.iter().enumerate().map(|(n, pad)| event(n, *pad)).collect();
            let body = list(&events);
            let whole = parts(&body, &[body.len()]);
            let all: Vec<_> = (0..events.len()).map(|n| n.to_string()).collect();
            prop_assert_eq!(ids(&whole), all);
            prop_assert!(whole.iter().all(|part| part.len() <= PART + 900_100));
            prop_assert_eq!(whole, parts(&body, &pieces));
        }
    }

    #[test]
    fn of_an_event_that_is_too_long_the_beginning_is_handed_on_and_what_follows_is_read() {
        let events = [
            event(1, 10),
            event(2, EVENT + 3 * PART),
            event(3, 10),
            event(4, PART),
            event(5, 10),
        ];
        for pieces in [&[100_000][..], &[65_536, 1]] {
            let parts = parts(&list(&events), pieces);
            let long = parts.iter().position(|part| part.len() > EVENT).unwrap();
            let rest: Vec<_> = [&parts[..long], &parts[long + 1..]].concat();
            assert_eq!(ids(&rest), ["1", "3", "4", "5"]);
            assert!(parts[long].len() < EVENT + PART && split(&parts[long]).broken.is_some());
        }
        // The last of the list, and nothing behind it.
        assert_eq!(ids(&parts(&list(&events[..1]), &[9])), ["1"]);
        let last = parts(&list(&events[..2]), &[100_000]);
        assert_eq!(ids(&[&last[..1], &last[2..]].concat()), ["1"]);
    }

    #[test]
    fn what_cannot_be_followed_is_handed_on_once_and_costs_no_more() {
        let mut body = list(&[event(1, 10), event(2, PART)]);
        let at = body.len() - 2;
        body.splice(at.., *b"}]{");
        body.extend(vec![b'x'; 3 * EVENT]);
        let found = parts(&body, &[100_000]);
        assert!(
            found.iter().map(Bytes::len).sum::<usize>() < EVENT,
            "the rest is not held"
        );
        let bare = parts(&vec![b' '; 3 * EVENT], &[100_000]);
        assert!(bare.iter().map(Bytes::len).sum::<usize>() < EVENT + PART);
    }

    #[test]
    fn a_list_that_says_what_it_is_at_its_end_is_held_as_long_as_can_be() {
        let items: Vec<_> = (0..3).map(|n| event(n, PART / 2)).collect();
        let body = format!(
            "{{\"items\":[{}],\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\"}}",
            items.join(",")
        );
        assert_eq!(parts(body.as_bytes(), &[100_000]), [body]);
    }
}
