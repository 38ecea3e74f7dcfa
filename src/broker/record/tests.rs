//! What comes late is still whose it was.

use super::*;
use crate::domain::entry_kind::EntryKind;
use crate::domain::fixture::{self, ask, at};
use crate::domain::grant::GrantState;
use crate::domain::request::Request;
use crate::domain::transition::{About, record};
use crate::web::lists::fixture::Stage;
use serde_json::json;

/// An access from long before the snapshot begins.
fn long_ago(request: &Request) -> Grant {
    Grant {
        state: GrantState::Ended,
        ended_at: Some(at(611)),
        ..fixture::lent(request)
    }
}

#[tokio::test]
async fn a_late_event_of_an_access_of_long_ago_is_still_its_own() {
    let stage = Stage::new().await;
    let broker = &stage.app.broker;
    let request = Request::file(ask(), at(0), TimeDelta::hours(1));
    let old = long_ago(&request);
    assert!(
        broker.now() - old.approved_at > LATE,
        "the snapshot leaves it out"
    );
    let about = About::grant(&old);
    let entry = record(EntryKind::GrantEnded, at(611), about, "over", json!({}));
    let mut lent = Transition::new(entry);
    lent.writes = vec![Write::NewRequest(request), Write::NewGrant(old.clone())];
    broker.commit(lent).await.unwrap();
    let received = at(60).format("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
    let event = json!({
        "level": "Metadata", "auditID": "late", "stage": "ResponseComplete", "verb": "delete",
        "requestURI": "/api/v1/namespaces/payments/pods/one",
        "user": {
            "username": format!("system:serviceaccount:breakglass-grants:{}", old.account),
            "groups": ["system:serviceaccounts:breakglass-grants"],
            "extra": {"authentication.kubernetes.io/credential-id": ["JTI=one"]},
        },
        "objectRef": {"resource": "pods", "namespace": "payments", "name": "one", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200}, "requestReceivedTimestamp": received,
        "stageTimestamp": received,
    });
    let batch =
        json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": [event]});
    let recorded = broker
        .record_batch(&old.cluster, "", batch.to_string())
        .await
        .unwrap();
    assert_eq!(recorded.entered, 1);
    assert_eq!(broker.store.actions(old.id).await.unwrap().len(), 1);
    assert_eq!(broker.store.open_findings().await.unwrap(), []);
}
