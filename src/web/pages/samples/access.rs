//! Sample pages: the access itself and what is owed afterwards.

use super::*;

impl Sample {
    // --- grant ---

    #[expect(
        clippy::too_many_arguments,
        reason = "one argument a column reads as the table it fills"
    )]
    pub(super) fn action(
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

    #[expect(clippy::too_many_lines, reason = "one page in full")]
    pub(super) fn grant(&self, state: &GrantState, mine: bool, empty: bool) -> GrantPage {
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

    pub(super) fn grants(&self) -> Vec<(&'static str, String)> {
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
                html(&self.grant(&GrantState::Provisioning, true, true)),
            ),
            (
                "grant-ready",
                html(&self.grant(
                    &GrantState::Ready {
                        lapses: self.when(3_500),
                    },
                    true,
                    true,
                )),
            ),
            (
                "grant-issuing",
                html(&self.grant(&GrantState::Issuing, true, true)),
            ),
            (
                "grant-active",
                html(&self.grant(
                    &GrantState::Active {
                        until: self.when(2_472),
                    },
                    true,
                    false,
                )),
            ),
            (
                "grant-active-other",
                html(&self.grant(
                    &GrantState::Active {
                        until: self.when(2_472),
                    },
                    false,
                    false,
                )),
            ),
            ("grant-ending", html(&self.grant(&ending(None), true, false))),
            (
                "grant-stuck",
                html(&self.grant(&ending(Some(stuck)), true, false)),
            ),
            ("grant-ended", html(&self.grant(&ended(true), true, false))),
            ("grant-unused", html(&self.grant(&ended(false), true, true))),
        ]
    }

    // --- follow-up ---

    pub(super) fn diff(&self) -> Diff {
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

    pub(super) fn deadlines(&self, late: bool) -> Vec<DeadlineBar> {
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

    pub(super) fn pull(&self, badge: Badge) -> PullRequest {
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

    fn way_back(&self) -> WayBack {
        WayBack {
            by: self.t("on-call engineer"),
            at: self.when(-50),
            ask: Href::new(self.raw("/requests/new?team=payments&reason=Revert")),
            objects: vec![
                ObjectBack {
                    object: self.t("Deployment payments/web"),
                    badge: self.badge(Look::Wait, "differs from git"),
                    differs: Some(self.t("Deployment payments/web spec.replicas: live 4, git 2")),
                    command: Some(self.prose(
                        "kubectl patch --namespace=payments deployments.v1.apps/web --type=merge -p '{\"spec\":{\"replicas\":2}}'",
                    )),
                    by_hand: None,
                },
                ObjectBack {
                    object: self.t("Secret payments/api-key"),
                    badge: self.badge(Look::Wait, "differs from git"),
                    differs: None,
                    command: None,
                    by_hand: Some(self.prose("Its value is never read: bring it back at its source.")),
                },
                ObjectBack {
                    object: self.t("ConfigMap payments/flags"),
                    badge: self.badge(Look::Done, "equals git"),
                    differs: None,
                    command: None,
                    by_hand: None,
                },
            ],
        }
    }

    pub(super) fn follow_up(&self, state: FollowUpState, can: FollowUpCan) -> FollowUpPage {
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
            way_back: (matches!(state, FollowUpState::Rejected { .. }) && !can.revert)
                .then(|| self.way_back()),
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

    pub(super) fn follow_ups(&self) -> Vec<(&'static str, String)> {
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
                "follow-up-to-revert",
                FollowUpState::Rejected {
                    by: self.t("a reviewer"),
                    at: self.when(-60),
                },
                FollowUpCan {
                    explain: true,
                    ..none
                },
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
}
