//! Every page in every state, with words as they come in an emergency, or hostile ones in their
//! place. Rendered into `pages/` of the target directory, to be looked at.

use super::approvals::ApprovalsPage;
use super::clusters::{ClusterView, ClustersPage};
use super::feed::{FeedEntry, FeedNew, FeedPage};
use super::follow_up::{FollowUpCan, FollowUpPage, FollowUpState, ManualItem, PullRequest};
use super::grant::{
    ActionRow, Counts, GrantActions, GrantCan, GrantHeadline, GrantPage, GrantSide, GrantState,
};
use super::ledger::{LedgerEntryPage, LedgerPage};
use super::plain::{
    ConflictPage, ErrorPage, ForbiddenPage, NotFoundPage, SignInRefusal, SignInRefusedPage, SignedOutPage,
    ZonePage,
};
use super::policy::{PolicyPage, ProfileView, Question};
use super::request::{Decision, RequestPage, RequestState};
use super::request_form::{FormErrors, Preview, RequestForm, RequestFormPage, Verdict};
use super::requests::RequestsPage;
use super::reveal::{RevealFailed, RevealHead, RevealStep, RevealTail};
use super::sla::SlaPage;
use super::start::StartPage;
use super::step_up::StepUpPage;
use super::*;
use crate::clock::Time;
use crate::ids::{FollowUpId, GrantId, ItemId, RequestId};
use askama::Template;
use chrono::TimeDelta;
use chrono_tz::Tz;

/// Where the words of the sample pages come from.
pub struct Sample {
    hostile: Option<String>,
    tz: Tz,
}

const GRANT: &str = "/grants/0193f2a0-0000-7000-8000-000000000001";
const NOW: &str = "2026-11-19T01:33:00Z";

impl Sample {
    /// Pages as they are on an ordinary night, read in Berlin.
    pub fn plain() -> Self {
        Self {
            hostile: None,
            tz: Tz::Europe__Berlin,
        }
    }

    /// The same pages with this in place of every foreign word.
    pub fn hostile(with: &str) -> Self {
        Self {
            hostile: Some(with.to_owned()),
            tz: Tz::UTC,
        }
    }

    fn raw(&self, text: &str) -> String {
        self.hostile.clone().unwrap_or_else(|| text.to_owned())
    }

    fn t(&self, text: &str) -> Text {
        self.raw(text).into()
    }

    fn prose(&self, text: &str) -> Text {
        Text::prose(self.raw(text))
    }

    fn say(&self, text: &str) -> Words {
        Words::say(self.t(text))
    }

    fn person(&self, name: &str, id: &str) -> PersonRef {
        PersonRef::new(self.t(name), self.t(&format!("employee_id {id}")))
    }

    fn engineer(&self) -> PersonRef {
        self.person("on-call engineer", "e-1001")
    }

    fn second(&self) -> PersonRef {
        self.person("second engineer", "e-1002")
    }

    fn approver(&self) -> PersonRef {
        self.person("first approver", "e-2001")
    }

    fn compliance(&self) -> PersonRef {
        self.person("compliance officer", "e-3001")
    }

    fn badge(&self, look: Look, word: &str) -> Badge {
        Badge::new(look, self.t(word))
    }

    fn when(&self, seconds_from_now: i64) -> When {
        let now: Time = NOW.parse().unwrap();
        When {
            at: now + TimeDelta::seconds(seconds_from_now),
            now,
            tz: self.tz,
            shown: Shown::Full,
        }
    }

    fn choice(&self, value: &str, label: &str, chosen: bool) -> Choice {
        Choice::new(self.raw(value), self.t(label), chosen)
    }

    fn shell(&self, title: &str, place: Option<Place>) -> Shell {
        Shell {
            title: self.t(title),
            place,
            person: Some(Signed {
                name: self.t("on-call engineer"),
                team: self.t("payments"),
                csrf: self.raw("csrf-token"),
                places: Place::ALL.to_vec(),
                waiting: 1,
            }),
            livebars: Vec::new(),
            alarms: Vec::new(),
            now: NOW.parse().unwrap(),
            tz: self.tz,
        }
    }

    fn live_shell(&self, title: &str, place: Option<Place>) -> Shell {
        let mut shell = self.shell(title, place);
        shell
            .livebars
            .push(self.live_bar(LivePhase::Active(self.when(2_472))));
        shell
    }

    fn live_bar(&self, phase: LivePhase) -> LiveBar {
        LiveBar {
            href: Href::path(GRANT),
            profile: self.t("payments-admin"),
            cluster: self.t("prod-eu"),
            namespaces: self.t("payments, orders"),
            phase,
        }
    }

    fn out_shell(&self, title: &str) -> Shell {
        Shell {
            person: None,
            ..self.shell(title, None)
        }
    }

    fn card(&self, title: &str, badge: Option<Badge>, detail: Words) -> Card {
        Card {
            href: Href::path("/requests/1"),
            title: self.t(title),
            badge,
            detail,
        }
    }

    // --- start ---

    fn start(&self) -> StartPage {
        StartPage {
            shell: self.live_shell("Start", Some(Place::Start)),
            may_ask: true,
            again: Some((
                Href::path("/requests/new?profile=payments-admin"),
                self.say("payments-admin · prod-eu · 1 h"),
            )),
            mine: vec![self.card(
                "payments-admin on prod-eu: payments, orders",
                Some(self.badge(Look::Live, "active")),
                Words::say("ends ").at(self.when(2_472)),
            )],
            waiting: vec![
                self.card(
                    "second engineer asks for orders-admin on prod-us, 30 min",
                    None,
                    Words::say("since ")
                        .at(self.when(-240))
                        .and(" · 1 of 1 approvals missing"),
                ),
            ],
            owed: vec![
                self.card(
                    "payments/web: 2 objects drifted",
                    Some(self.badge(Look::Wait, "due in 3 h 10 min")),
                    Words::say("pull request ")
                        .strong(self.t("#214"))
                        .and(" waits for a review by somebody else"),
                ),
            ],
            clusters: vec![
                self.badge(Look::Done, "prod-eu"),
                self.badge(Look::Done, "prod-us"),
                self.badge(Look::Wait, "stage: audit 48 s behind"),
            ],
        }
    }

