//! What was done, and whether it took effect.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

use super::event::{Event, Stage};

/// What an action was, in one word: the first of these that fits, in the order of
/// [`classify`]'s rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Something was looked at.
    Read,
    /// A Pod's logs were read.
    Logs,
    /// A Secret was read, listed or watched.
    SecretRead,
    /// Something was created or changed.
    Change,
    /// Something was deleted or evicted.
    Delete,
    /// A command was run in a Pod.
    Exec,
    /// Somebody attached to a running process.
    Attach,
    /// A port was forwarded.
    PortForward,
    /// A Pod, Service or Node was reached through the API server's proxy.
    Proxy,
    /// An ephemeral container, or a Pod made to debug a Node.
    Debug,
    /// Rights, identities, or what guards them.
    RightsChange,
    /// The API server refused.
    Denied,
    /// None of these.
    Other,
}

impl Class {
    /// The name in filters, exports and counts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Logs => "logs",
            Self::SecretRead => "secret-read",
            Self::Change => "change",
            Self::Delete => "delete",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "port-forward",
            Self::Proxy => "proxy",
            Self::Debug => "debug",
            Self::RightsChange => "rights-change",
            Self::Denied => "denied",
            Self::Other => "other",
        }
    }
}

/// What else is to be said about an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Flag {
    /// Refused with 401 or 403.
    Denied,
    /// Asked with `dryRun=All`: nothing was stored.
    DryRun,
    /// A change whose answer does not say whether it was applied.
    Uncertain,
    /// Answered with an error that means "not applied".
    Failed,
    /// About a Secret.
    Secret,
    /// About rights, identities, or what guards them.
    Rights,
    /// Files copied through `tar`, as `kubectl cp` does.
    Copy,
    /// A connection that may outlive the grant.
    Stream,
    /// Done as somebody else.
    Impersonation,
    /// The API server cut the event.
    Truncated,
    /// A body was too deep, too large or no JSON: not kept.
    Unreadable,
    /// Something was taken out before storing.
    Redacted,
    /// The credential is not one the broker had issued.
    UnknownCredential,
    /// Done as another account, by what the session got hold of.
    Borrowed,
}

const FLAGS: [Flag; 14] = [
    Flag::Denied,
    Flag::DryRun,
    Flag::Uncertain,
    Flag::Failed,
    Flag::Secret,
    Flag::Rights,
    Flag::Copy,
    Flag::Stream,
    Flag::Impersonation,
    Flag::Truncated,
    Flag::Unreadable,
    Flag::Redacted,
    Flag::UnknownCredential,
    Flag::Borrowed,
];

/// A set of [`Flag`]s, written as the list of their names.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "Vec<Flag>", from = "Vec<Flag>")]
pub struct Flags(u16);

impl Flags {
    /// Adds one.
    pub fn insert(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u8;
    }

    /// Is it in?
    #[must_use]
    pub const fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u8) != 0
    }

    /// Those in it.
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        FLAGS.into_iter().filter(move |flag| self.has(*flag))
    }
}

impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl From<Flags> for Vec<Flag> {
    fn from(flags: Flags) -> Self {
        flags.iter().collect()
    }
}

impl From<Vec<Flag>> for Flags {
    fn from(list: Vec<Flag>) -> Self {
        let mut flags = Self::default();
        for flag in list {
            flags.insert(flag);
        }
        flags
    }
}

/// Whether an action is a connection that stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// It is none.
    None,
    /// It began. Open until an event of the same request says [`Stream::Closed`]: revoking the
    /// credential does not end it.
    Open,
    /// It ended.
    Closed,
}

/// What [`classify`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classified {
    /// The one word.
    pub class: Class,
    /// The rest.
    pub flags: Flags,
    /// Objects changed, or may have.
    pub mutates: bool,
    /// Whether it was applied is unknown; only reading the object again tells.
    pub uncertain: bool,
    /// The connection.
    pub stream: Stream,
}

