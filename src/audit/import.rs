//! Audit events as they lie elsewhere: an API server's own log, and what the managed clouds make of it. One line
//! in, the events in it out, each as the API server wrote it.
//!
//! An API server's log has an event a line. `CloudWatch` (EKS) wraps them in subscription records, their `logEvents`
//! as text, packed once more on some ways; Event Hub (AKS) in `records`, each with the event as text in
//! `properties.log`. Cloud Logging (GKE) has no such events but a schema of its own: what can be told from it is
//! made into one, and that it is not all is said ([`Wrapping::Gke`]).

use super::gke;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{StreamDeserializer, de::SliceRead};
use std::io::Read as _;

/// The longest a packed record may become.
const UNPACKED: u64 = 64 << 20;
/// Records within records: subscription records in what carries them.
const DEEPEST: u32 = 3;

/// In what events came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrapping {
    /// In nothing: the API server's own log.
    Plain,
    /// `CloudWatch` subscription records, as EKS sends them.
    Eks,
    /// Event Hub records, as AKS sends them.
    Aks,
    /// Cloud Logging entries, as GKE writes them. Partial: without bodies, credential ids and exact codes.
    Gke,
}

impl Wrapping {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Eks, Self::Aks, Self::Gke];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Eks => "eks",
            Self::Aks => "aks",
            Self::Gke => "gke",
        }
    }

    /// In words, as a sentence says where events came from.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Plain => "the API server's log",
            Self::Eks => "CloudWatch (EKS)",
            Self::Aks => "Event Hub (AKS)",
            Self::Gke => "Cloud Logging (GKE), which is partial",
        }
    }
}

/// An event with what it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// In what.
    pub wrapping: Wrapping,
    /// The event, JSON.
    pub event: Vec<u8>,
}

/// What a line holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Its events.
    pub events: Vec<Found>,
    /// Records of other logs, which hold no audit events.
    pub others: u64,
    /// What could not be read, a reason each.
    pub unread: Vec<String>,
}

/// Reads one line: an event or a record, or several one after the other.
#[must_use]
pub fn read_line(line: &[u8]) -> Line {
    let mut found = Line::default();
    if !line.trim_ascii().is_empty() {
        found.documents(line, DEEPEST);
    }
    found
}

/// What tells the documents apart. Members are borrowed, so that an event stays as it was written.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow, default, rename = "auditID")]
    audit_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    items: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "messageType")]
    message_type: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "logStream")]
    log_stream: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "logEvents")]
    log_events: Option<&'a RawValue>,
    #[serde(borrow, default)]
    awslogs: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "Records")]
    kinesis: Option<&'a RawValue>,
    #[serde(borrow, default)]
    records: Option<&'a RawValue>,
    #[serde(borrow, default)]
    category: Option<&'a RawValue>,
    #[serde(borrow, default)]
    properties: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "protoPayload")]
    proto_payload: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "logName")]
    log_name: Option<&'a RawValue>,
}

impl Line {
    fn documents(&mut self, bytes: &[u8], deepest: u32) {
        let documents: StreamDeserializer<'_, SliceRead<'_>, &RawValue> =
            serde_json::Deserializer::from_slice(bytes).into_iter();
        for document in documents {
            match document {
                Ok(document) => self.document(document.get(), deepest),
                Err(error) => return self.unread.push(format!("it is no JSON: {error}")),
            }
        }
    }

