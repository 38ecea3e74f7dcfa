//! A request: who asks for what, where, how long, why. Pending → Approved, Denied, Withdrawn or Lapsed.

use super::person::Person;
use crate::clock::Time;
use crate::ids::{ApprovalId, GrantId, RequestId};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is asked for, exactly: an approval is bound to the hash of this and of nothing else.
///
/// `profile_digest` and `rules` are in it, so that neither a changed profile nor a widened
/// `ClusterRole` can hide behind an approval given before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Who asks.
    pub requester: Person,
    /// The team asked for; one of the requester's.
    pub team: String,
    /// The cluster's name in the configuration.
    pub cluster: String,
    /// The UID of its `kube-system` namespace: a name can be pointed elsewhere, this cannot.
    pub cluster_uid: String,
    /// Namespaces, sorted, without repeats.
    pub namespaces: Vec<String>,
    /// The profile's name in the configuration.
    pub profile: String,
    /// Digest of that profile as configured when the request was filed.
    pub profile_digest: String,
    /// The `ClusterRole` the profile lends.
    pub cluster_role: String,
    /// Its rules as they were shown.
    pub rules: Value,
    /// How long the access lasts, in seconds, from the first reveal.
    pub duration_s: u32,
    /// Why.
    pub reason: String,
    /// The incident, a link or a number.
    pub incident: Option<String>,
    /// The grant this request would extend; `None` for a new access.
    pub extends: Option<GrantId>,
    /// How many approvals the policy asked for when it was filed.
    pub approvals_needed: u32,
    /// How many of those must come from outside the requester's team (a breached debt asks for one).
    pub outside_needed: u32,
}

/// One person's word on the hash of one exact request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// Who approved.
    pub by: Person,
    /// The approver was outside the requester's team.
    pub outside: bool,
    /// When, by the broker's clock.
    pub at: Time,
    /// The time allowed, in seconds: as asked or shorter.
    pub duration_s: u32,
    /// The hash that was approved, hex.
    pub request_hash: String,
    /// What the sign-in provider signed.
    pub proof: ApprovalProof,
}

/// The sign-in provider's own signature over the request's hash: enough to check the approval
/// without believing the broker.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalProof {
    /// The signed ID token (JWS compact form) whose nonce commits to the request's hash.
    pub id_token: String,
    /// The JWK that signed it, as the provider published it at the time.
    pub jwk: Value,
    /// The salt of the nonce, hex.
    pub salt: String,
    /// The provider.
    pub issuer: String,
    /// The audience.
    pub client_id: String,
}

impl std::fmt::Debug for ApprovalProof {
    /// The token names a person and stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApprovalProof")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RequestState {
    /// Waits for approvals.
    Pending {
        /// Those given so far.
        approvals: Vec<Approval>,
    },
    /// Enough approvals were given.
    Approved {
        /// All of them.
        approvals: Vec<Approval>,
        /// When the last one came.
        at: Time,
        /// The grant made (or extended) by it.
        grant: GrantId,
    },
    /// An approver said no.
    Denied {
        /// Who.
        by: Person,
        /// Why.
        reason: String,
        /// When.
        at: Time,
    },
    /// The requester took it back.
    Withdrawn {
        /// When.
        at: Time,
    },
    /// Nobody decided in time.
    Lapsed {
        /// When it was noticed.
        at: Time,
    },
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// What is asked.
    pub ask: Ask,
    /// When it was filed.
    pub filed_at: Time,
    /// When it lapses, undecided.
    pub lapses_at: Time,
    /// Where it stands.
    #[serde(flatten)]
    pub state: RequestState,
    /// Counts the changes: the store's guard against two writers.
    pub version: u64,
}

/// Why a decision on a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// Already decided.
    #[error("this request is {0} already")]
    NotPending(&'static str),
    /// Waited too long.
    #[error("this request lapsed at {}; a new one is needed", .0.format("%H:%M:%S UTC"))]
    Lapsed(Time),
    /// Requester and approver are the same person.
    #[error("you asked for this yourself; somebody else must approve it")]
    OwnRequest,
    /// The same person approved before.
    #[error("you have approved this already; another person is needed")]
    ApprovedBefore,
    /// The hash is not that of this request.
    #[error("the request has changed since it was shown; look at it again")]
    OtherRequest,
    /// Longer than asked.
    #[error("an approver may shorten the time, never lengthen it")]
    Longer,
    /// Shorter than anything can be.
    #[error("the time must be at least one minute")]
    TooShort,
    /// Only approvals from outside the team are still missing.
    #[error("the remaining approval must come from somebody outside team {0}")]
    NotOutside(String),
    /// A denial without a reason.
    #[error("a reason is needed, so that the requester knows what to do instead")]
    NoReason,
    /// Somebody else's.
    #[error("only the requester can take a request back")]
    NotYours,
}