    fn start_empty(&self) -> StartPage {
        StartPage {
            shell: self.shell("Start", Some(Place::Start)),
            may_ask: true,
            again: None,
            mine: vec![],
            waiting: vec![],
            owed: vec![],
            clusters: vec![self.badge(Look::Done, "prod-eu")],
        }
    }

    fn start_alarm(&self) -> StartPage {
        let mut page = StartPage {
            may_ask: false,
            ..self.start_empty()
        };
        page.shell.alarms.push(Alarm {
            words: self.say("payments-admin of on-call engineer on prod-eu cannot be removed: the API server does not answer. Call the cluster's operators; we try again every 5 s."),
            href: Href::path(GRANT),
            since: self.when(-190),
        });
        page.shell
            .livebars
            .push(self.live_bar(LivePhase::Ready(self.when(3_500))));
        page.shell.livebars.push(self.live_bar(LivePhase::Ending));
        page
    }

    // --- request form ---

    fn preview(&self) -> Preview {
        Preview {
            verdict: Verdict::Needs {
                approvals: 1,
                from: self.t("platform-leads"),
                told_by: self.t("mail and the feed"),
            },
            approvers: vec![
                (self.approver(), Some(self.badge(Look::Done, "on call"))),
                (self.person("second approver", "e-2002"), None),
            ],
            reasons: vec![
                Reason {
                    allows: true,
                    words: self.say("You are in team payments, which may use payments-admin."),
                },
                Reason {
                    allows: true,
                    words: self.say("1 h is within the profile's 2 h."),
                },
            ],
            overlaps: vec![self.say("payments-admin on prod-eu, active for 41 min more")],
        }
    }

    fn preview_refused(&self) -> Preview {
        Preview {
            verdict: Verdict::Refused,
            approvers: vec![],
            reasons: vec![
                Reason { allows: true, words: self.say("The cluster prod-us can be seen: audit came back 3 s ago.") },
                Reason {
                    allows: false,
                    words: self.say("The profile orders-admin is for team orders. You are in team payments. Ask somebody of team orders, or use payments-admin."),
                },
            ],
            overlaps: vec![],
        }
    }

    fn form(&self, errors: bool) -> RequestFormPage {
        let preview = if errors {
            self.preview_refused()
        } else {
            self.preview()
        };
        let namespaces = [
            "payments",
            "orders",
            "billing",
            "checkout",
            "fraud",
            "invoices",
            "ledger-export",
            "refunds",
            "search",
            "stock",
            "tax",
            "web-shop-frontend-with-a-long-name",
        ];
        RequestFormPage {
            shell: self.shell("Break the glass", Some(Place::Requests)),
            form: RequestForm {
                extends: errors.then(GrantId::new),
                teams: vec![self.choice("payments", "payments", true), self.choice("orders", "orders", false)],
                clusters: vec![self.choice("prod-eu", "prod-eu", true), self.choice("prod-us", "prod-us", false)],
                profiles: vec![
                    self.choice("payments-admin", "payments-admin", true),
                    self.choice("orders-admin", "orders-admin", false),
                ],
                profile_allows: Some(self.say("change workloads and configuration; exec; no Secrets, no rights")),
                namespaces: namespaces
                    .iter()
                    .enumerate()
                    .map(|(i, name)| self.choice(name, name, i < 2))
                    .collect(),
                namespaces_missing: errors
                    .then(|| self.say("The namespaces of prod-us could not be listed: it does not answer. These are from 02:11.")),
                durations: vec![
                    self.choice("30", "30 min", false),
                    self.choice("60", "1 h", true),
                    self.choice("120", "2 h", false),
                ],
                reason: if errors {
                    self.raw("")
                } else {
                    self.raw("Checkout returns 502 since 02:05; scale web out and raise its memory limit.")
                },
                incident: self.raw("INC-4711"),
                incident_required: errors,
                errors: if errors {
                    FormErrors {
                        team: Some(self.t("Choose the team this is for.")),
                        cluster: Some(self.t("prod-us is not reachable right now.")),
                        profile: Some(self.t("orders-admin is not for team payments.")),
                        namespaces: Some(self.t("Choose at least one namespace.")),
                        duration: Some(self.t("At most 2 h with this profile.")),
                        reason: Some(self.t("Say what is broken and what you are going to do.")),
                        incident: Some(self.t("INC-4711 is closed. Name an open incident.")),
                        whole: None,
                    }
                } else {
                    FormErrors::default()
                },
            },
            preview,
        }
    }

    fn form_new(&self) -> RequestFormPage {
        let mut page = self.form(false);
        page.form.reason = String::new();
        page.form.incident = String::new();
        page.form.teams.truncate(1);
        page.preview = Preview {
            verdict: Verdict::Unknown,
            approvers: vec![],
            reasons: vec![],
            overlaps: vec![],
        };
        page
    }

    // --- request ---

    fn request(&self, state: RequestState, mine: bool, decision: Decision) -> RequestPage {
        RequestPage {
            shell: self.shell("Request", Some(Place::Requests)),
            id: RequestId::new(),
            who: self.second(),
            mine,
            profile: self.t("orders-admin"),
            cluster: self.t("prod-us"),
            namespaces: vec![self.t("orders"), self.t("orders-batch")],
            lasts: TimeDelta::minutes(30),
            team: self.t("orders"),
            team_debt: Some(self.say("1 debt open, none late")),
            reason: self.prose(
                "Orders stuck in “pending” since 01:50.\nRestart the consumer and set its concurrency.",
            ),
            incident: Some(
                Words::default()
                    .link_if_safe(&self.raw("https://tickets.test/INC-4712"), self.t("INC-4712"))
                    .and(" ")
                    .badge(self.badge(Look::Live, "open")),
            ),
            filed: self.when(-240),
            extends: None,
            can_withdraw: mine && matches!(state, RequestState::Pending { .. }),
            state,
            may: vec![
                self.say("read everything but Secrets"),
                self.say("change Deployments, ConfigMaps, HorizontalPodAutoscalers"),
                self.say("exec, port-forward"),
            ],
            may_not: vec![self.say("Secrets, rights, admission, nodes, other namespaces")],
            rules: vec![
                self.t("apps deployments get list watch patch update"),
                self.t("\"\" configmaps get list watch patch update"),
                self.t("\"\" pods/exec pods/portforward create"),
            ],
            rules_digest: self.t("9f2c71ab04d5e6f79f2c71ab04d5e6f79f2c71ab04d5e6f79f2c71ab04d5e6f7"),
            hash: self.t("51d0a2c49be8137751d0a2c49be8137751d0a2c49be8137751d0a2c49be81377"),
            policy: vec![
                Reason {
                    allows: true,
                    words: self.say("Team orders may use orders-admin on prod-us."),
                },
                Reason {
                    allows: true,
                    words: self.say("Audit of prod-us is alive: a canary came back 4 s ago."),
                },
            ],
            overlaps: vec![],
            decision,
            history: Timeline(vec![
                TimelineItem::new(
                    Look::Done,
                    self.when(-240),
                    Words::from(self.second()).and(" asked"),
                ),
                TimelineItem::new(
                    Look::Done,
                    self.when(-238),
                    self.say("first approver and second approver were told by mail"),
                ),
                TimelineItem::next("approved or denied"),
            ]),
        }
    }