    fn document(&mut self, text: &str, deepest: u32) {
        // Most lines are events: whatever else stands in them, they are nothing else.
        if super::event::parse(text.as_bytes()).is_ok() {
            return self.events.push(Found {
                wrapping: Wrapping::Plain,
                event: text.as_bytes().to_vec(),
            });
        }
        let shape: Shape<'_> = match serde_json::from_str(text) {
            Ok(shape) => shape,
            Err(error) => {
                return self
                    .unread
                    .push(format!("it is no event and no record of one: {error}"));
            }
        };
        if deepest == 0 {
            return self.unread.push("records lie too deep in records".to_owned());
        }
        if shape.audit_id.is_some() {
            self.event(text, Wrapping::Plain);
        } else if let Some(items) = shape.items {
            for item in self.list(items) {
                self.event(item.get(), Wrapping::Plain);
            }
        } else if let Some(events) = shape.log_events {
            self.cloud_watch(&shape, events);
        } else if let Some(packed) = shape.awslogs {
            self.packed(packed, "data", deepest);
        } else if let Some(records) = shape.kinesis {
            for record in self.list(records) {
                match member(record, "kinesis") {
                    Some(kinesis) => self.packed(kinesis, "data", deepest),
                    None => self.others += 1,
                }
            }
        } else if let Some(records) = shape.records {
            for record in self.list(records) {
                self.document(record.get(), deepest - 1);
            }
        } else if let Some(properties) = shape.properties {
            self.event_hub(&shape, properties);
        } else if shape.proto_payload.is_some() {
            self.cloud_logging(text);
        } else if shape.log_name.is_some() || shape.message_type.is_some() || shape.category.is_some() {
            self.others += 1;
        } else {
            self.unread.push("it is no event and no record of one".to_owned());
        }
    }

    /// An event as it lies there, held to be one.
    fn event(&mut self, text: &str, wrapping: Wrapping) {
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        match super::event::parse(text.as_bytes()) {
            Ok(_) => self.events.push(Found {
                wrapping,
                event: text.as_bytes().to_vec(),
            }),
            Err(error) => self.unread.push(error.to_string()),
        }
    }

    /// The items of a list; where it is none, that is said.
    fn list<'a>(&mut self, value: &'a RawValue) -> Vec<&'a RawValue> {
        serde_json::from_str(value.get()).unwrap_or_else(|_| {
            self.unread.push("what should be a list is none".to_owned());
            vec![]
        })
    }

    fn cloud_watch(&mut self, shape: &Shape<'_>, events: &RawValue) {
        let events = self.list(events);
        // A group holds the logs of the whole control plane, a stream each.
        let stream = shape.log_stream.and_then(text).unwrap_or_default();
        if !stream.is_empty() && !stream.starts_with("kube-apiserver-audit") {
            self.others += events.len() as u64;
            return;
        }
        for event in events {
            match member(event, "message").and_then(text) {
                Some(message) => self.event(&message, Wrapping::Eks),
                None => self.unread.push("a log event has no message".to_owned()),
            }
        }
    }

    fn event_hub(&mut self, shape: &Shape<'_>, properties: &RawValue) {
        let category = shape.category.and_then(text).unwrap_or_default();
        if !matches!(category.as_str(), "kube-audit" | "kube-audit-admin") {
            self.others += 1;
            return;
        }
        match member(properties, "log").and_then(text) {
            Some(log) => self.event(&log, Wrapping::Aks),
            None => self.unread.push("a record has no log".to_owned()),
        }
    }

    fn cloud_logging(&mut self, text: &str) {
        match gke::event(text) {
            Ok(Some(event)) => match super::event::parse(&event) {
                Ok(_) => self.events.push(Found {
                    wrapping: Wrapping::Gke,
                    event,
                }),
                Err(error) => self.unread.push(error.to_string()),
            },
            Ok(None) => self.others += 1,
            Err(why) => self.unread.push(why),
        }
    }

    /// A subscription record, packed: base64 of gzip.
    fn packed(&mut self, carrier: &RawValue, name: &str, deepest: u32) {
        let Some(data) = member(carrier, name).and_then(text) else {
            return self.unread.push(format!("a record has no {name}"));
        };
        let Ok(bytes) = BASE64.decode(data.trim()) else {
            return self.unread.push(format!("a record's {name} is no base64"));
        };
        let mut unpacked = vec![];
        let read = flate2::read::MultiGzDecoder::new(bytes.as_slice())
            .take(UNPACKED + 1)
            .read_to_end(&mut unpacked);
        match read {
            Err(error) => self
                .unread
                .push(format!("a record's {name} cannot be unpacked: {error}")),
            Ok(length) if length as u64 > UNPACKED => {
                self.unread
                    .push(format!("a record's {name} unpacks to more than 64 MiB"));
            }
            Ok(_) if deepest <= 1 => self.unread.push("records lie too deep in records".to_owned()),
            Ok(_) if unpacked.trim_ascii().is_empty() => {
                self.unread.push(format!("a record's {name} holds nothing"));
            }
            Ok(_) => self.documents(&unpacked, deepest - 1),
        }
    }
}

