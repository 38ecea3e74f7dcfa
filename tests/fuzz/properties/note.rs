//! Checkpoints, keys, entries and bundles: one text, one meaning. What is read writes the same bytes again,
//! and nothing verifies that the key's holder did not sign.

use breakglass::ledger::{Bundle, Checkpoint, Entry, SignedCheckpoint, Signer, VerifierKey};

pub fn holds(data: &[u8]) {
    if let Ok(entry) = Entry::parse(data) {
        assert_eq!(entry.encode(), data, "an entry has one form");
    }
    if let Ok(bundle) = Bundle::parse(data) {
        let again = Bundle::parse(bundle.to_json().as_bytes()).expect("what was read can be read again");
        assert_eq!(again, bundle);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text, "a key has one form");
    }
    if let Ok(note) = SignedCheckpoint::parse(text) {
        read(text, &note);
    }
    altered(data);
}

fn signer() -> Signer {
    Signer::from_seed("ledger.example/one", [9; 32]).expect("a name that can be")
}

fn read(text: &str, note: &SignedCheckpoint) {
    assert_eq!(note.text(), text);
    assert!(
        text.starts_with(&note.checkpoint().body()),
        "what it says is what stands there"
    );
    let signer = signer();
    if note.verify(&[signer.verifier_key()]).is_ok() {
        // Ed25519 signs one text in one way: what verifies was signed, extension lines aside.
        let own = signer.sign(note.checkpoint()).expect("of this log");
        let signature = own.text().rsplit_once("\n\n").expect("a note").1.trim_end();
        let extended = text.matches('\n').count() > own.text().matches('\n').count();
        assert!(
            extended || text.contains(signature),
            "a signature that the key did not make"
        );
    }
}

/// A good note with a piece of it replaced by what came: the body as it was, or it does not verify.
fn altered(data: &[u8]) {
    let [size, at, cut, put @ ..] = data else { return };
    let signer = signer();
    let checkpoint = Checkpoint {
        origin: signer.name().to_owned(),
        size: u64::from(*size) << (size % 56),
        root: [*size; 32],
    };
    let good = signer.sign(&checkpoint).expect("of this log");
    let good = good.text();
    let mut bytes = good.as_bytes().to_vec();
    let from = usize::from(*at) % bytes.len();
    let to = (from + usize::from(*cut % 8)).min(bytes.len());
    bytes.splice(from..to, put.iter().copied().take(80));
    let Ok(text) = String::from_utf8(bytes) else {
        return;
    };
    if let Ok(note) = SignedCheckpoint::parse(&text)
        && note.verify(&[signer.verifier_key()]).is_ok()
    {
        assert_eq!(*note.checkpoint(), checkpoint, "another checkpoint verifies");
        assert!(text.starts_with(&checkpoint.body()), "{text}");
    }
}
