//! Lines of imported logs: each event that is found is one that the intake reads, and nothing is passed over in
//! silence.

use breakglass::audit::import::read_line;
use breakglass::audit::parse;

pub fn holds(data: &[u8]) {
    let found = read_line(data);
    for event in &found.events {
        assert!(
            parse(&event.event).is_ok(),
            "an event that is none: {:?}",
            String::from_utf8_lossy(&event.event)
        );
    }
    let said = found.events.len() as u64 + found.others + found.unread.len() as u64;
    let is_empty = data.trim_ascii().is_empty();
    assert!(!is_empty || said == 0, "something was found in nothing");
    // What holds no list says what it is, or why it is not read.
    let holds_lists = [&b"vents"[..], b"ecords", b"items"]
        .iter()
        .any(|name| data.windows(name.len()).any(|piece| piece == *name) || data.contains(&b'\\'));
    assert!(is_empty || holds_lists || said > 0, "a line was passed over");
    // Again is the same.
    assert_eq!(found, read_line(data));
    // An event as it lies there, on a line of its own, is itself.
    for event in found.events.iter().take(4) {
        let again = read_line(&event.event);
        assert_eq!(again.events.len(), 1);
        assert_eq!(again.events[0].event, event.event);
    }
}