    fn pending(&self) -> RequestState {
        RequestState::Pending {
            given: 0,
            needed: 1,
            told: vec![self.approver()],
            lapses: self.when(86_160),
        }
    }

    fn requests(&self) -> Vec<(&'static str, String)> {
        let mine = Decision::Mine {
            durations: vec![
                self.choice("30", "30 min, as asked", true),
                self.choice("15", "15 min", false),
            ],
            typed: String::new(),
            error: None,
        };
        let retry = Decision::Mine {
            durations: vec![self.choice("30", "30 min, as asked", true)],
            typed: self.raw("Use the runbook instead"),
            error: Some(
                self.t("The rules of orders-admin changed since this was asked. It must be asked again."),
            ),
        };
        let not_mine =
            Decision::NotMine(self.say("You approved it already; it needs another person as well."));
        let approved = RequestState::Approved {
            by: vec![self.approver()],
            at: self.when(-100),
            lasts: TimeDelta::minutes(15),
            grant: Href::path(GRANT),
        };
        let denied = RequestState::Denied {
            by: self.approver(),
            at: self.when(-100),
            reason: self.prose("The runbook's restart is enough. Call me if it is not."),
        };
        let mut longer = self.request(self.pending(), false, not_mine);
        longer.extends = Some(Href::path(GRANT));
        longer.namespaces.clear();
        longer.overlaps = vec![self.say("orders-admin on prod-us, active for 12 min more")];
        vec![
            (
                "request-approve",
                html(&self.request(self.pending(), false, mine)),
            ),
            ("request-retry", html(&self.request(self.pending(), false, retry))),
            ("request-not-mine", html(&longer)),
            (
                "request-mine",
                html(&self.request(
                    self.pending(),
                    true,
                    Decision::NotMine(self.say("You asked for it. Somebody else decides.")),
                )),
            ),
            (
                "request-approved",
                html(&self.request(approved.clone(), false, Decision::None)),
            ),
            (
                "request-approved-mine",
                html(&self.request(approved, true, Decision::None)),
            ),
            (
                "request-denied",
                html(&self.request(denied, true, Decision::None)),
            ),
            (
                "request-withdrawn",
                html(&self.request(
                    RequestState::Withdrawn { at: self.when(-60) },
                    false,
                    Decision::None,
                )),
            ),
            (
                "request-lapsed",
                html(&self.request(RequestState::Lapsed { at: self.when(-60) }, true, Decision::None)),
            ),
        ]
    }

    fn requests_list(&self, empty: bool) -> RequestsPage {
        let mut table = Table::new(
            "Requests, newest first",
            &["State", "Who and what", "Where", "Asked"],
            "Nobody has asked for access yet.",
        );
        if !empty {
            let rows = [
                (
                    Look::Live,
                    "active",
                    "on-call engineer: payments-admin",
                    "prod-eu: payments, orders",
                    -1_200,
                ),
                (
                    Look::Wait,
                    "waiting for approval",
                    "second engineer: orders-admin",
                    "prod-us: orders",
                    -240,
                ),
                (
                    Look::Info,
                    "ended",
                    "second engineer: orders-admin",
                    "prod-us: orders",
                    -90_000,
                ),
                (
                    Look::Late,
                    "denied",
                    "second engineer: cluster-reader",
                    "prod-us",
                    -200_000,
                ),
            ];
            for (look, word, what, place, at) in rows {
                let mark = matches!(look, Look::Live | Look::Wait).then_some(look);
                table = table.row(
                    mark,
                    vec![
                        Words::from(self.badge(look, word)),
                        Words::default().link(Href::path("/requests/1"), self.t(what)),
                        self.say(place),
                        Words::from(self.when(at)),
                    ],
                );
            }
        }
        RequestsPage {
            shell: self.shell("Requests", Some(Place::Requests)),
            alive: if empty { 0 } else { 2 },
            may_ask: true,
            filters: if empty { vec![] } else { self.filters() },
            table,
            pager: self.pager(empty),
        }
    }

    fn pager(&self, empty: bool) -> Pager {
        if empty {
            return Pager::default();
        }
        Pager {
            shows: self.t("51 to 100 of 212"),
            newer: Some(Href::path("/requests")),
            older: Some(Href::path("/requests?before=1")),
        }
    }

    fn filters(&self) -> Vec<Filter> {
        let filter = |name, label, values: &[&str]| Filter {
            name,
            label,
            choices: std::iter::once(Choice::new("", "all", true))
                .chain(values.iter().map(|value| self.choice(value, value, false)))
                .collect(),
        };
        vec![
            filter("team", "Team", &["payments", "orders"]),
            filter("cluster", "Cluster", &["prod-eu", "prod-us"]),
            filter("state", "State", &["active", "ended"]),
        ]
    }

    fn approvals(&self, empty: bool) -> ApprovalsPage {
        let mut decided = Table::new(
            "Decided lately",
            &["Decision", "What", "When"],
            "You have decided nothing yet.",
        );
        if !empty {
            decided = decided.row(
                None,
                vec![
                    Words::from(self.badge(Look::Done, "approved")),
                    self.say("on-call engineer: payments-admin on prod-eu, 1 h"),
                    Words::from(self.when(-1_100)),
                ],
            );
        }
        let card = self.card(
            "second engineer asks for orders-admin on prod-us, 30 min",
            Some(self.badge(Look::Wait, "waiting 4 min")),
            self.say("Orders stuck in “pending”; restart the consumer. INC-4712 · lapses in 23 h 56 min"),
        );
        ApprovalsPage {
            shell: self.shell("Approvals", Some(Place::Approvals)),
            waiting: if empty { vec![] } else { vec![card.clone()] },
            not_mine: if empty { vec![] } else { vec![card] },
            decided,
        }
    }

