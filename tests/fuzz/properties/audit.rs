//! Audit: every event that came is kept, counted or quarantined, never lost; no secret of an unmistakable form
//! gets through; the same bytes are the same record; and what is kept is bounded by what came.

use breakglass::audit::{Accounts, Intake, KnownGrant, digest_batch, scrub, split};
use breakglass::clock::Time;
use serde_json::Value;

/// Longer batches tell nothing new.
const LONGEST: usize = 256 << 10;
/// A token of a form that is known wherever it stands; the fuzzer is given it and puts it everywhere.
const SECRET: &str = "ghp_SecretSecretSecret12345";
const JTI: &str = "7d0a7c9e-4b5d-4c6f-9a57-0f3a1f6f2b11";

pub fn holds(data: &[u8]) {
    if data.len() > LONGEST {
        return;
    }
    let found = digest(data);
    nothing_lost(data, &found);
    no_secret(&found);
    bounded(data, &found);
    let again = digest(data);
    assert_eq!(found.kept, again.kept, "the same bytes, another record");
    assert_eq!(found.quarantined, again.quarantined);
    // One event alone is what it is in a batch.
    if let Ok(text) = std::str::from_utf8(data) {
        let (clean, _) = scrub(text);
        assert!(!shows(&clean), "scrubbed text shows the secret: {clean}");
    }
}

fn digest(data: &[u8]) -> Intake {
    let known = KnownGrant {
        grant: "01890000-0000-7000-8000-000000000001".parse().expect("an id"),
        credentials: vec![JTI.to_owned()],
        own: vec![],
    };
    let accounts = Accounts {
        broker: "system:serviceaccount:breakglass:breakglass".to_owned(),
        grants: [("bg-1".to_owned(), known)].into(),
        ..Accounts::default()
    };
    digest_batch("prod", data, &accounts, Time::UNIX_EPOCH)
}

fn nothing_lost(data: &[u8], found: &Intake) {
    let split = split(data);
    let total = usize::try_from(found.counted_others.total).expect("a count");
    let seen = found.kept.len() + total + found.quarantined.len();
    let came = split.items.len() + usize::from(split.broken.is_some());
    // A body that is no list of events is quarantined in one piece.
    let refused = seen == 1 && found.quarantined.len() == 1;
    assert!(refused || seen == came, "{came} came, {seen} are accounted for");
    assert!(seen > 0 || came == 0);
    for range in &split.items {
        assert!(range.start < range.end && range.end <= data.len());
    }
    assert!(
        split.items.windows(2).all(|two| two[0].end < two[1].start),
        "items overlap"
    );
    for piece in &found.quarantined {
        assert!(usize::try_from(piece.len).is_ok_and(|len| len <= data.len()) && !piece.reason.is_empty());
    }
}

/// The secret, where it begins a word: glued to other letters it is another word that nobody knows.
fn shows(text: &str) -> bool {
    text.match_indices(SECRET).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn no_secret(found: &Intake) {
    let clean = |what: &str, text: &str| assert!(!shows(text), "{what} shows the secret: {text}");
    for action in &found.kept {
        let event: Value = serde_json::from_slice(&action.event).expect("stored as JSON");
        strings(&event, &mut |text| clean("an event", text));
        clean("the row", &serde_json::to_string(action).expect("JSON"));
        clean("the sentence", &action.words.text);
        clean("the address", &action.uri);
    }
    for alarm in &found.alarms {
        clean("an alarm", &alarm.words);
        let event: Value = serde_json::from_slice(&alarm.event).unwrap_or_default();
        strings(&event, &mut |text| clean("an alarm's event", text));
    }
    for bypass in &found.bypasses {
        clean("a bypass", &serde_json::to_string(bypass).expect("JSON"));
        let event: Value = serde_json::from_slice(&bypass.event).expect("stored as JSON");
        strings(&event, &mut |text| clean("a bypass's event", text));
    }
    for piece in &found.quarantined {
        clean("a quarantine's reason", &piece.reason);
        clean("the quarantine", &String::from_utf8_lossy(&piece.raw));
    }
}

fn strings(value: &Value, look: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => look(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, look)),
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            look(key);
            strings(value, look);
        }),
        _ => {}
    }
}

fn bounded(data: &[u8], found: &Intake) {
    // Redaction marks and words take room of their own; a short event may grow, a long one hardly.
    let kept: usize = found.kept.iter().map(|action| action.event.len()).sum();
    let events = found.kept.len();
    assert!(
        kept <= 8 * data.len() + 4_096 * events,
        "{} became {kept}",
        data.len()
    );
    let quarantined: usize = found.quarantined.iter().map(|piece| piece.raw.len()).sum();
    assert!(
        quarantined <= 8 * data.len() + 4_096,
        "{} became {quarantined}",
        data.len()
    );
    for action in &found.kept {
        assert!(action.words.text.len() <= 4 * data.len() + 4_096);
    }
}