fn member<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let members: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(object.get()).ok()?;
    members.get(name).copied()
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::io::Write as _;

    fn event(id: &str) -> Value {
        json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id,
            "stage": "ResponseComplete", "requestURI": "/api/v1/pods", "verb": "list", "user": {"username": "alice"},
            "requestReceivedTimestamp": "2026-03-01T10:00:00.123456Z",
            "stageTimestamp": "2026-03-01T10:00:00.130000Z"})
    }

    fn ids(line: &Line) -> Vec<String> {
        let id = |found: &Found| {
            serde_json::from_slice::<Value>(&found.event).unwrap()["auditID"]
                .as_str()
                .map(str::to_owned)
        };
        line.events.iter().filter_map(id).collect()
    }

    fn packed(text: &str) -> String {
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        BASE64.encode(encoder.finish().unwrap())
    }

    fn subscription(stream: &str, events: &[Value]) -> Value {
        let events: Vec<_> = events
            .iter()
            .enumerate()
            .map(|(n, event)| json!({"id": n, "timestamp": 1, "message": event.to_string()}))
            .collect();
        json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "/aws/eks/prod/cluster", "logStream": stream,
            "subscriptionFilters": ["all"], "logEvents": events})
    }

    #[test]
    fn a_log_line_stays_as_the_api_server_wrote_it() {
        let text = event("a").to_string().replace("\"verb\":", " \"verb\" : ");
        let line = read_line(text.as_bytes());
        assert_eq!(
            line.events,
            [Found {
                wrapping: Wrapping::Plain,
                event: text.into_bytes()
            }]
        );
        assert_eq!(read_line(b"  \n"), Line::default());
        let list = json!({"kind": "EventList", "items": [event("a"), event("b")]}).to_string();
        assert_eq!(ids(&read_line(list.as_bytes())), ["a", "b"]);
    }

    #[test]
    fn subscription_records_are_read_however_they_are_carried() {
        let record = subscription("kube-apiserver-audit-0a1", &[event("a"), event("b")]).to_string();
        let lambda = json!({"awslogs": {"data": packed(&record)}}).to_string();
        let kinesis = json!({"Records": [{"kinesis": {"data": packed(&record)}}]}).to_string();
        // Firehose writes one after the other, without a line end.
        let firehose = format!("{record}{record}");
        for (carried, expected) in [(record.as_str(), 2), (&lambda, 2), (&kinesis, 2), (&firehose, 4)] {
            let line = read_line(carried.as_bytes());
            assert_eq!((line.events.len(), line.unread.len()), (expected, 0), "{line:?}");
            assert!(line.events.iter().all(|found| found.wrapping == Wrapping::Eks));
        }
        let others = subscription("authenticator-0a1", &[json!("time=… level=info")]).to_string();
        assert_eq!(read_line(others.as_bytes()).others, 1);
        let control = json!({"messageType": "CONTROL_MESSAGE", "logEvents": []}).to_string();
        assert_eq!(read_line(control.as_bytes()), Line::default());
    }

    #[test]
    fn event_hub_records_are_read_alone_or_together() {
        let record = |category: &str| {
            json!({"category": category, "operationName": "x", "resourceId": "/X", "time": "t",
            "properties": {"log": event("a").to_string(), "stream": "stdout", "pod": "kube-apiserver-1"}})
        };
        let both = json!({"records": [record("kube-audit"), record("kube-audit-admin"), record("guard")]})
            .to_string();
        let line = read_line(both.as_bytes());
        assert_eq!(
            (ids(&line), line.others, line.unread.len()),
            (vec!["a".to_owned(), "a".to_owned()], 1, 0)
        );
        assert_eq!(line.events[0].wrapping, Wrapping::Aks);
        assert_eq!(
            ids(&read_line(record("kube-audit").to_string().as_bytes())),
            ["a"]
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_and_the_rest_is_read() {
        let bad = subscription("kube-apiserver-audit-1", &[json!({"no": "event"}), event("b")]).to_string();
        let line = read_line(bad.as_bytes());
        assert_eq!((ids(&line), line.unread.len()), (vec!["b".to_owned()], 1));
        let torn = format!("{}{}", event("a"), "{\"auditID\":");
        let line = read_line(torn.as_bytes());
        assert_eq!((ids(&line), line.unread.len()), (vec!["a".to_owned()], 1));
        for bad in [
            "[]",
            "7",
            "{}",
            "no JSON",
            "{\"awslogs\":{\"data\":\"!\"}}",
            "{\"awslogs\":{\"data\":\"AAAA\"}}",
        ] {
            let line = read_line(bad.as_bytes());
            assert_eq!((line.events.len(), line.unread.len()), (0, 1), "{bad}");
        }
    }

    #[test]
    fn records_in_records_end_somewhere_and_a_bomb_is_not_unpacked() {
        let mut text = event("a").to_string();
        for _ in 0..6 {
            text = json!({"awslogs": {"data": packed(&text)}}).to_string();
        }
        let line = read_line(text.as_bytes());
        assert_eq!((line.events.len(), line.unread.len()), (0, 1));
        let bomb = json!({"awslogs": {"data": packed(&" ".repeat(65 << 20))}}).to_string();
        assert!(read_line(bomb.as_bytes()).unread[0].contains("64 MiB"));
    }
}
