//! What a reader of the log is sent: proofs, tiles, bundles, notes in other text, lines of witnesses. Each has one
//! form, and only what was made of the very tree proves anything of it.

use breakglass::clock::Time;
use breakglass::domain::entry_kind::EntryKind;
use breakglass::ledger::tile::{WIDTH, entry_bundle, hash_tile, read_entry_bundle, read_hash_tile};
use breakglass::ledger::{
    Checkpoint, Checks, Draft, Frontier, Hash, Integrity, Prover, Seed, SignedCheckpoint, Signer, TilePath,
    Verifier, WitnessKey, leaf_hash, node_hash, notes_in, open, seal, verify_consistency, verify_inclusion,
};

pub fn holds(data: &[u8]) {
    made_up(data);
    altered(data);
    tiles(data);
    sent(data);
    if let Ok(text) = std::str::from_utf8(data) {
        texts(text);
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// A proof with everything in it chosen by who sent it: it holds where the definition says so, and nowhere else.
fn made_up(data: &[u8]) {
    let Some((numbers, rest)) = data.split_first_chunk::<16>() else {
        return;
    };
    let (hashes, _) = rest.as_chunks::<32>();
    let [one, two, proof @ ..] = hashes else { return };
    let (index, size) = (number(&numbers[..8]), number(&numbers[8..]));
    let included = verify_inclusion(index, size, one, proof, two).is_ok();
    let root = (index < size).then(|| root_over(index, size, one, proof));
    assert_eq!(included, root.flatten() == Some(*two), "{index} in {size}");
    let extends = verify_consistency(index, one, size, two, proof).is_ok();
    let roots = match index {
        _ if index > size => None,
        0 => proof.is_empty().then(|| (Frontier::new().root(), *two)),
        _ if index == size => proof.is_empty().then_some((*two, *two)),
        _ => roots_over(index, size, true, proof, one),
    };
    assert_eq!(extends, roots == Some((*one, *two)), "from {index} to {size}");
}

/// The root by RFC 9162, 2.1.3.1, read backwards.
fn root_over(index: u64, size: u64, leaf: &Hash, proof: &[Hash]) -> Option<Hash> {
    if size == 1 {
        return proof.is_empty().then_some(*leaf);
    }
    let (other, rest) = proof.split_last()?;
    let split = 1 << (size - 1).ilog2();
    Some(if index < split {
        node_hash(&root_over(index, split, leaf, rest)?, other)
    } else {
        node_hash(other, &root_over(index - split, size - split, leaf, rest)?)
    })
}

/// Both roots by RFC 9162, 2.1.4.1, read backwards.
fn roots_over(old: u64, size: u64, known: bool, proof: &[Hash], old_root: &Hash) -> Option<(Hash, Hash)> {
    if old == size {
        return match proof {
            [] if known => Some((*old_root, *old_root)),
            [hash] if !known => Some((*hash, *hash)),
            _ => None,
        };
    }
    let (other, rest) = proof.split_last()?;
    let split = 1 << (size - 1).ilog2();
    Some(if old <= split {
        let (before, after) = roots_over(old, split, known, rest, old_root)?;
        (before, node_hash(&after, other))
    } else {
        let (before, after) = roots_over(old - split, size - split, false, rest, old_root)?;
        (node_hash(other, &before), node_hash(other, &after))
    })
}

/// Good proofs of a small tree, and each with what came put in the place of a part of it.
fn altered(data: &[u8]) {
    let [size, index, old, at, put @ ..] = data else {
        return;
    };
    let size = u64::from(size % 40) + 1;
    let (index, old) = (u64::from(*index) % size, u64::from(*old) % size + 1);
    let leaf = |n: u64| leaf_hash(&n.to_be_bytes());
    let mut prover = Prover::new(size);
    prover.include(index).expect("inside");
    prover.extend_from(old).expect("inside");
    let (mut frontier, mut before) = (Frontier::new(), Frontier::new());
    for n in 0..size {
        prover.leaf(&leaf(n)).expect("one of them");
        frontier.append(&leaf(n));
        if n < old {
            before.append(&leaf(n));
        }
    }
    let proofs = prover.finish().expect("all leaves came");
    let (root, old_root) = (frontier.root(), before.root());
    let (included, extended) = (&proofs.inclusion[&index], &proofs.consistency[&old]);
    verify_inclusion(index, size, &leaf(index), included, &root).expect("a good proof");
    verify_consistency(old, &old_root, size, &root, extended).expect("a good proof");
    for good in [included, extended] {
        let bad = replaced(good, usize::from(*at), put);
        if bad == *good {
            continue;
        }
        let of = verify_inclusion(index, size, &leaf(index), &bad, &root);
        assert!(
            of.is_err() || bad == *included,
            "another proof of {index} in {size}"
        );
        let extends = verify_consistency(old, &old_root, size, &root, &bad);
        assert!(
            extends.is_err() || bad == *extended,
            "another proof from {old} to {size}"
        );
    }
    let other = number(put) % size;
    let of_other = verify_inclusion(other, size, &leaf(index), included, &root);
    assert!(
        of_other.is_err() || other == index,
        "{index} proves to be {other}"
    );
}

fn replaced(good: &[Hash], at: usize, put: &[u8]) -> Vec<Hash> {
    let mut bytes = good.concat();
    let from = at % (bytes.len() + 1);
    let to = (from + put.len().min(40)).min(bytes.len());
    bytes.splice(from..to, put.iter().copied().take(72));
    bytes.as_chunks::<32>().0.to_vec()
}

fn tiles(data: &[u8]) {
    if let Some(hashes) = read_hash_tile(data, data.len() as u64 / 32) {
        assert_eq!(hash_tile(&hashes), data);
    }
    let Some((width, rest)) = data.split_first() else {
        return;
    };
    if let Some(entries) = read_entry_bundle(rest, u64::from(*width)) {
        assert_eq!(entries.len(), usize::from(*width));
        assert_eq!(
            entry_bundle(entries).as_deref(),
            Some(rest),
            "a bundle has one form"
        );
    }
}

/// A log read by its address, with what came put into one of its entries or its leaf hashes on the way.
fn sent(data: &[u8]) {
    let [at, which, put @ ..] = data else { return };
    let draft = |n: u8| Draft {
        kind: EntryKind::AuditEvent,
        at: Time::UNIX_EPOCH,
        cluster: Some(format!("cluster-{n}")),
        request: None,
        grant: None,
        payload: vec![n],
    };
    let mut frontier = Frontier::new();
    let drafts: Vec<Draft> = (0..5).map(draft).collect();
    let sealed = seal(
        &mut frontier,
        Seed::from_bytes([3; 32]),
        Time::UNIX_EPOCH,
        &drafts,
    )
    .expect("five drafts");
    let opened = open(&sealed.bytes).expect("what was sealed");
    let mut entries: Vec<Vec<u8>> = (0..5).map(|n| opened.entry(n).encode()).collect();
    let mut leaves = sealed.leaves.clone();
    let signer = Signer::from_seed("ledger.example/one", [9; 32]).expect("a name that can be");
    let note = signer
        .sign(&Checkpoint::of(signer.name(), &frontier))
        .expect("of this log");
    let whole = |entries: &[Vec<u8>], leaves: &[Hash]| {
        let keys = [signer.verifier_key()];
        let mut verifier = Verifier::new(Checks {
            keys: &keys,
            held: &[],
            approvals: None,
        });
        verifier.stored_checkpoint(note.text());
        verifier.bundle(leaves, entries);
        verifier.finish().integrity() == Integrity::Whole
    };
    assert!(whole(&entries, &leaves), "as it was sent");
    let (good, place) = (entries.clone(), usize::from(*which) % 5);
    if which % 2 == 0 {
        let entry = &mut entries[place];
        let from = usize::from(*at) % entry.len();
        let to = (from + put.len().min(8)).min(entry.len());
        entry.splice(from..to, put.iter().copied().take(64));
        assert!(
            entries == good || !whole(&entries, &leaves),
            "an altered entry is whole"
        );
    } else {
        let mut bytes = [0; 32];
        for (byte, put) in bytes.iter_mut().zip(put) {
            *byte = *put;
        }
        leaves[place] = bytes;
        assert!(
            leaves == sealed.leaves || !whole(&entries, &leaves),
            "an altered leaf is whole"
        );
    }
}

fn texts(text: &str) {
    if let Ok(path) = text.parse::<TilePath>() {
        assert_eq!(path.to_string(), text, "a tile has one path");
        assert!((1..=WIDTH).contains(&path.width));
        let _ = path.is_within(number(text.as_bytes()));
    }
    for note in notes_in(text) {
        // What people quote is found again.
        let lines: Vec<_> = note.lines().map(|line| format!("> {line}")).collect();
        let quoted = lines.join("\n") + "\n";
        assert_eq!(notes_in(&quoted), notes_in(&note), "{note}");
        let _ = SignedCheckpoint::parse(&note);
    }
    for line in text.lines() {
        let Ok(key) = line.parse::<WitnessKey>() else {
            continue;
        };
        assert_eq!(key.to_string(), line, "a key has one form");
        let own = key.own_lines(text);
        assert_eq!(key.own_lines(&own), own);
        assert!(own.lines().all(|line| text.contains(line)));
        for note in notes_in(text) {
            let Ok(note) = SignedCheckpoint::parse(&note) else {
                continue;
            };
            if let Ok(with) = note.with_lines(&own) {
                assert_eq!(with.body(), note.body(), "a witness altered what it was shown");
                let _ = key.verify(&with);
            }
        }
    }
}