    // --- step up, reveal ---

    fn step_up(&self) -> StepUpPage {
        StepUpPage {
            shell: self.shell("Sign in again", None),
            to: Href::new("https://sign-in.test/authorize?prompt=login&nonce=\"><script>")
                .unwrap_or_else(|| Href::path("/step-up/1")),
            purpose: self.t("approve this request"),
            hash: Some(self.t("51d0a2c49be8137751d0a2c49be8137751d0a2c49be8137751d0a2c49be81377")),
        }
    }

    fn reveal_head(&self) -> String {
        let head = RevealHead {
            shell: self.shell("Your key", Some(Place::Requests)),
            grant: Href::path(GRANT),
            cluster: self.t("prod-eu"),
            bound_seconds: 45,
            usual_seconds: Some(3),
        };
        let steps = [
            (Look::Done, "The Secret of this key exists.", 0),
            (
                Look::Done,
                "The token was issued; its issuance came back through audit.",
                2,
            ),
            (Look::Wait, "Its own first use must come back through audit.", 2),
        ];
        let mut page = html(&head);
        for (look, words, after_seconds) in steps {
            page.push_str(&html(&RevealStep {
                look,
                words: self.say(words),
                after_seconds,
            }));
        }
        page
    }

    /// The end of a reveal that went well.
    pub fn reveal_tail(&self) -> RevealTail {
        RevealTail {
            shell: self.shell("Your key", Some(Place::Requests)),
            grant: Href::path(GRANT),
            kubeconfig: self.raw("apiVersion: v1\nkind: Config\ncurrent-context: breakglass-prod-eu-7f3a\nclusters:\n- name: prod-eu\n  cluster:\n    server: https://prod-eu.clusters.test:6443\n    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t\nusers:\n- name: breakglass\n  user:\n    token: eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.sample.sample\ncontexts:\n- name: breakglass-prod-eu-7f3a\n  context: {cluster: prod-eu, user: breakglass, namespace: payments}\n"),
            file: self.t("prod-eu.kubeconfig"),
            try_it: self.t("kubectl get pods -n payments"),
            dies: self.when(2_472),
            shorter: Some(self.say("The API server gave 41 min instead of 1 h: that is its limit.")),
        }
    }

    fn reveals(&self) -> Vec<(&'static str, String)> {
        let failed = RevealFailed {
            shell: self.shell("Your key", Some(Place::Requests)),
            grant: Href::path(GRANT),
            reason: self.say("The key's own first use did not come back through audit within 45 s. What is done with it could not be seen."),
            can_retry: true,
        };
        vec![
            ("step-up", html(&self.step_up())),
            (
                "reveal-waiting",
                self.reveal_head() + "</ol></section></main></body></html>",
            ),
            ("reveal-key", self.reveal_head() + &html(&self.reveal_tail())),
            ("reveal-failed", self.reveal_head() + &html(&failed)),
        ]
    }

    // --- grant ---

    fn action(
        &self,
        at: i64,
        verb: &str,
        object: &str,
        detail: &str,
        flag: Option<Badge>,
        status: Option<u16>,
        look: Option<Look>,
    ) -> ActionRow {
        ActionRow {
            when: self.when(at).clock(),
            verb: self.t(verb),
            object: Words::default().link(Href::path("/ledger/entries/4812"), self.t(object)),
            detail: (!detail.is_empty()).then(|| self.say(detail)),
            flags: flag.into_iter().collect(),
            status,
            look,
        }
    }

    fn grant(&self, state: GrantState, mine: bool, empty: bool) -> GrantPage {
        let live = !matches!(state, GrantState::Ended { .. });
        let active = matches!(state, GrantState::Active { .. });
        let rows = vec![
            self.action(
                -113,
                "scaled",
                "payments/web",
                "2 → 5 replicas",
                None,
                Some(200),
                None,
            ),
            self.action(
                -200,
                "exec in",
                "payments/web-7887-h9g82",
                "sh -c 'cat /etc/resolv.conf'",
                Some(self.badge(Look::Wait, "exec, open")),
                None,
                Some(Look::Wait),
            ),
            self.action(
                -285,
                "was refused",
                "payments Secrets",
                "list",
                Some(self.badge(Look::Live, "denied")),
                Some(403),
                Some(Look::Live),
            ),
            self.action(
                -302,
                "changed",
                "payments/web",
                "limits.memory 256Mi → 1Gi",
                None,
                Some(200),
                None,
            ),
            self.action(-329, "read", "payments Pods", "list ×14", None, Some(200), None),
        ];
        let counts = Counts {
            reads: 14,
            changes: 2,
            denied: 1,
            execs: 1,
            secrets: 0,
            rights: 0,
            others: 193,
        };
        let shell = if mine && active {
            self.live_shell("Access", Some(Place::Requests))
        } else {
            self.shell("Access", Some(Place::Requests))
        };
        GrantPage {
            headline: GrantHeadline {
                shell: shell.clone(),
                mine,
                who: self.engineer(),
                scope: self.say("payments-admin · prod-eu · payments, orders"),
                counts: if empty { Counts::default() } else { counts },
                state: state.clone(),
            },
            shell,
            id: GrantId::new(),
            actions: GrantActions {
                grant: Href::path(GRANT),
                live,
                show: "all".into(),
                rows: if empty { vec![] } else { rows },
                pager: self.pager(empty),
            },
            side: GrantSide {
                coverage: if empty {
                    (
                        self.badge(Look::Info, "alive"),
                        self.say("Audit is alive; losses are not countable on this cluster."),
                    )
                } else {
                    (
                        self.badge(Look::Done, "212 of 212"),
                        self.say("events that the API server counted are here, as of 4 s ago."),
                    )
                },
                streams: if active {
                    vec![self.say(
                        "exec in web-7887-h9g82, 1 min 27 s. It outlives the key: delete its Pod to end it.",
                    )]
                } else {
                    vec![]
                },
                self_heal: (!empty).then(|| {
                    self.say(
                        "Argo CD leaves payments/web alone until 03:14, then takes over again by itself.",
                    )
                }),
                notes: if empty {
                    vec![]
                } else {
                    vec![Note::new(
                        Look::Wait,
                        self.t("The record has a hole."),
                        self.say("3 events were lost 02:14–02:15."),
                    )]
                },
            },
            facts: Facts::default()
                .with("Who", self.engineer())
                .with(
                    "Approved",
                    Words::from(self.approver()).and(" ").at(self.when(-1_180)),
                )
                .with(
                    "Why",
                    self.prose("Checkout returns 502 since 02:05; scale web out."),
                )
                .with(
                    "Incident",
                    Words::default()
                        .link_if_safe(&self.raw("https://tickets.test/INC-4711"), self.t("INC-4711")),
                )
                .with(
                    "Request",
                    Words::default().link(Href::path("/requests/1"), "as it was asked"),
                ),
            can: GrantCan {
                reveal: mine && (active || state.is_ready()),
                done: mine && active,
                end: !mine && live,
                shorten: if active {
                    vec![
                        self.choice("15", "15 min", true),
                        self.choice("5", "5 min", false),
                    ]
                } else {
                    vec![]
                },
                extend: (mine && active).then(|| Href::path("/requests/new?extends=1")),
            },
            error: (!mine).then(|| self.t("Say why you end it.")),
            history: Timeline(vec![
                TimelineItem::new(Look::Done, self.when(-1_200), "asked"),
                TimelineItem::new(
                    Look::Done,
                    self.when(-1_180),
                    Words::say("approved by ").person(self.approver()),
                ),
                TimelineItem::new(Look::Live, self.when(-1_128), "the glass was broken")
                    .detail("the key's issuance and first use came back after 2.1 s"),
                TimelineItem::next("ended, proved dead"),
            ]),
        }
    }

