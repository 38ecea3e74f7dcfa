//! Events that are no grant's: the broker's own, and everybody else's.

use std::ops::Range;

use super::{
    alarm::is_account_token,
    attribute::{self, Lookup},
    clean::Fit,
    intake::View,
    object::Object,
    record::{Intake, Issuance, Other, OwnEvent, Stored},
    scrub,
};
use crate::config::Keep;

impl View<'_> {
    /// An event that is no grant's: kept where the cluster's are, and counted where not.
    pub(super) fn other(&self, keep: Keep, place: Range<usize>, fit: &mut Fit, intake: &mut Intake) {
        let kept = match keep {
            Keep::Everything => true,
            Keep::Changes => self.class.mutates,
            Keep::Grants => false,
        };
        if !kept {
            return intake.count(self.class.class);
        }
        let redacted = fit.to_store(self.raw, self.event);
        let stored = redacted.map_or(Stored::AsItCame(place), Stored::Redacted);
        intake.others.push(Other {
            received_us: self.event.received_us,
            stored,
        });
    }

    pub(super) fn own(&self, lookup: &dyn Lookup, intake: &mut Intake) {
        let event = self.event;
        let Some(object) = Object::of(event, None) else {
            return;
        };
        let account = object.name.clone().unwrap_or_default();
        if *event.verb == *"create" && is_account_token(&object) {
            let credential = attribute::issued_credential(event).map(str::to_owned);
            let known = credential.as_ref().is_some_and(|id| {
                let of = lookup.account(&account);
                let mut ids = of
                    .iter()
                    .flat_map(|of| of.credentials.iter().chain(of.own.iter()));
                ids.any(|known| attribute::bare(known) == id)
            });
            intake.issuances.push(Issuance {
                account,
                credential,
                known,
                level: event.level,
                at_us: event.received_us,
                code: event.code(),
            });
        } else if *event.verb == *"get" && object.name.is_some() {
            intake.own.push(OwnEvent {
                object,
                uri: scrub::uri(&event.uri),
                level: event.level,
                code: event.code(),
                at_us: event.received_us,
                stage_us: event.stage_us,
            });
        }
    }
}
