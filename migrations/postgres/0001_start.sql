-- The whole store, as it is in SQLite: the same tables, columns and indices, so that both engines run the same
-- statements. Times are milliseconds since 1970, UTC. A truth is 0 or 1. Documents are JSON, kept as they were written;
-- the columns beside them are what is searched by, and what guards an update. Text is compared byte by byte,
-- whatever the database's own order of letters is. Illegal states cannot be stored.

-- SQLite's function of that name, for a path of members. PostgreSQL cannot unfold U+0000, which JSON can hold: here
-- it reads U+FFFD in its place, so that no document makes a look-up fail.
CREATE FUNCTION json_extract(document TEXT, path TEXT) RETURNS TEXT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT replace(document, '\u0000', '\ufffd')::json #>> string_to_array(substr(path, 3), '.') $$;

CREATE TABLE requests (
    id        TEXT COLLATE "C" PRIMARY KEY,
    state     TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending','approved','denied','withdrawn','lapsed')),
    version   BIGINT NOT NULL CHECK (version >= 0),
    requester TEXT COLLATE "C" NOT NULL,
    team      TEXT COLLATE "C" NOT NULL,
    cluster   TEXT COLLATE "C" NOT NULL,
    filed_at  BIGINT NOT NULL,
    document  TEXT COLLATE "C" NOT NULL CHECK (document::json IS NOT NULL)
);
CREATE INDEX requests_by_state ON requests (state, filed_at);
CREATE INDEX requests_by_requester ON requests (requester, filed_at);
CREATE INDEX requests_by_time ON requests (filed_at, id);

CREATE TABLE grants (
    id          TEXT COLLATE "C" PRIMARY KEY,
    request     TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES requests (id),
    state       TEXT COLLATE "C" NOT NULL
        CHECK (state IN ('provisioning','ready','issuing','active','ending','ended')),
    version     BIGINT NOT NULL CHECK (version >= 0),
    requester   TEXT COLLATE "C" NOT NULL,
    team        TEXT COLLATE "C" NOT NULL,
    cluster     TEXT COLLATE "C" NOT NULL,
    account     TEXT COLLATE "C" NOT NULL,
    approved_at BIGINT NOT NULL,
    document    TEXT COLLATE "C" NOT NULL CHECK (document::json IS NOT NULL),
    UNIQUE (cluster, account)
);
CREATE INDEX grants_by_state ON grants (state);
CREATE INDEX grants_by_time ON grants (approved_at);
CREATE INDEX grants_live ON grants (approved_at, id) WHERE state <> 'ended';
CREATE INDEX grants_by_cluster ON grants (cluster, approved_at);

CREATE TABLE follow_ups (
    id        TEXT COLLATE "C" PRIMARY KEY,
    grant_id  TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES grants (id),
    state     TEXT COLLATE "C" NOT NULL CHECK (state IN
        ('capturing','no drift','owed','merged','converged','rejected','reverted','waived')),
    version   BIGINT NOT NULL CHECK (version >= 0),
    team      TEXT COLLATE "C" NOT NULL,
    from_at   BIGINT NOT NULL,
    closed_at BIGINT,
    document  TEXT COLLATE "C" NOT NULL CHECK (document::json IS NOT NULL)
);
CREATE INDEX follow_ups_by_time ON follow_ups (from_at);
CREATE INDEX follow_ups_open ON follow_ups (team) WHERE closed_at IS NULL;
CREATE INDEX follow_ups_owed ON follow_ups (from_at, id) WHERE closed_at IS NULL;
CREATE INDEX follow_ups_by_team ON follow_ups (team, from_at);
CREATE INDEX follow_ups_unreviewed ON follow_ups (from_at, id) WHERE json_extract(document, '$.reviewed') IS NULL;
CREATE INDEX follow_ups_by_request ON follow_ups (json_extract(document, '$.request'));

