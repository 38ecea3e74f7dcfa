//! One audit event as the API server wrote it.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, fmt};

use crate::clock::Time;

/// A string that borrows from the body where it can and owns where it had escapes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Text<'a>(Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// How much the audit policy wrote down of a request; ordered from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// Nothing. No event of this level is ever sent.
    None,
    /// Who, what, when; no bodies.
    Metadata,
    /// Also the request's body.
    Request,
    /// Also the response's body.
    RequestResponse,
}

/// Where in its life a request was when the event was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Before it was handed down; left out by the recommended policy.
    RequestReceived,
    /// The header of a long answer was sent: watch, exec, attach, port-forward.
    ResponseStarted,
    /// Nothing more will be sent.
    ResponseComplete,
    /// The handler panicked: whether anything was applied is unknown.
    Panic,
}

impl Stage {
    /// The name as the API server writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// Who the API server says is asking.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct User<'a> {
    /// The user name.
    #[serde(borrow, default)]
    pub username: Text<'a>,
    /// The groups.
    #[serde(borrow, default)]
    pub groups: Option<Vec<Text<'a>>>,
    /// What the authenticator added: the credential's id, the Pod of a bound token.
    #[serde(borrow, default)]
    pub extra: Option<BTreeMap<Text<'a>, Option<Vec<Text<'a>>>>>,
}

/// What the request was about, as far as the URL and the body's metadata say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef<'a> {
    /// The plural resource name.
    #[serde(borrow, default)]
    pub resource: Text<'a>,
    /// The namespace, empty for cluster-scoped objects.
    #[serde(borrow, default)]
    pub namespace: Text<'a>,
    /// The name, empty for lists, `deletecollection` and generated names.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// The API group, empty for the core group.
    #[serde(borrow, default, rename = "apiGroup")]
    pub api_group: Text<'a>,
    /// The API version.
    #[serde(borrow, default, rename = "apiVersion")]
    pub version: Text<'a>,
    /// The sub-resource: `scale`, `exec`, …
    #[serde(borrow, default)]
    pub subresource: Text<'a>,
}

/// How the API server answered.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Status<'a> {
    /// The HTTP code; 0 where the server had none.
    #[serde(default)]
    pub code: u16,
    /// The message, which may quote what the client sent.
    #[serde(borrow, default)]
    pub message: Text<'a>,
}

/// One `audit.k8s.io/v1` event (k8s.io/apiserver `pkg/apis/audit/v1/types.go`), borrowing from the
/// body it came in. The two objects stay unparsed: most events are only looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    /// What the policy wrote down.
    pub level: Level,
    /// The request's id. **A client can set it** (`Audit-ID` header): never an identity.
    #[serde(borrow, rename = "auditID")]
    pub audit_id: Text<'a>,
    /// The stage.
    pub stage: Stage,
    /// The URI as the client sent it: path and query.
    #[serde(borrow, rename = "requestURI")]
    pub uri: Text<'a>,
    /// The Kubernetes verb, or the HTTP method in lower case.
    #[serde(borrow)]
    pub verb: Text<'a>,
    /// Who was authenticated.
    #[serde(borrow)]
    pub user: User<'a>,
    /// Whom they acted as.
    #[serde(borrow, default)]
    pub impersonated_user: Option<User<'a>>,
    /// Addresses; all but the last can be made up by the client.
    #[serde(borrow, default, rename = "sourceIPs")]
    pub source_ips: Option<Vec<Text<'a>>>,
    /// What it was about; absent for URLs that are no resource.
    #[serde(borrow, default)]
    pub object_ref: Option<ObjectRef<'a>>,
    /// How it was answered.
    #[serde(borrow, default)]
    pub response_status: Option<Status<'a>>,
    /// The request's body, from level `Request`.
    #[serde(borrow, default)]
    pub request_object: Option<&'a RawValue>,
    /// The answer's body, at level `RequestResponse`.
    #[serde(borrow, default)]
    pub response_object: Option<&'a RawValue>,
    /// When the request came in, as written (RFC 3339, microseconds).
    #[serde(borrow, rename = "requestReceivedTimestamp")]
    pub received: Text<'a>,
    /// When it reached this stage, as written.
    #[serde(borrow, rename = "stageTimestamp")]
    pub staged: Text<'a>,
    /// What plugins and the server added.
    #[serde(borrow, default)]
    pub annotations: Option<BTreeMap<Text<'a>, Text<'a>>>,
    /// [`Self::received`] in microseconds since 1970.
    #[serde(skip)]
    pub received_us: i64,
    /// [`Self::staged`] in microseconds since 1970.
    #[serde(skip)]
    pub stage_us: i64,
}

impl Event<'_> {
    /// The HTTP code of the answer, where there is one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.response_status
            .as_ref()
            .map(|status| status.code)
            .filter(|code| *code != 0)
    }

    /// The one address a client cannot make up: the last, which the API server itself saw.
    #[must_use]
    pub fn source_ip(&self) -> Option<&str> {
        self.source_ips.as_ref()?.last().map(|ip| &**ip)
    }

    /// An annotation's value.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(|value| &**value)
    }

    /// The query's parameters, decoded, in their order.
    pub fn query(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let query = self.uri.split_once('?').map_or("", |(_, query)| query);
        url::form_urlencoded::parse(query.as_bytes())
    }
}

/// Why an event could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The bytes are no audit event.
    #[error("the event cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A time is not RFC 3339.
    #[error("the event's {field} is not a time")]
    Time {
        /// Which of the two times.
        field: &'static str,
    },
}

/// Reads one event. Objects are checked to be JSON but not built, whatever their size or depth.
pub fn parse(raw: &[u8]) -> Result<Event<'_>, ParseError> {
    let mut event: Event<'_> = serde_json::from_slice(raw)?;
    event.received_us = micros(&event.received, "requestReceivedTimestamp")?;
    event.stage_us = micros(&event.staged, "stageTimestamp")?;
    Ok(event)
}

fn micros(text: &str, field: &'static str) -> Result<i64, ParseError> {
    let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| ParseError::Time { field })?;
    Ok(time.timestamp_micros())
}

/// Microseconds since 1970 as a [`Time`], cut to the millisecond the store keeps.
#[must_use]
pub(super) fn time_of(us: i64) -> Time {
    chrono::DateTime::from_timestamp_millis(us.div_euclid(1000)).unwrap_or_default()
}
