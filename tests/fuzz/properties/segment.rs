//! Segments: what was sealed is read back, what is read can be written again in one form, and bytes that
//! lie about their length cost no memory.

use breakglass::clock::Time;
use breakglass::domain::entry_kind::EntryKind;
use breakglass::ledger::{
    Archive, Draft, Entry, Frontier, HEADER_LEN, OpenSegment, Seed, Segment, archive, leaf_hash, open, prune,
    seal,
};

/// Where the checksum stands (`ledger::segment`).
const CRC: std::ops::Range<usize> = 24..28;

pub fn holds(data: &[u8]) {
    let _ = open(data);
    archived(data);
    if data.len() > HEADER_LEN {
        let mut fitted = data.to_vec();
        fit(&mut fitted);
        read(&fitted);
    }
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    body(*mode, rest);
    sealed(rest);
}

/// An export of a log that holds what came, and what came as an export: read to its end or refused.
fn archived(data: &[u8]) {
    let written = [
        archive::begin("note"),
        archive::before_segment(7, data),
        data.to_vec(),
    ]
    .concat();
    for bytes in [data, &written] {
        let Ok(mut found) = Archive::open(bytes) else {
            continue;
        };
        let mut total = 0;
        while let Ok(Some((_, segment))) = found.segment() {
            total += segment.len();
        }
        assert!(total <= bytes.len());
    }
    let mut found = Archive::open(written.as_slice()).expect("what was written can be read");
    assert_eq!(
        found.segment().expect("and its segment"),
        Some((7, data.to_vec()))
    );
    assert_eq!(found.segment().expect("and its end"), None);
}

/// Gives bytes the checksum that fits: what somebody with write access would do.
fn fit(bytes: &mut [u8]) {
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[..CRC.start]);
    crc.update(&bytes[CRC.end..]);
    bytes[CRC].copy_from_slice(&crc.sum().to_be_bytes());
}

/// A segment whose body is what came, packed and with every length right.
fn body(count: u8, body: &[u8]) {
    let count = u32::from(count % 8) + 1;
    let Ok(packed) = zstd::bulk::compress(body, 1) else {
        return;
    };
    let mut bytes = b"BGSG\0\0\0\x01\0\0\0\0\0\0\0\x07".to_vec();
    bytes.extend(count.to_be_bytes());
    bytes.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.resize(bytes.len() + count as usize * 32, 0xaa);
    bytes.extend(packed);
    fit(&mut bytes);
    read(&bytes);
}

fn read(bytes: &[u8]) {
    let Ok(found) = open(bytes) else { return };
    for at in 0..found.count() {
        let entry = found.entry(at);
        let line = entry.encode();
        assert_eq!(
            Entry::parse(&line).expect("an entry that was read"),
            entry,
            "entry {at}"
        );
        assert_eq!(entry.leaf(), leaf_hash(&line));
        assert_eq!(found.payload(at).is_some(), found.salt(at).is_some());
    }
    // Written anew without its seed, a segment has one form.
    let first = prune(bytes, |_, _| false).expect("what was read can be written");
    same(&found, &open(&first).expect("what was written can be read"));
    assert_eq!(
        prune(&first, |_, _| false).expect("again"),
        first,
        "two forms of one segment"
    );
    let erased = prune(bytes, |index, _| index % 2 == 0).expect("pruned");
    let erased = open(&erased).expect("what was pruned can be read");
    for at in 0..found.count() {
        assert_eq!(erased.entry(at), found.entry(at), "pruning moved entry {at}");
        assert_eq!(erased.leaf(at), found.leaf(at));
    }
}

fn same(one: &OpenSegment, other: &OpenSegment) {
    assert_eq!((one.first(), one.count()), (other.first(), other.count()));
    for at in 0..one.count() {
        assert_eq!(one.entry(at), other.entry(at));
        assert_eq!(one.payload(at), other.payload(at));
        assert_eq!(one.salt(at), other.salt(at));
        assert_eq!(one.leaf(at), other.leaf(at));
    }
}

/// Entries of what came: parted at line ends, the first byte says the rest of it.
fn sealed(data: &[u8]) {
    let kinds = EntryKind::ALL;
    let drafts: Vec<Draft> = data
        .split(|byte| *byte == b'\n')
        .take(32)
        .map(|part| {
            let seed = part.first().copied().unwrap_or_default();
            Draft {
                kind: kinds[usize::from(seed) % kinds.len()],
                at: time(i64::from(seed) * 1_000_003 - 5_000),
                cluster: (seed % 3 > 0).then(|| format!("cluster-{seed}")),
                request: None,
                grant: None,
                payload: part.to_vec(),
            }
        })
        .collect();
    let mut frontier = Frontier::new();
    let Segment { bytes, leaves, .. } =
        seal(&mut frontier, Seed::random(), time(7), &drafts).expect("drafts that fit");
    let found = open(&bytes).expect("what was sealed can be read");
    assert_eq!(frontier.size(), drafts.len() as u64);
    for (at, draft) in (0..).zip(&drafts) {
        let entry = found.entry(at);
        assert_eq!(entry.kind(), Some(draft.kind));
        assert_eq!(entry.cluster, draft.cluster.as_deref());
        assert_eq!(entry.happened_at, draft.at.timestamp_millis());
        assert_eq!(found.payload(at), Some(draft.payload.as_slice()));
        assert_eq!(entry.leaf(), leaves[at as usize]);
    }
    // One byte altered is found, wherever it stands.
    let mut altered = bytes;
    let at = data.len() % altered.len();
    altered[at] ^= data.first().copied().unwrap_or(1).max(1);
    assert!(open(&altered).is_err(), "byte {at} was altered and nobody saw");
}

fn time(ms: i64) -> Time {
    Time::from_timestamp_millis(1_780_000_000_000 + ms).expect("a time that can be")
}
