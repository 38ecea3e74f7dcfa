//! A broker whose operator had it altered: it leaves events out of the record and counts them as come, so that its own
//! books agree. For the test of what finds that. Compiled only with the feature `failpoints`.

use crate::audit::Intake;

/// The batch without each event of a grant that holds the words of `FAILPOINTS="audit.drop=return(WORDS)"`.
pub(super) fn without_dropped(mut intake: Intake) -> Intake {
    if let Some(words) = dropped() {
        let holds = |event: &[u8]| String::from_utf8_lossy(event).contains(&words);
        intake.kept.retain(|action| !holds(&action.event));
    }
    intake
}

fn dropped() -> Option<String> {
    fail::fail_point!("audit.drop", |words: Option<String>| words);
    None
}