    fn grants(&self) -> Vec<(&'static str, String)> {
        let ended = |used: bool| GrantState::Ended {
            at: self.when(-300),
            why: self.t("the engineer was done"),
            refused_after: used.then(|| TimeDelta::milliseconds(120)),
            dead_after: used.then(|| TimeDelta::milliseconds(10_300)),
            follow_up: used.then(|| Href::path("/follow-ups/1")),
        };
        let ending = |stuck| GrantState::Ending {
            since: self.when(-190),
            stuck,
        };
        let stuck = self.say("The API server of prod-eu does not answer. 38 tries so far; the last 4 s ago: connection refused.");
        vec![
            (
                "grant-provisioning",
                html(&self.grant(GrantState::Provisioning, true, true)),
            ),
            (
                "grant-ready",
                html(&self.grant(
                    GrantState::Ready {
                        lapses: self.when(3_500),
                    },
                    true,
                    true,
                )),
            ),
            (
                "grant-issuing",
                html(&self.grant(GrantState::Issuing, true, true)),
            ),
            (
                "grant-active",
                html(&self.grant(
                    GrantState::Active {
                        until: self.when(2_472),
                    },
                    true,
                    false,
                )),
            ),
            (
                "grant-active-other",
                html(&self.grant(
                    GrantState::Active {
                        until: self.when(2_472),
                    },
                    false,
                    false,
                )),
            ),
            ("grant-ending", html(&self.grant(ending(None), true, false))),
            ("grant-stuck", html(&self.grant(ending(Some(stuck)), true, false))),
            ("grant-ended", html(&self.grant(ended(true), true, false))),
            ("grant-unused", html(&self.grant(ended(false), true, true))),
        ]
    }

    // --- follow-up ---

    fn diff(&self) -> Diff {
        let t = |text: &str| Text::prose(self.raw(text));
        Diff {
            object: self.t("Deployment payments/web"),
            path: Some(self.t("apps/payments/web.yaml")),
            outcome: Some(self.badge(Look::Done, "in the pull request")),
            lines: vec![
                DiffLine::Skipped(6),
                DiffLine::Same(t("spec:")),
                DiffLine::Removed(t("  replicas: 2   # weekday")),
                DiffLine::Added(t("  replicas: 5   # weekday")),
                DiffLine::Skipped(11),
                DiffLine::Same(t("        resources:")),
                DiffLine::Same(t("          limits:")),
                DiffLine::Removed(t("            memory: 256Mi")),
                DiffLine::Added(t("            memory: 1Gi")),
                DiffLine::Added(t("            ephemeral-storage: 2Gi")),
            ],
        }
    }

    fn deadlines(&self, late: bool) -> Vec<DeadlineBar> {
        vec![
            DeadlineBar {
                name: "opened".into(),
                due: self.when(-24_000),
                met: Some(self.when(-26_400)),
                used: 40,
                badge: Badge::new(Look::Done, "met"),
            },
            DeadlineBar {
                name: "merged".into(),
                due: self.when(if late { -7_200 } else { 11_400 }),
                met: None,
                used: if late { 100 } else { 87 },
                badge: if late {
                    Badge::new(Look::Late, "2 h late")
                } else {
                    Badge::new(Look::Wait, "due soon")
                },
            },
            DeadlineBar {
                name: "converged".into(),
                due: self.when(184_000),
                met: None,
                used: 29,
                badge: Badge::new(Look::Info, "on time"),
            },
        ]
    }

    fn pull(&self, badge: Badge) -> PullRequest {
        PullRequest {
            href: Href::new(self.raw("https://forge.test/shop/config/pulls/214")),
            name: self.t("#214 Bring git up to date after INC-4711"),
            badge,
            seen: self.when(-12),
            reviews: vec![(
                self.badge(Look::Info, "does not count"),
                self.say("on-call engineer approved it: the requester's own word does not count"),
            )],
            checks: vec![
                (
                    self.badge(Look::Wait, "waiting"),
                    self.say("breakglass/review: waits for somebody other than the requester"),
                ),
                (
                    self.badge(Look::Done, "passed"),
                    self.say("render: git gives what the cluster has"),
                ),
            ],
        }
    }

