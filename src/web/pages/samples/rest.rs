//! Sample pages: everything else, and the list of all.

use super::*;

impl Sample {
    // --- the rest ---

    pub(super) fn others(&self) -> Vec<(&'static str, String)> {
        let refusals = [
            ("refused-groups", SignInRefusal::GroupsOverage),
            ("refused-no-role", SignInRefusal::NoRole),
            (
                "refused-claim",
                SignInRefusal::ClaimMissing(self.t("employee_id")),
            ),
            ("refused-not-fresh", SignInRefusal::NotFresh),
            ("refused-other-person", SignInRefusal::OtherPerson),
            (
                "refused-provider",
                SignInRefusal::Provider(self.prose("access_denied: the user said no")),
            ),
            ("refused-stale", SignInRefusal::Stale),
        ];
        let mut pages: Vec<(&'static str, String)> = refusals
            .into_iter()
            .map(|(name, why)| {
                let page = SignInRefusedPage {
                    shell: self.out_shell("Not signed in"),
                    why,
                    sign_in: Href::path("/sign-in"),
                    request_id: self.t("0193f2a0-77aa"),
                };
                (name, html(&page))
            })
            .collect();
        pages.push((
            "signed-out",
            html(&SignedOutPage {
                shell: self.out_shell("Sign in"),
                sign_in: Href::path("/sign-in?to=%2Frequests"),
                provider: self.t("the company sign-in"),
                why: Some(self.t("Your session is over: nothing was done for 30 min.")),
            }),
        ));
        pages.push((
            "not-found",
            html(&NotFoundPage {
                shell: self.shell("Not found", None),
            }),
        ));
        pages.push((
            "forbidden",
            html(&ForbiddenPage {
                shell: self.shell("Not for you", None),
                why: self.say(
                    "Only compliance may let a debt go, and nobody who asked for or approved the access.",
                ),
            }),
        ));
        pages.push((
            "conflict",
            html(&ConflictPage {
                shell: self.shell("Too late", None),
                what: Words::from(self.second())
                    .and(" withdrew the request ")
                    .at(self.when(-2))
                    .and("."),
                href: Href::path("/requests/1"),
            }),
        ));
        for (name, unchanged) in [("error", true), ("error-unsure", false)] {
            pages.push((
                name,
                html(&ErrorPage {
                    shell: self.live_shell("That did not work", None),
                    what: self.t("The ledger could not be written, so nothing may change."),
                    request_id: self.t("0193f2a0-77aa"),
                    unchanged,
                }),
            ));
        }
        let zones = ["UTC", "Europe/Berlin", "America/New_York"];
        pages.push((
            "zone",
            html(&ZonePage {
                shell: self.shell("Zone", None),
                zones: zones
                    .iter()
                    .map(|zone| Choice::new(*zone, *zone, false))
                    .collect(),
            }),
        ));
        pages
    }

    /// Every page in every state, by name.
    pub fn all(&self) -> Vec<(&'static str, String)> {
        let nobody = Preview {
            verdict: Verdict::Nobody,
            approvers: vec![],
            reasons: vec![Reason {
                allows: false,
                words: self.say("Every approver is in team payments, as you are."),
            }],
            overlaps: vec![],
        };
        let at_once = Preview {
            verdict: Verdict::AtOnce,
            approvers: vec![],
            reasons: vec![],
            overlaps: vec![],
        };
        let mut form_nobody = self.form(false);
        form_nobody.preview = nobody;
        let mut pages = vec![
            ("start", html(&self.start())),
            ("start-empty", html(&self.start_empty())),
            ("start-alarm", html(&self.start_alarm())),
            ("form", html(&self.form(false))),
            ("form-new", html(&self.form_new())),
            ("form-errors", html(&self.form(true))),
            ("form-nobody", html(&form_nobody)),
            ("requests", html(&self.requests_list(false))),
            ("requests-empty", html(&self.requests_list(true))),
            ("approvals", html(&self.approvals(false))),
            ("approvals-empty", html(&self.approvals(true))),
            ("feed", html(&self.feed(false))),
            ("feed-empty", html(&self.feed(true))),
            ("sla", html(&self.sla(false))),
            ("sla-empty", html(&self.sla(true))),
            ("ledger", html(&self.ledger(true))),
            ("ledger-whole", html(&self.ledger(false))),
            ("ledger-entry", html(&self.ledger_entry(false))),
            ("ledger-entry-erased", html(&self.ledger_entry(true))),
            ("clusters", html(&self.clusters(false))),
            ("clusters-empty", html(&self.clusters(true))),
            ("policy", html(&self.policy(None))),
            ("policy-yes", html(&self.policy(Some(at_once)))),
            ("policy-no", html(&self.policy(Some(self.preview_refused())))),
        ];
        pages.extend(self.requests());
        pages.extend(self.reveals());
        pages.extend(self.grants());
        pages.extend(self.follow_ups());
        pages.extend(self.others());
        pages
    }
}
