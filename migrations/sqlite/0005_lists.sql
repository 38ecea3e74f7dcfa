-- What pages and the broker's rounds ask for at every look, so that it costs what is shown and not what was kept.
CREATE INDEX grants_live ON grants (approved_at, id) WHERE state <> 'ended';
CREATE INDEX grants_by_cluster ON grants (cluster, approved_at);
CREATE INDEX follow_ups_owed ON follow_ups (from_at, id) WHERE closed_at IS NULL;
CREATE INDEX follow_ups_by_team ON follow_ups (team, from_at);
CREATE INDEX follow_ups_unreviewed ON follow_ups (from_at, id) WHERE json_extract(document, '$.reviewed') IS NULL;
CREATE INDEX requests_by_time ON requests (filed_at, id);
CREATE INDEX entries_by_team ON entries (team, idx) WHERE team IS NOT NULL;
CREATE INDEX entries_by_cluster ON entries (cluster, idx) WHERE cluster IS NOT NULL;
CREATE INDEX entries_by_profile ON entries (profile, idx) WHERE profile IS NOT NULL;
-- The steps that people and the broker take, among what API servers send, which is most of the ledger.
CREATE INDEX entries_told ON entries (idx) WHERE kind <> 'audit-event';