    fn follow_up(&self, state: FollowUpState, can: FollowUpCan) -> FollowUpPage {
        let open = matches!(
            state,
            FollowUpState::Owed { .. } | FollowUpState::Rejected { .. } | FollowUpState::Merged { .. }
        );
        let late = matches!(state, FollowUpState::Owed { late: true, .. });
        let bare = matches!(
            state,
            FollowUpState::Capturing { .. } | FollowUpState::NoDrift { .. }
        );
        let item = ManualItem {
            id: ItemId::new(),
            object: self.t("Secret payments/api-key"),
            words: self.say("It was changed by the on-call engineer at 02:31. Its value is not in git: rotate it at its source."),
            patch: Some(self.prose("vault kv put payments/api-key value=-")),
            badge: self.badge(Look::Wait, "to be done"),
            can_link: open,
            can_accept: open,
        };
        FollowUpPage {
            shell: self.shell("Follow-up", Some(Place::Sla)),
            id: FollowUpId::new(),
            grant: Href::path(GRANT),
            about: Words::say("emergency of ")
                .person(self.engineer())
                .and(", ")
                .at(self.when(-27_000))
                .and(" · ")
                .strong(self.t("INC-4711")),
            diffs: if bare {
                vec![]
            } else {
                vec![
                    self.diff(),
                    Diff {
                        object: self.t("ConfigMap payments/flags"),
                        path: None,
                        outcome: Some(self.badge(Look::Wait, "by hand")),
                        ..self.diff()
                    },
                ]
            },
            items: if bare { vec![] } else { vec![item] },
            pull: match &state {
                _ if bare => None,
                FollowUpState::Rejected { .. } => Some(self.pull(self.badge(Look::Late, "closed"))),
                FollowUpState::Owed { .. } | FollowUpState::Waived { .. } => {
                    Some(self.pull(self.badge(Look::Wait, "open")))
                }
                _ => Some(self.pull(self.badge(Look::Done, "merged"))),
            },
            deadlines: self.deadlines(late),
            notes: if open {
                vec![Note::new(
                    Look::Wait,
                    self.t("Another writer."),
                    self.say("spec.replicas of payments/web is also written by an HPA."),
                )]
            } else {
                vec![]
            },
            can,
            error: can.waive.then(|| self.t("Say why git may stay behind.")),
            history: Timeline(vec![
                TimelineItem::new(
                    Look::Done,
                    self.when(-27_000),
                    "access, 48 min; refused after 0.1 s, dead after 10.3 s",
                ),
                TimelineItem::new(
                    Look::Done,
                    self.when(-26_900),
                    "record settled: 212 of 212 events",
                ),
                TimelineItem::new(
                    Look::Live,
                    self.when(-26_400),
                    Words::say("pull request ").strong(self.t("#214")).and(" opened"),
                ),
                TimelineItem::next("merged"),
                TimelineItem::next("git is what the cluster is, self-heal acts"),
            ]),
            state,
        }
    }

    fn follow_ups(&self) -> Vec<(&'static str, String)> {
        let none = FollowUpCan::default();
        let waive = FollowUpCan {
            waive: true,
            review: true,
            ..none
        };
        let choose = FollowUpCan {
            revert: true,
            explain: true,
            ..none
        };
        let review = FollowUpCan { review: true, ..none };
        let owed = |late: bool| FollowUpState::Owed {
            waits: self.say("a review by somebody else"),
            by: self.when(if late { -7_200 } else { 11_400 }),
            late,
        };
        let merged = |late| FollowUpState::Merged {
            waits: self.say("Argo CD to sync payments/web"),
            by: self.when(100),
            late,
        };
        let cases: Vec<(&'static str, FollowUpState, FollowUpCan)> = vec![
            (
                "follow-up-capturing",
                FollowUpState::Capturing {
                    waits: self.say("the last events: the API server counted 212, 209 are here"),
                },
                none,
            ),
            (
                "follow-up-no-drift",
                FollowUpState::NoDrift { review_by: None },
                none,
            ),
            (
                "follow-up-no-drift-review",
                FollowUpState::NoDrift {
                    review_by: Some(self.when(11_400)),
                },
                review,
            ),
            ("follow-up-owed", owed(false), none),
            ("follow-up-late", owed(true), waive),
            ("follow-up-merged", merged(false), none),
            ("follow-up-merged-late", merged(true), none),
            (
                "follow-up-converged",
                FollowUpState::Converged { at: self.when(-60) },
                none,
            ),
            (
                "follow-up-rejected",
                FollowUpState::Rejected {
                    by: self.t("a reviewer"),
                    at: self.when(-60),
                },
                choose,
            ),
            (
                "follow-up-reverted",
                FollowUpState::Reverted { at: self.when(-60) },
                none,
            ),
            (
                "follow-up-waived",
                FollowUpState::Waived {
                    by: self.compliance(),
                    at: self.when(-60),
                    reason: self.prose("The namespace is removed next week."),
                },
                none,
            ),
        ];
        cases
            .into_iter()
            .map(|(name, state, can)| (name, html(&self.follow_up(state, can))))
            .collect()
    }

    // --- feed, sla, ledger, clusters, policy ---

    fn entry(&self, look: Look, word: &str, at: i64, words: &str, detail: &str) -> FeedEntry {
        FeedEntry {
            anchor: format!("n{}", at.unsigned_abs()),
            badge: self.badge(look, word),
            when: self.when(at),
            words: Words::default().link(Href::path(GRANT), self.t(words)),
            detail: (!detail.is_empty()).then(|| self.say(detail)),
            review: None,
            reviewed: None,
        }
    }

