//! Mutations of a corpus: bytes changed, pieces cut, copied, put elsewhere or taken from another file, and
//! words that parsers stumble over. Plain and repeatable; the fuzzer knows better ones.

/// `SplitMix64`: small, and the same everywhere.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, 0 if there is none.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }
}

const WORDS: &[&str] = &[
    "null",
    "true",
    "-1",
    "18446744073709551616",
    "1e999",
    "\"\"",
    "{}",
    "[]",
    "\\u0000",
    "\\ud800",
    "\u{202e}",
    "\u{feff}",
    "\r\n",
    "\n---\n",
    "\n...\n",
    "<<: *a",
    "&a ",
    "*a",
    "!!binary ",
    "|\n  ",
    ">-\n  ",
    "? ",
    "- ",
    "~1",
    "~0",
    "$patch",
    "//",
    "/\\",
    "/..",
    "%2e%2e/",
    "%00",
    "@",
    ";",
    "=",
    "tz=",
    "kind: Secret",
    "ghp_SecretSecretSecret12345",
    "— ",
    "\t",
    "#",
    "'",
    "\"",
    "0x",
    "0755",
    "no",
    "y",
    "~",
    "{{",
    "}}",
    "\u{85}",
    "\u{2028}",
];

/// One file of the corpus with one to six changes.
pub fn mutated(corpus: &[(String, Vec<u8>)], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = corpus[chance.below(corpus.len())].1.clone();
    for _ in 0..=chance.below(6) {
        let at = chance.below(bytes.len() + 1);
        let len = chance.below(16).min(bytes.len() - at);
        match chance.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 if at < bytes.len() => bytes[at] = u8::try_from(chance.below(256)).unwrap_or(0),
            2 => drop(bytes.drain(at..at + len)),
            3 => {
                let piece = bytes[at..at + len].to_vec();
                let to = chance.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            4 => {
                let other = &corpus[chance.below(corpus.len())].1;
                let from = chance.below(other.len() + 1);
                let piece = &other[from..(from + chance.below(64)).min(other.len())];
                bytes.splice(at..at + len, piece.iter().copied());
            }
            5 => bytes.truncate(at.max(bytes.len() / 2)),
            _ => {
                let word = WORDS[chance.below(WORDS.len())];
                bytes.splice(at..at + len.min(4), word.bytes());
            }
        }
    }
    bytes
}
