//! Sample pages: feed, SLA, ledger, clusters, policy.

use super::*;
use crate::web::pages::ledger::Typed;

impl Sample {
    // --- feed, sla, ledger, clusters, policy ---

    pub(super) fn entry(&self, look: Look, word: &str, at: i64, words: &str, detail: &str) -> FeedEntry {
        FeedEntry {
            anchor: format!("n{}", at.unsigned_abs()),
            badge: self.badge(look, word),
            when: self.when(at),
            words: Words::default().link(Href::path(GRANT), self.t(words)),
            detail: (!detail.is_empty()).then(|| self.say(detail)),
            review: None,
            reviewed: None,
            lines: None,
            bypass: None,
        }
    }

    pub(super) fn feed(&self, empty: bool) -> FeedPage {
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
        let mut past = self.entry(
            Look::Late,
            "finding",
            -1_440,
            "release-manager changed 3 things on prod-eu without a grant, from 10.4.2.7: patched ConfigMap \
             orders/flags; deleted Pod orders/web-7d4; and 1 more",
            "cluster prod-eu · last change 4 min ago · all of them",
        );
        past.bypass = Some(BypassForms {
            attach: Href::path("/feed/findings/1/attach"),
            expected: Href::path("/feed/findings/1/expected"),
            changes: 3,
            requests: vec![
                Choice::new("", self.t("choose the request"), true),
                Choice::new(
                    "1",
                    self.t("orders-admin by second engineer: checkout answers 502"),
                    false,
                ),
            ],
        });
        let pinned = vec![
            past,
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

    #[expect(clippy::too_many_lines, reason = "one page in full")]
    pub(super) fn sla(&self, empty: bool) -> SlaPage {
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
        let closed = [(5, 1), (4, 0), (5, 2), (5, 0), (3, 0), (5, 1), (4, 0), (2, 0)];
        let weeks_drawn: Vec<_> = (39..)
            .zip(closed)
            .map(|(week, (in_time, late))| chart::Week {
                name: format!("W{week}"),
                in_time,
                late,
            })
            .collect();
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
            chart: chart::by_week(if empty { &[] } else { &weeks_drawn }).unwrap(),
            weeks,
            teams,
            csv: Href::path("/sla.csv"),
        }
    }

    pub(super) fn ledger(&self, gap: bool) -> LedgerPage {
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
            typed: ["person", "object"]
                .map(|name| Typed { name, label: "Object", kind: "text", value: self.t("Deployment payments/web"), hint: "Deployment payments/web" })
                .into(),
            notes: vec![self.say("Newest first, by when it happened.")],
            exports: self.say("The same as NDJSON or CSV."),
            entries,
            pager: self.pager(!gap),
            others: gap.then(|| (self.say("Events that are of no grant and are kept, newest first."), Table::new("Entries", &["#Entry", "When", "Kind", "What"], "None."))),
        }
    }

    pub(super) fn ledger_entry(&self, erased: bool) -> LedgerEntryPage {
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
            checkpoint: self.prose("breakglass.example.org/ledger\n4812512\nUdCixJvoE3dR0KLEm+gTd1HQosSb6BN3UdCixJvoE3c=\n\n— breakglass.example.org/ledger 5kq1tg==\n"),
            download: self.say("Download entry-4812336.bgx: this entry, its proof and the checkpoint."),
            verify: self.t("breakglass verify --key log.pub entry-4812336.bgx"),
            neighbours: (Some(Href::path("/ledger/entries/4812335")), (!erased).then(|| Href::path("/ledger/entries/4812337"))),
        }
    }

    pub(super) fn clusters(&self, empty: bool) -> ClustersPage {
        let facts = |delay: &str| {
            Facts::default()
                .with(
                    "Reachable",
                    Words::say("yes, asked ").at(self.when(-2).relative_only()),
                )
                .with("Audit delay", self.say(delay))
                .with("Self-heal", self.say("paused for payments/web until 03:14"))
        };
        let servers = |names: &[&str]| -> Vec<ServerView> {
            let server = |name: &&str| ServerView {
                name: (!name.is_empty()).then(|| self.t(name)),
                facts: Facts::default()
                    .with(
                        "Last canary",
                        Words::from(self.when(-8)).and(", after 1.1 s; all of the last hour came back"),
                    )
                    .with("Events", self.say("212 counted, 212 are here"))
                    .with("Audit policy", self.say("keeps what is promised")),
                lines: (*name == "control-1")
                    .then(|| Text::whole("- level: Metadata\n  omitStages: [RequestReceived]")),
            };
            names.iter().map(server).collect()
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
                        servers: servers(&["control-1", "control-2"]),
                    },
                    ClusterView { name: self.t("prod-eu"), well: true, badge: self.badge(Look::Done, "seen"), facts: facts("2.1 s"), notes: vec![], servers: servers(&[""]) },
                    ClusterView { name: self.t("prod-us"), well: true, badge: self.badge(Look::Done, "seen"), facts: facts("1.9 s"), notes: vec![], servers: servers(&[""]) },
                ]
            },
        }
    }

    pub(super) fn policy(&self, answer: Option<Preview>) -> PolicyPage {
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
}