    fn feed(&self, empty: bool) -> FeedPage {
        let mut ended = self.entry(
            Look::Info,
            "ended",
            -90_000,
            "The access of second engineer to prod-us is dead, 10.3 s after its end",
            "orders-admin in orders · 3 changes",
        );
        ended.review = Some(Href::path("/follow-ups/1/review"));
        let mut reviewed = self.entry(
            Look::Done,
            "converged",
            -100_000,
            "Emergency INC-4701 is closed: git is what the cluster is, after 5 h 12 min",
            "pull request #209",
        );
        reviewed.reviewed = Some(
            Words::say("reviewed by ")
                .person(self.compliance())
                .and(": ")
                .and(self.t("Looked at every action; fine.")),
        );
        let pinned = vec![
            self.entry(
                Look::Wait,
                "finding",
                -1_440,
                "A change without a grant: ConfigMap orders/flags by group release-managers from 10.4.2.7",
                "attach it to a request, or say why it was expected",
            ),
            self.entry(
                Look::Wait,
                "not delivered",
                -2_100,
                "Mail about INC-4709 to compliance could not be delivered, 5 tries",
                "550 mailbox full",
            ),
        ];
        FeedPage {
            shell: self.shell("Compliance feed", Some(Place::Feed)),
            running: usize::from(!empty),
            unreviewed: usize::from(!empty),
            pinned: if empty { vec![] } else { pinned },
            entries: if empty {
                vec![]
            } else {
                vec![self.entry(Look::Live, "active", -1_128, "on-call engineer broke the glass on prod-eu: payments-admin in payments, orders, until 03:14", "approved by first approver · INC-4711"), ended, reviewed]
            },
            filters: if empty { vec![] } else { self.filters() },
            query: if empty {
                String::new()
            } else {
                "?team=payments".to_owned()
            },
            can_review: true,
            pager: self.pager(empty),
        }
    }

    fn sla(&self, empty: bool) -> SlaPage {
        let figure = |label: &str, value: &str, detail: &str, look| Figure {
            label: self.t(label),
            value: self.t(value),
            detail: self.say(detail),
            href: Href::path("/requests?state=owed"),
            look,
        };
        let mut owed = Table::new(
            "Owed now, worst first",
            &["Debt", "Owner", "Waits for", "#Due"],
            "Nothing is owed. Git is what the clusters are.",
        );
        let mut weeks = Table::new(
            "By week",
            &["Week", "#Opened", "#Closed in time", "#Closed late"],
            "No emergency in this time.",
        );
        let mut teams = Table::new(
            "By team",
            &["Team", "#Emergencies", "#Open", "#Late", "#Time to git, median"],
            "No emergency in this time.",
        );
        let link = |text: &str| Words::default().link(Href::path("/follow-ups/1"), self.t(text));
        if !empty {
            owed = owed
                .row(
                    Some(Look::Late),
                    vec![
                        link("orders: 1 object · #207"),
                        self.say("team orders"),
                        self.say("review"),
                        Words::from(self.badge(Look::Late, "2 h late")),
                    ],
                )
                .row(
                    Some(Look::Wait),
                    vec![
                        link("payments/web: 2 objects · #214"),
                        self.say("team payments"),
                        self.say("review"),
                        self.say("3 h 10 min"),
                    ],
                )
                .row(
                    None,
                    vec![
                        link("search: 1 object · #215"),
                        self.say("team search"),
                        self.say("sync"),
                        self.say("21 h"),
                    ],
                );
            for week in 39..47 {
                weeks = weeks.row(
                    None,
                    vec![
                        self.say(&format!("2026 W{week}")),
                        link("6"),
                        link("5"),
                        link("1"),
                    ],
                );
            }
            for team in ["payments", "orders", "search"] {
                teams = teams.row(
                    None,
                    vec![self.say(team), link("12"), link("1"), link("0"), self.say("4 h")],
                );
            }
        }
        SlaPage {
            shell: self.shell("SLA", Some(Place::Sla)),
            open: if empty { 0 } else { 3 },
            late: usize::from(!empty),
            filters: self.filters(),
            figures: vec![
                figure(
                    "open now",
                    if empty { "0" } else { "3" },
                    "oldest 26 h",
                    (!empty).then_some(Look::Wait),
                ),
                figure(
                    "late",
                    if empty { "0" } else { "1" },
                    "team orders",
                    (!empty).then_some(Look::Late),
                ),
                figure("time to git, median · p90", "4 h · 19 h", "was 6 h · 31 h", None),
                figure("emergencies with no drift", "38 %", "14 of 37", None),
            ],
            owed,
            consequences: if empty {
                vec![]
            } else {
                vec![Note::new(Look::Wait, self.t("Team orders is late."), self.say("Each of its new requests needs one more approval, from outside the team, until #207 is merged or waived."))]
            },
            chart: None,
            weeks,
            teams,
            csv: Href::path("/sla.csv"),
        }
    }

    fn ledger(&self, gap: bool) -> LedgerPage {
        let mut entries = Table::new(
            "Entries, newest first",
            &["#Number", "Time", "Kind", "In words"],
            "The ledger is empty.",
        );
        if gap {
            for (i, kind, words) in [
                (4_812_336, "audit-event", "on-call engineer scaled payments/web"),
                (
                    4_812_335,
                    "credential-issued",
                    "a key of on-call engineer was shown",
                ),
                (4_812_334, "gap", "stage: events may be missing"),
            ] {
                entries = entries.row(
                    None,
                    vec![
                        Words::default().link(Href::path(format!("/ledger/entries/{i}")), i.to_string()),
                        Words::from(self.when(-i64::from(4_812_400 - i)).clock()),
                        Words::default().code(self.t(kind)),
                        self.say(words),
                    ],
                );
            }
        }
        LedgerPage {
            shell: self.shell("Ledger", Some(Place::Ledger)),
            integrity: (self.badge(Look::Done, "unaltered"), self.say("Every entry leads to the signed head. Checked 3 s ago.")),
            completeness: if gap {
                (self.badge(Look::Wait, "1 gap"), self.say("stage lost 12 events; nobody held access there. prod-eu and prod-us: every event counted is here."))
            } else {
                (self.badge(Look::Done, "whole"), self.say("Every event that the API servers counted is here."))
            },
            headline: self.say(if gap { "The record is unaltered. It is whole, except 02:14 to 02:16 on stage." } else { "The record is unaltered and whole." }),
            facts: Facts::default()
                .with("Size", self.say("4 812 337 entries"))
                .with("Head", Words::default().code(self.t("9f2c71ab04d5e6f79f2c71ab04d5e6f79f2c71ab04d5e6f79f2c71ab04d5e6f7")))
                .with("Signed", Words::from(self.when(-3)))
                .with("Copies", self.say("checkpoints lie in 214 pull requests and 31 mailboxes")),
            checkpoint: self.prose("breakglass.test/ledger\n4812337\nnyxxqwTV5vefLHGrBNXm95\n\n— breakglass.test/ledger 2f8a1c…\n"),
            verify: vec![self.t("breakglass verify --key log.pub --database breakglass.db"), self.t("breakglass verify --key log.pub export.bgx")],
            gaps: if gap { vec![self.say("stage, 02:14:07 to 02:16:01: 12 events lost")] } else { vec![] },
            filters: self.filters(),
            entries,
            pager: self.pager(!gap),
        }
    }