CREATE TABLE actions (
    entry         BIGINT PRIMARY KEY,
    grant_id      TEXT COLLATE "C" REFERENCES grants (id),
    cluster       TEXT COLLATE "C" NOT NULL,
    received_us   BIGINT NOT NULL,
    credential_id TEXT COLLATE "C",
    class         TEXT COLLATE "C" NOT NULL,
    mutation      BIGINT NOT NULL CHECK (mutation IN (0, 1)),
    document      TEXT COLLATE "C" NOT NULL CHECK (document::json IS NOT NULL)
);
CREATE INDEX actions_by_grant ON actions (grant_id, received_us);
CREATE INDEX actions_by_credential ON actions (credential_id) WHERE credential_id IS NOT NULL;
CREATE INDEX actions_that_give ON actions (cluster) WHERE json_extract(document, '$.facts.gives') IS NOT NULL;
CREATE INDEX actions_of_change ON actions (entry) WHERE mutation = 1;
CREATE INDEX actions_of_exec ON actions (entry) WHERE class IN ('exec','attach','port-forward','proxy','debug');
CREATE INDEX actions_of_secrets ON actions (entry)
    WHERE (class = 'secret-read' OR json_extract(document, '$.flags') LIKE '%"secret"%');
CREATE INDEX actions_of_rights ON actions (entry)
    WHERE (class = 'rights-change' OR json_extract(document, '$.flags') LIKE '%"rights"%');
CREATE INDEX actions_denied ON actions (entry)
    WHERE (class = 'denied' OR json_extract(document, '$.flags') LIKE '%"denied"%');
CREATE INDEX actions_by_object ON actions (lower(json_extract(document, '$.object')), entry);

CREATE TABLE seen (
    key TEXT COLLATE "C" PRIMARY KEY,
    at  BIGINT NOT NULL
);
CREATE INDEX seen_by_time ON seen (at);

-- How many events each API server sent, each batch counted once, by the quarter of a second of its own clock in
-- which they happened. `server` is empty where it has no name.
CREATE TABLE received (
    cluster TEXT COLLATE "C" NOT NULL,
    server  TEXT COLLATE "C" NOT NULL,
    slot_ms BIGINT NOT NULL,
    events  BIGINT NOT NULL CHECK (events > 0),
    PRIMARY KEY (cluster, server, slot_ms)
);

CREATE TABLE jobs (
    id            TEXT COLLATE "C" PRIMARY KEY,
    key           TEXT COLLATE "C" NOT NULL UNIQUE,
    due           BIGINT NOT NULL,
    leased_until  BIGINT NOT NULL DEFAULT 0,
    -- asked for again while it was leased: it runs once more instead of being completed
    again         BIGINT NOT NULL DEFAULT 0 CHECK (again IN (0, 1)),
    document      TEXT COLLATE "C" NOT NULL CHECK (document::json IS NOT NULL)
);
CREATE INDEX jobs_by_due ON jobs (due);
CREATE INDEX jobs_failing ON jobs (json_extract(document, '$.failing_since'))
    WHERE json_extract(document, '$.failing_since') IS NOT NULL;

CREATE TABLE notices (
    id       TEXT COLLATE "C" PRIMARY KEY,
    at       BIGINT NOT NULL,
    document TEXT COLLATE "C" NOT NULL CHECK (document::json IS NOT NULL)
);

CREATE TABLE deliveries (
    notice        TEXT COLLATE "C" NOT NULL REFERENCES notices (id),
    channel       TEXT COLLATE "C" NOT NULL,
    undeliverable BIGINT NOT NULL CHECK (undeliverable IN (0, 1)),
    document      TEXT COLLATE "C" NOT NULL CHECK (document::json IS NOT NULL),
    PRIMARY KEY (notice, channel)
);
CREATE INDEX deliveries_failed ON deliveries (undeliverable) WHERE undeliverable = 1;

CREATE TABLE findings (
    id       TEXT COLLATE "C" PRIMARY KEY,
    key      TEXT COLLATE "C" NOT NULL,
    at       BIGINT NOT NULL,
    open     BIGINT NOT NULL CHECK (open IN (0, 1)),
    document TEXT COLLATE "C" NOT NULL CHECK (document::json IS NOT NULL)
);
CREATE UNIQUE INDEX findings_open ON findings (key) WHERE open = 1;
CREATE INDEX findings_by_time ON findings (at);
CREATE INDEX findings_by_key ON findings (key, at);

