//! What people must look at: what others did that nobody but the broker may do, and each alarm in words.

use serde_json::Value;

use super::{
    attribute,
    classify::Flag,
    event::Stage,
    intake::View,
    key::EventKey,
    object::Object,
    record::{Alarm, AlarmKind, Intake},
    redact, scrub, words,
};
use crate::{config::GRANTS_NAMESPACE, domain::canonical};

impl View<'_> {
    /// What somebody else may not do: hand out, write or borrow a grant's identity.
    pub(super) fn stranger(&self, intake: &mut Intake) {
        let event = self.event;
        let by = event.user.username.to_string();
        if let Some(account) = event.impersonated_user.as_ref().and_then(attribute::account_of) {
            let kind = AlarmKind::Impersonation {
                account: account.to_owned(),
                by: by.clone(),
            };
            self.alarm(kind, intake);
        }
        if let Some(account) = attribute::lasting_token(event) {
            let account = account.to_owned();
            self.alarm(AlarmKind::LastingToken { account }, intake);
        }
        let writes = matches!(&*event.verb, "create" | "update" | "patch");
        let refused = event
            .code()
            .is_some_and(|code| (400..500).contains(&code) && !self.class.uncertain);
        if !writes || refused || self.class.flags.has(Flag::DryRun) {
            return;
        }
        let Some(object) = Object::of(event, None) else {
            return;
        };
        if is_account_token(&object) {
            let account = object.name.unwrap_or_default();
            self.alarm(AlarmKind::ForeignIssuance { account, by }, intake);
        } else if object.namespace.as_deref() == Some(GRANTS_NAMESPACE)
            && !is_namespace_default(&object, &by)
            && matches!(
                object.resource.as_str(),
                "serviceaccounts" | "secrets" | "roles" | "rolebindings"
            )
        {
            let written = self.stored_right(&object);
            self.alarm(
                AlarmKind::ForeignWrite {
                    object: object.scrubbed(),
                    by,
                    written,
                },
                intake,
            );
        }
    }

    /// The role or binding as it was stored: those hold no secret.
    fn stored_right(&self, object: &Object) -> Option<Value> {
        let event = self.event;
        let right = object.api_group == "rbac.authorization.k8s.io" && object.subresource.is_none();
        let stored = event.stage == Stage::ResponseComplete
            && event.code().is_some_and(|code| (200..300).contains(&code))
            && !self.class.uncertain;
        let answer = event.response_object.filter(|_| right && stored)?;
        serde_json::from_str(answer.get()).ok()
    }

    fn in_words(&self, redacted: &redact::Redacted) -> String {
        let object = Object::of(self.event, None).map(Object::scrubbed);
        words::say(
            self.event,
            self.class,
            object.as_ref(),
            &redacted.uri,
            redacted.body(),
            redacted.answer(),
        )
        .text
    }

    pub(super) fn alarm(&self, kind: AlarmKind, intake: &mut Intake) {
        let redacted = redact::event(self.raw, self.event);
        let text = match &kind {
            AlarmKind::UnknownAccount { name } => {
                format!("{name} in {GRANTS_NAMESPACE} was used and no grant has it")
            }
            AlarmKind::UnknownCredential {
                credential: Some(id), ..
            } => {
                format!("a grant's account was used with token {id}, which the broker did not have issued")
            }
            AlarmKind::UnknownCredential { credential: None, .. } => {
                "a grant's account was used with a token that has no id".to_owned()
            }
            AlarmKind::ForeignIssuance { account, by } => format!("{by} had a token issued for {account}"),
            AlarmKind::ForeignWrite { object, by, .. } => {
                format!("{by} wrote {} {}", object.kind(), object.path())
            }
            AlarmKind::Impersonation { account, by } => format!("{by} acted as {account}"),
            AlarmKind::SameAuditId { audit_id } => format!("two requests carry the audit id {audit_id}"),
            AlarmKind::Borrowed { account, by, .. } => {
                let done = self.in_words(&redacted);
                format!("{account} acted from {by}, which this access had got hold of: {done}")
            }
            AlarmKind::TokenMade { account, .. } => {
                format!("this access had a token issued for ServiceAccount {account}")
            }
            AlarmKind::LastingToken { account } => format!(
                "ServiceAccount {} used a token without an id: one from a Secret, which never expires",
                account.replacen(':', "/", 1)
            ),
            AlarmKind::Unreadable { .. } => {
                "a body was too large, too deep or no JSON and is not kept".to_owned()
            }
        };
        intake.alarms.push(Alarm {
            words: words::piece(&scrub::scrub(&text).0),
            kind,
            key: EventKey::of(self.cluster, self.event, &redacted.uri),
            at_us: self.event.received_us,
            source_ip: self.event.source_ip().map(str::to_owned),
            event: canonical::bytes(&redacted.event),
        });
    }
}

pub(super) fn is_account_token(object: &Object) -> bool {
    object.is_token() && object.namespace.as_deref() == Some(GRANTS_NAMESPACE)
}

/// The account every namespace is given by Kubernetes itself; nothing here runs as it.
fn is_namespace_default(object: &Object, by: &str) -> bool {
    by == "system:serviceaccount:kube-system:service-account-controller"
        && object.resource == "serviceaccounts"
        && object.subresource.is_none()
        && object.name.as_deref() == Some("default")
}