    fn ledger_entry(&self, erased: bool) -> LedgerEntryPage {
        LedgerEntryPage {
            shell: self.shell("Entry", Some(Place::Ledger)),
            index: 4_812_336,
            kind: self.t("audit-event"),
            at: self.when(-113),
            words: self.say("on-call engineer scaled payments/web from 2 to 5 replicas"),
            facts: Facts::default().with("Who", self.engineer()).with("Cluster", self.say("prod-eu")).with("Access", Words::default().link(Href::path(GRANT), self.t("payments-admin"))),
            controls: vec!["NIST AC-6(9)".into(), "PCI 10.2.1.2".into()],
            payload: (!erased).then(|| self.prose("{\n  \"verb\": \"patch\",\n  \"objectRef\": {\"resource\": \"deployments\", \"name\": \"web\", \"namespace\": \"payments\"},\n  \"responseStatus\": {\"code\": 200}\n}")),
            payload_missing: erased.then(|| self.say("The payload was erased as the retention of prod-eu says. Its hash stays, and the proof holds.")),
            leaf: self.t("9f2c71ab04d5e6f79f2c71ab04d5e6f79f2c71ab04d5e6f79f2c71ab04d5e6f7"),
            proof: vec![self.t("0a11c2d3"), self.t("77b0e4f5")],
            head: self.t("51d0a2c49be8137751d0a2c49be8137751d0a2c49be8137751d0a2c49be81377"),
            verify: self.t("breakglass verify --key log.pub --entry 4812336 export.bgx"),
            neighbours: (Some(Href::path("/ledger/entries/4812335")), (!erased).then(|| Href::path("/ledger/entries/4812337"))),
        }
    }

    fn clusters(&self, empty: bool) -> ClustersPage {
        let facts = |delay: &str| {
            Facts::default()
                .with(
                    "Reachable",
                    Words::say("yes, asked ").at(self.when(-2).relative_only()),
                )
                .with("Audit delay", self.say(delay))
                .with("Last canary", Words::from(self.when(-8)))
                .with("Coverage", self.say("every event counted is here"))
                .with("Self-heal", self.say("paused for payments/web until 03:14"))
        };
        ClustersPage {
            shell: self.shell("Clusters", Some(Place::Clusters)),
            clusters: if empty {
                vec![]
            } else {
                vec![
                    ClusterView {
                        name: self.t("stage"),
                        well: false,
                        badge: self.badge(Look::Wait, "audit is late"),
                        facts: facts("48 s"),
                        notes: vec![Note::new(Look::Wait, self.t("Audit is 48 s behind."), self.say("A reveal waits for at most 45 s: keys cannot be made here until it catches up."))],
                    },
                    ClusterView { name: self.t("prod-eu"), well: true, badge: self.badge(Look::Done, "seen"), facts: facts("2.1 s"), notes: vec![] },
                    ClusterView { name: self.t("prod-us"), well: true, badge: self.badge(Look::Done, "seen"), facts: facts("1.9 s"), notes: vec![] },
                ]
            },
        }
    }

    fn policy(&self, answer: Option<Preview>) -> PolicyPage {
        let profile = |name: &str, words: &str| ProfileView {
            name: self.t(name),
            words: self.say(words),
            facts: Facts::default()
                .with("Who", self.say("engineers of team payments"))
                .with("Where", self.say("payments, orders on prod-eu, prod-us"))
                .with("How long", self.say("up to 2 h"))
                .with("Approvals", self.say("1 of platform-leads"))
                .with("Sign-in", self.say("not older than 5 min"))
                .with("Deadlines", self.say("opened 1 h, merged 24 h, converged 72 h")),
            may: vec![
                self.say("read everything but Secrets"),
                self.say("change workloads and configuration"),
                self.say("exec, port-forward"),
            ],
            rules: vec![self.t("apps deployments get list watch patch update")],
            digest: self.t("9f2c71ab04d5e6f7"),
        };
        PolicyPage {
            shell: self.shell("Policy", Some(Place::Policy)),
            digest: self.t("51d0a2c49be81377"),
            since: self.when(-500_000),
            profiles: vec![
                profile(
                    "payments-admin",
                    "For payments in an emergency: workloads and configuration.",
                ),
                profile("orders-admin", "The same for orders."),
            ],
            people: Facts::default()
                .with("Approvers", self.say("group platform-leads"))
                .with("Compliance", self.say("group compliance"))
                .with("Team payments", self.say("group payments, lead: first approver")),
            question: Question {
                person: self.raw("e-1002"),
                profiles: vec![self.choice("orders-admin", "orders-admin", true)],
                clusters: vec![self.choice("prod-us", "prod-us", true)],
                namespace: self.raw("orders"),
                error: answer
                    .is_none()
                    .then(|| self.t("Nobody of that name has signed in.")),
            },
            answer,
        }
    }

    // --- the rest ---

    fn others(&self) -> Vec<(&'static str, String)> {
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
        pages.push((
            "feed-new",
            format!("<!doctype html>{}", html(&FeedNew { count: 3 })),
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

fn html(page: &impl Template) -> String {
    page.render().expect("a page of plain values renders")
}

#[test]
fn every_page_is_there_to_be_looked_at() {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/target").into(),
        std::path::PathBuf::from,
    );
    let pages = target.join("pages");
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("static");
    std::fs::create_dir_all(pages.join("static")).unwrap();
    for file in ["breakglass.css", "breakglass.js", "breakglass.svg"] {
        std::fs::copy(here.join(file), pages.join("static").join(file)).unwrap();
    }
    for (name, page) in Sample::plain().all() {
        std::fs::write(pages.join(format!("{name}.html")), page).unwrap();
    }
    for (name, page) in Sample::hostile(&hostile()).all() {
        std::fs::write(pages.join(format!("hostile-{name}.html")), page).unwrap();
    }
}

fn hostile() -> String {
    format!(
        "\"><script>alert(1)</script>'`{{{{7*7}}}}\u{202e}\u{200b}\n{}",
        "W".repeat(1 << 20)
    )
}