/// Classifies by verb, resource, URI and code; never by the user agent, which the client writes.
#[must_use]
pub fn classify(event: &Event<'_>) -> Classified {
    let none = super::event::ObjectRef::default();
    let of = event.object_ref.as_ref().unwrap_or(&none);
    let (group, resource, sub) = (&*of.api_group, &*of.resource, &*of.subresource);
    let writes = matches!(
        &*event.verb,
        "create" | "update" | "patch" | "delete" | "deletecollection"
    );
    let code = event.code();
    let dry_run = event
        .query()
        .any(|(key, value)| key == "dryRun" && value == "All")
        || body_says_dry_run(event);
    let connects = matches!(sub, "exec" | "attach" | "portforward" | "proxy");
    let review = matches!(group, "authorization.k8s.io" | "authentication.k8s.io");
    let stores = writes && !resource.is_empty() && !connects && sub != "token" && !review && !dry_run;
    let denied = matches!(code, Some(401 | 403));
    // drift.md of the API server's handlers: a time-out is answered while the write goes on, so
    // these codes, and an event without an end, say nothing about what was stored.
    let unknown = matches!(code, None | Some(408 | 499 | 500..));
    let uncertain = stores && unknown;
    let applied = matches!(code, Some(..400));
    let guards = matches!(
        group,
        "rbac.authorization.k8s.io"
            | "certificates.k8s.io"
            | "admissionregistration.k8s.io"
            | "apiregistration.k8s.io"
    );
    let impersonates = event.impersonated_user.is_some();
    let rights = impersonates || writes && (guards || group.is_empty() && resource == "serviceaccounts");
    let secret = group.is_empty() && resource == "secrets";
    let long = *event.verb == *"watch" || connects || sub == "log";

    let mut flags = Flags::default();
    for (flag, on) in [
        (Flag::Denied, denied),
        (Flag::DryRun, dry_run && writes),
        (Flag::Uncertain, uncertain),
        (
            Flag::Failed,
            !denied && !unknown && !applied || unknown && code.is_some() && !stores,
        ),
        (Flag::Secret, secret),
        (Flag::Rights, rights),
        (Flag::Copy, sub == "exec" && copies(event)),
        (Flag::Stream, long),
        (Flag::Impersonation, impersonates),
        (
            Flag::Truncated,
            event.annotation("audit.k8s.io/truncated") == Some("true"),
        ),
    ] {
        if on {
            flags.insert(flag);
        }
    }
    let stream = match event.stage {
        _ if !long => Stream::None,
        Stage::ResponseStarted => Stream::Open,
        Stage::ResponseComplete | Stage::Panic => Stream::Closed,
        Stage::RequestReceived => Stream::None,
    };
    let class = match (&*event.verb, sub) {
        _ if denied => Class::Denied,
        _ if impersonates => Class::RightsChange,
        (_, "exec") => Class::Exec,
        (_, "attach") => Class::Attach,
        (_, "portforward") => Class::PortForward,
        (_, "proxy") => Class::Proxy,
        (_, "ephemeralcontainers") if writes => Class::Debug,
        (_, "log") => Class::Logs,
        _ if rights => Class::RightsChange,
        ("get" | "list" | "watch", _) if secret => Class::SecretRead,
        ("delete" | "deletecollection", _) | ("create", "eviction") if stores || dry_run => Class::Delete,
        ("create", _) if resource == "pods" && of.name.starts_with("node-debugger-") => Class::Debug,
        _ if stores || writes && dry_run => Class::Change,
        ("get" | "list" | "watch" | "head" | "options", _) => Class::Read,
        _ if review => Class::Read,
        _ => Class::Other,
    };
    Classified {
        class,
        flags,
        mutates: stores && (applied || uncertain),
        uncertain,
        stream,
    }
}

/// The command of an exec, as it stands in the URI: one `command` parameter a word.
pub(super) fn command<'e>(event: &'e Event<'_>) -> impl Iterator<Item = Cow<'e, str>> {
    event
        .query()
        .filter(|(key, _)| key == "command")
        .map(|(_, word)| word)
}

fn copies(event: &Event<'_>) -> bool {
    command(event)
        .next()
        .is_some_and(|program| program.rsplit('/').next() == Some("tar"))
}

/// A delete and an eviction may say it in their body instead (`kubectl delete --dry-run=server`).
fn body_says_dry_run(event: &Event<'_>) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Options {
        #[serde(default)]
        dry_run: Vec<String>,
        delete_options: Option<Box<Options>>,
    }
    let of = event.object_ref.as_ref();
    let evicts = of.is_some_and(|of| *of.subresource == *"eviction");
    if !event.verb.starts_with("delete") && !evicts {
        return false;
    }
    let Some(body) = event.request_object else {
        return false;
    };
    let Ok(options) = serde_json::from_str::<Options>(body.get()) else {
        return false;
    };
    let all = |options: &Options| options.dry_run.iter().any(|word| word == "All");
    if evicts {
        options.delete_options.as_deref().is_some_and(all)
    } else {
        all(&options)
    }
}
