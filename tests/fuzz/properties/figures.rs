//! The figures of an API server: the same however the page comes in pieces, and none that it does not show.

use breakglass::cluster::Scan;

pub fn holds(data: &[u8]) {
    let scanned = |piece: usize| {
        let mut scan = Scan::default();
        data.chunks(piece).for_each(|piece| scan.take(piece));
        scan.done()
    };
    let whole = scanned(data.len().max(1));
    assert_eq!(scanned(1), whole);
    assert_eq!(scanned(7), whole);
    let text = String::from_utf8_lossy(data);
    let Some(counters) = whole else { return };
    assert!(counters.started_ms >= 0 && counters.audited < 1 << 53 && counters.given_up < 1 << 53);
    for name in ["process_start_time_seconds ", "apiserver_audit_event_total "] {
        assert!(text.contains(name), "a figure from nowhere: {counters:?}");
    }
    if counters.given_up > 0 {
        assert!(
            text.contains("apiserver_audit_error_total{plugin=\""),
            "{counters:?}"
        );
    }
}
