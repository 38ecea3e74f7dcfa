//! Sample pages: start, asking, deciding, revealing.

use super::*;

impl Sample {
    // --- start ---

    pub(super) fn start(&self) -> StartPage {
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

    pub(super) fn start_empty(&self) -> StartPage {
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

    pub(super) fn start_alarm(&self) -> StartPage {
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

    pub(super) fn preview(&self) -> Preview {
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

    pub(super) fn preview_refused(&self) -> Preview {
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

    pub(super) fn form(&self, errors: bool) -> RequestFormPage {
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

    pub(super) fn form_new(&self) -> RequestFormPage {
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

    pub(super) fn request(&self, state: RequestState, mine: bool, decision: Decision) -> RequestPage {
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
            notes: vec![],
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

    pub(super) fn pending(&self) -> RequestState {
        RequestState::Pending {
            given: 0,
            needed: 1,
            told: vec![self.approver()],
            lapses: self.when(86_160),
        }
    }

    pub(super) fn requests(&self) -> Vec<(&'static str, String)> {
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

    pub(super) fn requests_list(&self, empty: bool) -> RequestsPage {
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
            older: (!empty).then(|| {
                self.say("Only what is alive, and the newest 1000 requests of all, are listed here.")
            }),
            table,
            pager: self.pager(empty),
        }
    }

    pub(super) fn pager(&self, empty: bool) -> Pager {
        if empty {
            return Pager::default();
        }
        Pager {
            shows: self.t("51 to 100 of 212"),
            newer: Some(Href::path("/requests")),
            older: Some(Href::path("/requests?before=1")),
        }
    }

    pub(super) fn filters(&self) -> Vec<Filter> {
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

    pub(super) fn approvals(&self, empty: bool) -> ApprovalsPage {
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

    pub(super) fn step_up(&self) -> StepUpPage {
        StepUpPage {
            shell: self.shell("Sign in again", None),
            to: Href::new("https://sign-in.test/authorize?prompt=login&nonce=\"><script>")
                .unwrap_or_else(|| Href::path("/step-up/1")),
            purpose: self.t("approve this request"),
            hash: Some(self.t("51d0a2c49be8137751d0a2c49be8137751d0a2c49be8137751d0a2c49be81377")),
        }
    }

    pub(super) fn reveal_head(&self) -> String {
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

    pub(super) fn reveals(&self) -> Vec<(&'static str, String)> {
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
}