/// What an approval led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approved {
    /// More approvals are needed.
    More(Request),
    /// That was the last one; the time is the shortest any approver allowed.
    Enough {
        /// The request, approved.
        request: Request,
        /// Seconds of access.
        duration_s: u32,
    },
}

impl Request {
    /// Files `ask` at `now`; it lapses after `patience`.
    #[must_use]
    pub fn file(ask: Ask, now: Time, patience: TimeDelta) -> Self {
        Self {
            id: RequestId::new(),
            ask,
            filed_at: now,
            lapses_at: now + patience,
            state: RequestState::Pending { approvals: vec![] },
            version: 0,
        }
    }

    /// The hash approvals are bound to: over the id and every field of the [`Ask`], hex.
    #[must_use]
    pub fn hash(&self) -> String {
        super::canonical::digest("breakglass request v1", &(self.id, &self.ask))
    }

    /// The state's name, as stored and shown.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match self.state {
            RequestState::Pending { .. } => "pending",
            RequestState::Approved { .. } => "approved",
            RequestState::Denied { .. } => "denied",
            RequestState::Withdrawn { .. } => "withdrawn",
            RequestState::Lapsed { .. } => "lapsed",
        }
    }

    /// The approvals given so far.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        match &self.state {
            RequestState::Pending { approvals } | RequestState::Approved { approvals, .. } => approvals,
            _ => &[],
        }
    }

    /// How many approvals are still missing, and how many of those must come from outside the team.
    ///
    /// Only approvals of this very hash count: whoever alters what is asked, in whatever way, has none.
    #[must_use]
    pub fn missing(&self) -> (u32, u32) {
        let (given, outside) = self.standing().fold((0u32, 0u32), |(given, outside), approval| {
            (
                given.saturating_add(1),
                outside.saturating_add(u32::from(approval.outside)),
            )
        });
        (
            self.ask.approvals_needed.saturating_sub(given),
            self.ask.outside_needed.saturating_sub(outside),
        )
    }

    /// The approvals of what is asked now.
    fn standing(&self) -> impl Iterator<Item = &Approval> {
        let hash = self.hash();
        self.approvals()
            .iter()
            .filter(move |approval| approval.request_hash == hash)
    }

    /// Whether `person` could approve this now, apart from being in an approvers' group (policy).
    ///
    /// # Errors
    /// The first rule that stands against it.
    pub fn may_be_approved_by(
        &self,
        person: &Person,
        outside: bool,
        now: Time,
    ) -> Result<(), RequestRefusal> {
        self.pending(now)?;
        if self.ask.requester.same_person(person) {
            return Err(RequestRefusal::OwnRequest);
        }
        if self.standing().any(|approval| approval.by.same_person(person)) {
            return Err(RequestRefusal::ApprovedBefore);
        }
        let (missing, missing_outside) = self.missing();
        if !outside && missing_outside >= missing {
            return Err(RequestRefusal::NotOutside(self.ask.team.clone()));
        }
        Ok(())
    }

    /// Takes one approval. The caller has checked the approver's group and the provider's signature.
    ///
    /// # Errors
    /// Not pending, lapsed, the requester's own, the same person again, another request's hash, or longer.
    pub fn approve(mut self, approval: Approval, grant: GrantId) -> Result<Approved, RequestRefusal> {
        let now = approval.at;
        self.may_be_approved_by(&approval.by, approval.outside, now)?;
        if approval.request_hash != self.hash() {
            return Err(RequestRefusal::OtherRequest);
        }
        if approval.duration_s > self.ask.duration_s {
            return Err(RequestRefusal::Longer);
        }
        if approval.duration_s < 60 {
            return Err(RequestRefusal::TooShort);
        }
        let mut approvals = self.approvals().to_vec();
        approvals.push(approval);
        let duration_s = approvals
            .iter()
            .map(|a| a.duration_s)
            .min()
            .unwrap_or(self.ask.duration_s);
        self.state = RequestState::Pending { approvals };
        if self.missing() == (0, 0) {
            let RequestState::Pending { approvals } = self.state else {
                unreachable!("set above")
            };
            self.state = RequestState::Approved {
                approvals,
                at: now,
                grant,
            };
            Ok(Approved::Enough {
                request: self,
                duration_s,
            })
        } else {
            Ok(Approved::More(self))
        }
    }

    /// Says no.
    ///
    /// # Errors
    /// Not pending, lapsed, the requester's own, or no reason given.
    pub fn deny(mut self, by: Person, reason: &str, now: Time) -> Result<Self, RequestRefusal> {
        self.pending(now)?;
        if self.ask.requester.same_person(&by) {
            return Err(RequestRefusal::OwnRequest);
        }
        if reason.trim().is_empty() {
            return Err(RequestRefusal::NoReason);
        }
        self.state = RequestState::Denied {
            by,
            reason: reason.trim().to_owned(),
            at: now,
        };
        Ok(self)
    }

    /// Takes the request back.
    ///
    /// # Errors
    /// Not pending, lapsed, or somebody else's.
    pub fn withdraw(mut self, by: &Person, now: Time) -> Result<Self, RequestRefusal> {
        self.pending(now)?;
        if !self.ask.requester.surely_same_person(by) {
            return Err(RequestRefusal::NotYours);
        }
        self.state = RequestState::Withdrawn { at: now };
        Ok(self)
    }

    /// The clock by which its times were told was set back by `by`: it waits no longer than it would have.
    #[must_use]
    pub fn clock_set_back(mut self, by: TimeDelta) -> Self {
        self.lapses_at -= by;
        self
    }

    /// Lapses the request when its time has come; `None` when it has not, or it is decided.
    #[must_use]
    pub fn lapse(mut self, now: Time) -> Option<Self> {
        if !matches!(self.state, RequestState::Pending { .. }) || now < self.lapses_at {
            return None;
        }
        self.state = RequestState::Lapsed { at: now };
        Some(self)
    }

    fn pending(&self, now: Time) -> Result<(), RequestRefusal> {
        if !matches!(self.state, RequestState::Pending { .. }) {
            return Err(RequestRefusal::NotPending(self.state_name()));
        }
        // The clock decides, not the worker that writes "lapsed" a moment later.
        if now >= self.lapses_at {
            return Err(RequestRefusal::Lapsed(self.lapses_at));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{approval, ask, at, person, request, same_mail, second_account};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn approved(request: Request, by: &Person, now: Time) -> Result<Approved, RequestRefusal> {
        let given = approval(&request, by, now);
        request.approve(given, GrantId::new())
    }

    fn more(result: Result<Approved, RequestRefusal>) -> Request {
        match result.unwrap() {
            Approved::More(request) => request,
            Approved::Enough { .. } => panic!("one approval too few was enough"),
        }
    }

    #[test]
    fn one_approval_by_another_person_is_enough() {
        let request = request(ask());
        let grant = GrantId::new();
        let given = approval(&request, &person("first-approver"), at(60));
        let Approved::Enough { request, duration_s } = request.approve(given, grant).unwrap() else {
            panic!("no more is needed")
        };
        assert_eq!(duration_s, 3600);
        assert!(
            matches!(&request.state, RequestState::Approved { approvals, at: when, grant: made }
            if approvals.len() == 1 && *when == at(60) && *made == grant)
        );
    }

    #[test]
    fn the_requester_never_decides_under_any_account() {
        for own in [person("oncall"), second_account(), same_mail()] {
            let request = request(ask());
            assert_eq!(
                approved(request.clone(), &own, at(1)).unwrap_err(),
                RequestRefusal::OwnRequest,
                "{own:?}"
            );
            assert_eq!(
                request.deny(own, "not now", at(1)).unwrap_err(),
                RequestRefusal::OwnRequest
            );
        }
    }

    #[test]
    fn nobody_approves_twice_under_any_account() {
        let first = person("first-approver");
        let again = [
            first.clone(),
            Person {
                person_claim: "e-first-approver".to_owned(),
                ..person("first-admin")
            },
            Person {
                email: Some("FIRST-approver@example.test".to_owned()),
                ..person("first-contractor")
            },
        ];
        for second in again {
            let request = request(Ask {
                approvals_needed: 2,
                ..ask()
            });
            let request = more(approved(request, &first, at(1)));
            assert_eq!(request.missing(), (1, 0));
            assert_eq!(
                approved(request, &second, at(2)).unwrap_err(),
                RequestRefusal::ApprovedBefore,
                "{second:?}"
            );
        }
    }

    #[test]
    fn the_shortest_time_any_approver_allowed_wins_in_any_order() {
        for times in [[3600, 900, 1800], [900, 1800, 3600], [1800, 3600, 900]] {
            let mut request = request(Ask {
                approvals_needed: 3,
                ..ask()
            });
            let mut lasts = None;
            for (name, duration_s) in ["one", "two", "three"].into_iter().zip(times) {
                let given = Approval {
                    duration_s,
                    ..approval(&request, &person(name), at(5))
                };
                match request.clone().approve(given, GrantId::new()).unwrap() {
                    Approved::More(next) => request = next,
                    Approved::Enough { duration_s, .. } => lasts = Some(duration_s),
                }
            }
            assert_eq!(lasts, Some(900), "{times:?}");
        }
    }

    #[test]
    fn an_approver_shortens_and_never_lengthens() {
        let request = request(ask());
        let with = |duration_s| {
            let given = Approval {
                duration_s,
                ..approval(&request, &person("first-approver"), at(1))
            };
            request.clone().approve(given, GrantId::new())
        };
        assert_eq!(with(3601).unwrap_err(), RequestRefusal::Longer);
        assert_eq!(with(59).unwrap_err(), RequestRefusal::TooShort);
        assert!(matches!(
            with(60).unwrap(),
            Approved::Enough { duration_s: 60, .. }
        ));
    }

    #[test]
    fn the_last_place_is_kept_for_somebody_from_outside() {
        let request = request(Ask {
            approvals_needed: 2,
            outside_needed: 1,
            ..ask()
        });
        let inside = more(approved(request.clone(), &person("one"), at(1)));
        assert_eq!(inside.missing(), (1, 1));
        assert_eq!(
            approved(inside.clone(), &person("two"), at(2)).unwrap_err(),
            RequestRefusal::NotOutside("payments".to_owned())
        );
        let outsider = Approval {
            outside: true,
            ..approval(&inside, &person("three"), at(3))
        };
        assert!(matches!(
            inside.approve(outsider, GrantId::new()).unwrap(),
            Approved::Enough { .. }
        ));
        // The other way round: once the outsider has spoken, anybody else completes it.
        let outsider = Approval {
            outside: true,
            ..approval(&request, &person("three"), at(3))
        };
        let outside = more(request.approve(outsider, GrantId::new()));
        assert_eq!(outside.missing(), (1, 0));
        assert!(matches!(
            approved(outside, &person("one"), at(4)).unwrap(),
            Approved::Enough { .. }
        ));
    }

    /// A hash is bound to every single value of what is asked, the requester's own included.
    #[test]
    fn any_edit_of_what_is_asked_gives_another_hash() {
        fn leaves(value: &Value, path: &str, out: &mut Vec<String>) {
            match value {
                Value::Object(map) if !map.is_empty() => {
                    map.iter()
                        .for_each(|(key, value)| leaves(value, &format!("{path}/{key}"), out));
                }
                Value::Array(list) if !list.is_empty() => {
                    list.iter()
                        .enumerate()
                        .for_each(|(i, value)| leaves(value, &format!("{path}/{i}"), out));
                }
                _ => out.push(path.to_owned()),
            }
        }
        let asked = Ask {
            extends: Some(GrantId::new()),
            ..ask()
        };
        let asked = Ask {
            requester: Person {
                forge_login: Some("oncall".into()),
                ..person("oncall")
            },
            ..asked
        };
        let request = request(asked);
        let document = serde_json::to_value(&request.ask).unwrap();
        let mut paths = vec![];
        leaves(&document, "", &mut paths);
        let members = document.as_object().unwrap().len();
        assert!(members >= 15 && paths.len() > members, "{paths:?}");
        let mut hashes = std::collections::BTreeSet::from([request.hash()]);
        for path in &paths {
            let mut edited = document.clone();
            let value = edited.pointer_mut(path).unwrap();
            *value = match value.take() {
                Value::String(text) if path == "/extends" => {
                    json!(if text.is_empty() {
                        text
                    } else {
                        GrantId::new().to_string()
                    })
                }
                Value::String(text) => json!(text + " "),
                Value::Bool(yes) => json!(!yes),
                Value::Number(number) => json!(number.as_u64().unwrap() + 1),
                other => panic!("{path} is {other}: no edit of it is tried"),
            };
            let edited = Request {
                ask: serde_json::from_value(edited).unwrap(),
                ..request.clone()
            };
            assert!(
                hashes.insert(edited.hash()),
                "an edit of {path} leaves the hash as it was"
            );
        }
        for edit in [
            Ask {
                namespaces: vec!["payments".into(), "shop".into()],
                ..request.ask.clone()
            },
            Ask {
                namespaces: vec![],
                ..request.ask.clone()
            },
            Ask {
                incident: None,
                ..request.ask.clone()
            },
            Ask {
                extends: None,
                ..request.ask.clone()
            },
            Ask {
                rules: json!([]),
                ..request.ask.clone()
            },
        ] {
            assert!(
                hashes.insert(
                    Request {
                        ask: edit,
                        ..request.clone()
                    }
                    .hash()
                )
            );
        }
        assert!(
            hashes.insert(
                Request {
                    id: RequestId::new(),
                    ..request.clone()
                }
                .hash()
            )
        );
    }

    #[test]
    fn the_hash_covers_the_ask_alone() {
        let one = request(ask());
        let other = Request {
            version: 7,
            lapses_at: at(9),
            filed_at: at(8),
            ..one.clone()
        };
        assert_eq!(one.hash(), other.hash());
        let read: Request = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
        assert_eq!(
            one.hash(),
            read.hash(),
            "reading it back from the store changes nothing"
        );
    }

    #[test]
    fn an_approval_of_another_text_is_refused_and_an_edit_voids_those_given() {
        let shown = request(ask());
        let given = approval(&shown, &person("first-approver"), at(1));
        let edited = Request {
            ask: Ask {
                namespaces: vec!["kube-system".into()],
                ..ask()
            },
            ..shown.clone()
        };
        assert_eq!(
            edited.approve(given, GrantId::new()).unwrap_err(),
            RequestRefusal::OtherRequest
        );

        let two = Request {
            ask: Ask {
                approvals_needed: 2,
                ..ask()
            },
            ..shown
        };
        let half = more(approved(two, &person("first-approver"), at(1)));
        let widened = Request {
            ask: Ask {
                duration_s: 7200,
                ..half.ask.clone()
            },
            ..half
        };
        assert_eq!(
            widened.missing(),
            (2, 0),
            "the approval of the old text does not count"
        );
        let again = more(approved(widened, &person("second-approver"), at(2)));
        assert_eq!(again.missing(), (1, 0));
        assert!(matches!(
            approved(again, &person("first-approver"), at(3)).unwrap(),
            Approved::Enough { .. }
        ));
    }

    #[test]
    fn the_clock_lapses_it_before_any_worker_does() {
        let request = request(ask());
        assert_eq!(request.clone().lapse(at(3599)), None);
        assert!(approved(request.clone(), &person("first-approver"), at(3599)).is_ok());
        let over = RequestRefusal::Lapsed(at(3600));
        assert_eq!(
            approved(request.clone(), &person("first-approver"), at(3600)).unwrap_err(),
            over
        );
        assert_eq!(
            request
                .clone()
                .deny(person("first-approver"), "late", at(3600))
                .unwrap_err(),
            over
        );
        assert_eq!(
            request.clone().withdraw(&person("oncall"), at(3600)).unwrap_err(),
            over
        );
        assert_eq!(
            request.lapse(at(4000)).unwrap().state,
            RequestState::Lapsed { at: at(4000) }
        );
    }

    #[test]
    fn a_denial_needs_a_reason_and_keeps_it() {
        let request = request(ask());
        for reason in ["", "  \n"] {
            let denied = request.clone().deny(person("first-approver"), reason, at(1));
            assert_eq!(denied.unwrap_err(), RequestRefusal::NoReason);
        }
        let denied = request
            .deny(person("first-approver"), " use the runbook ", at(1))
            .unwrap();
        assert!(matches!(&denied.state, RequestState::Denied { reason, .. } if reason == "use the runbook"));
        assert_eq!(
            approved(denied, &person("second-approver"), at(2)).unwrap_err(),
            RequestRefusal::NotPending("denied")
        );
    }

    #[test]
    fn only_the_requester_takes_it_back() {
        let request = request(ask());
        assert_eq!(
            request.clone().withdraw(&person("other"), at(1)).unwrap_err(),
            RequestRefusal::NotYours
        );
        let back = request.withdraw(&second_account(), at(1)).unwrap();
        assert_eq!(back.state_name(), "withdrawn");
        assert!(back.approvals().is_empty());
    }

    /// Both start from the same version: the store lets one through, and either is whole in itself.
    #[test]
    fn an_approval_and_a_withdrawal_of_one_version_name_the_same_expected_state() {
        let request = request(ask());
        let Approved::Enough { request: yes, .. } =
            approved(request.clone(), &person("first-approver"), at(1)).unwrap()
        else {
            panic!("one is enough")
        };
        let no = request.clone().withdraw(&person("oncall"), at(1)).unwrap();
        assert_eq!((yes.version, no.version), (request.version, request.version));
        assert_eq!(
            no.clone().withdraw(&person("oncall"), at(2)),
            Err(RequestRefusal::NotPending("withdrawn"))
        );
        assert_eq!(
            yes.withdraw(&person("oncall"), at(2)),
            Err(RequestRefusal::NotPending("approved"))
        );
        assert!(approved(no, &person("second-approver"), at(2)).is_err());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Approve {
            who: usize,
            outside: bool,
            duration_s: u32,
            stale: bool,
        },
        Deny {
            who: usize,
            reason: bool,
        },
        Withdraw {
            who: usize,
        },
        Lapse,
        Wait(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..7usize, any::<bool>(), 30..4000u32, prop::bool::weighted(0.1)).prop_map(
                |(who, outside, duration_s, stale)| Step::Approve { who, outside, duration_s, stale }
            ),
            1 => (0..7usize, any::<bool>()).prop_map(|(who, reason)| Step::Deny { who, reason }),
            1 => (0..7usize).prop_map(|who| Step::Withdraw { who }),
            1 => Just(Step::Lapse),
            3 => (0..1500i64).prop_map(Step::Wait),
        ]
    }

    /// Seven accounts of four people.
    fn accounts() -> [Person; 7] {
        let double = Person {
            person_claim: "E-one".to_owned(),
            ..person("one-admin")
        };
        [
            person("oncall"),
            second_account(),
            same_mail(),
            person("one"),
            double,
            person("two"),
            person("three"),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn no_history_breaks_the_rules(
            needed in 1..4u32,
            outside in 0..2u32,
            steps in prop::collection::vec(step(), 1..25),
        ) {
            let people = accounts();
            let mut request = request(Ask { approvals_needed: needed, outside_needed: outside, ..ask() });
            let hash = request.hash();
            let mut now = at(0);
            for step in steps {
                let before = request.clone();
                let after = match step {
                    Step::Wait(seconds) => { now += TimeDelta::seconds(seconds); None }
                    Step::Approve { who, outside, duration_s, stale } => {
                        let mut given = Approval { outside, duration_s, ..approval(&request, &people[who], now) };
                        if stale { given.request_hash = "00".repeat(32); }
                        match request.clone().approve(given, GrantId::new()) {
                            Ok(Approved::More(new)) => {
                                prop_assert_eq!(new.state_name(), "pending");
                                prop_assert_ne!(new.missing(), (0, 0));
                                Some(new)
                            }
                            Ok(Approved::Enough { request: new, duration_s }) => {
                                prop_assert_eq!(new.missing(), (0, 0));
                                let shortest = new.approvals().iter().map(|a| a.duration_s).min();
                                prop_assert_eq!(Some(duration_s), shortest);
                                Some(new)
                            }
                            Err(_) => None,
                        }
                    }
                    Step::Deny { who, reason } => {
                        request.clone().deny(people[who].clone(), if reason { "no" } else { " " }, now).ok()
                    }
                    Step::Withdraw { who } => request.clone().withdraw(&people[who], now).ok(),
                    Step::Lapse => request.clone().lapse(now),
                };
                let Some(after) = after else { continue };
                prop_assert_eq!(before.state_name(), "pending", "nothing leaves a decided state");
                prop_assert!(after.state_name() == "lapsed" || now < before.lapses_at);
                prop_assert_eq!(after.hash(), hash.clone());
                let given = after.approvals();
                for (i, one) in given.iter().enumerate() {
                    prop_assert!(!one.by.same_person(&after.ask.requester));
                    prop_assert!(one.duration_s >= 60 && one.duration_s <= after.ask.duration_s);
                    prop_assert_eq!(&one.request_hash, &hash);
                    prop_assert!(given[..i].iter().all(|other| !other.by.same_person(&one.by)));
                }
                if after.state_name() == "approved" {
                    prop_assert!(given.len() >= needed as usize);
                    prop_assert!(given.iter().filter(|a| a.outside).count() >= outside as usize);
                }
                request = after;
            }
        }
    }
}