CREATE TABLE people (
    id       TEXT COLLATE "C" NOT NULL,
    issuer   TEXT COLLATE "C" NOT NULL,
    subject  TEXT COLLATE "C" NOT NULL,
    seen_at  BIGINT NOT NULL,
    document TEXT COLLATE "C" NOT NULL CHECK (document::json IS NOT NULL),
    PRIMARY KEY (issuer, subject)
);

CREATE TABLE sessions (
    id_hash  TEXT COLLATE "C" PRIMARY KEY,
    expires  BIGINT NOT NULL,
    data     TEXT COLLATE "C" NOT NULL
);
CREATE INDEX sessions_by_expiry ON sessions (expires);

-- The ledger. A segment is immutable; `entries` only helps to find lines again and can be rebuilt. A segment's bytes
-- are compressed already: stored as they are, so that its leaf hashes are read without the rest.
CREATE TABLE segments (
    first  BIGINT PRIMARY KEY CHECK (first >= 0),
    count  BIGINT NOT NULL CHECK (count > 0),
    bytes  BYTEA NOT NULL
);
ALTER TABLE segments ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Its one row is locked by every commit: the sequencer of the ledger. `term` counts the brokers that worked on this
-- database one after the other: one that was succeeded commits nothing any more.
CREATE TABLE ledger_head (
    one        BIGINT PRIMARY KEY CHECK (one = 1),
    size       BIGINT NOT NULL CHECK (size >= 0),
    frontier   BYTEA NOT NULL,
    checkpoint TEXT COLLATE "C" NOT NULL,
    at         BIGINT NOT NULL,
    term       BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

CREATE TABLE entries (
    idx       BIGINT PRIMARY KEY,
    kind      TEXT COLLATE "C" NOT NULL,
    at        BIGINT NOT NULL,
    entered   BIGINT NOT NULL,
    request   TEXT COLLATE "C",
    grant_id  TEXT COLLATE "C",
    follow_up TEXT COLLATE "C",
    cluster   TEXT COLLATE "C",
    team      TEXT COLLATE "C",
    profile   TEXT COLLATE "C",
    person    TEXT COLLATE "C",
    sentence  TEXT COLLATE "C" NOT NULL
);
CREATE INDEX entries_by_kind ON entries (kind, idx);
CREATE INDEX entries_by_request ON entries (request, idx) WHERE request IS NOT NULL;
CREATE INDEX entries_by_grant ON entries (grant_id, idx) WHERE grant_id IS NOT NULL;
CREATE INDEX entries_by_team ON entries (team, idx) WHERE team IS NOT NULL;
CREATE INDEX entries_by_cluster ON entries (cluster, idx) WHERE cluster IS NOT NULL;
CREATE INDEX entries_by_profile ON entries (profile, idx) WHERE profile IS NOT NULL;
CREATE INDEX entries_by_team_and_kind ON entries (team, kind, idx) WHERE team IS NOT NULL;
CREATE INDEX entries_by_cluster_and_kind ON entries (cluster, kind, idx) WHERE cluster IS NOT NULL;
CREATE INDEX entries_by_time ON entries (at);
CREATE INDEX entries_by_person ON entries (person, idx) WHERE person IS NOT NULL;
CREATE INDEX entries_told ON entries (idx) WHERE kind <> 'audit-event';

-- Roots over 256, 65,536, ... entries, by level from 1: what tiles and proofs are made from without reading the log.
CREATE TABLE tree_nodes (
    level BIGINT NOT NULL CHECK (level > 0),
    idx   BIGINT NOT NULL CHECK (idx >= 0),
    hash  BYTEA NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, idx)
);

-- Versions of objects in watched scopes: the "before" of what a grant touches.
CREATE TABLE versions (
    cluster  TEXT COLLATE "C" NOT NULL,
    key      TEXT COLLATE "C" NOT NULL,
    version  BIGINT NOT NULL,
    seen_at  BIGINT NOT NULL,
    document TEXT COLLATE "C" NOT NULL CHECK (document::json IS NOT NULL),
    PRIMARY KEY (cluster, key, version)
);

CREATE TABLE settings (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);
