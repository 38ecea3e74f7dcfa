-- The whole store. Times are milliseconds since 1970, UTC. Documents are JSON; the columns beside
-- them are what is searched by, and what guards an update. Illegal states cannot be stored.

CREATE TABLE requests (
    id        TEXT PRIMARY KEY,
    state     TEXT NOT NULL CHECK (state IN ('pending','approved','denied','withdrawn','lapsed')),
    version   INTEGER NOT NULL CHECK (version >= 0),
    requester TEXT NOT NULL,
    team      TEXT NOT NULL,
    cluster   TEXT NOT NULL,
    filed_at  INTEGER NOT NULL,
    document  TEXT NOT NULL CHECK (json_valid(document))
) STRICT;
CREATE INDEX requests_by_state ON requests (state, filed_at);
CREATE INDEX requests_by_requester ON requests (requester, filed_at);

CREATE TABLE grants (
    id          TEXT PRIMARY KEY,
    request     TEXT NOT NULL UNIQUE REFERENCES requests (id),
    state       TEXT NOT NULL CHECK (state IN ('provisioning','ready','issuing','active','ending','ended')),
    version     INTEGER NOT NULL CHECK (version >= 0),
    requester   TEXT NOT NULL,
    team        TEXT NOT NULL,
    cluster     TEXT NOT NULL,
    account     TEXT NOT NULL,
    approved_at INTEGER NOT NULL,
    document    TEXT NOT NULL CHECK (json_valid(document)),
    UNIQUE (cluster, account)
) STRICT;
CREATE INDEX grants_by_state ON grants (state);
CREATE INDEX grants_by_time ON grants (approved_at);

CREATE TABLE follow_ups (
    id        TEXT PRIMARY KEY,
    grant_id  TEXT NOT NULL UNIQUE REFERENCES grants (id),
    state     TEXT NOT NULL CHECK (state IN
        ('capturing','no drift','owed','merged','converged','rejected','reverted','waived')),
    version   INTEGER NOT NULL CHECK (version >= 0),
    team      TEXT NOT NULL,
    from_at   INTEGER NOT NULL,
    closed_at INTEGER,
    document  TEXT NOT NULL CHECK (json_valid(document))
) STRICT;
CREATE INDEX follow_ups_by_time ON follow_ups (from_at);
CREATE INDEX follow_ups_open ON follow_ups (team) WHERE closed_at IS NULL;

CREATE TABLE actions (
    entry         INTEGER PRIMARY KEY,
    grant_id      TEXT REFERENCES grants (id),
    cluster       TEXT NOT NULL,
    received_us   INTEGER NOT NULL,
    credential_id TEXT,
    class         TEXT NOT NULL,
    mutation      INTEGER NOT NULL CHECK (mutation IN (0, 1)),
    document      TEXT NOT NULL CHECK (json_valid(document))
) STRICT;
CREATE INDEX actions_by_grant ON actions (grant_id, received_us);
CREATE INDEX actions_by_credential ON actions (credential_id) WHERE credential_id IS NOT NULL;

CREATE TABLE seen (
    key TEXT PRIMARY KEY,
    at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_by_time ON seen (at);

CREATE TABLE jobs (
    id            TEXT PRIMARY KEY,
    key           TEXT NOT NULL UNIQUE,
    due           INTEGER NOT NULL,
    leased_until  INTEGER NOT NULL DEFAULT 0,
    -- asked for again while it was leased: it runs once more instead of being completed
    again         INTEGER NOT NULL DEFAULT 0 CHECK (again IN (0, 1)),
    document      TEXT NOT NULL CHECK (json_valid(document))
) STRICT;
CREATE INDEX jobs_by_due ON jobs (due);

CREATE TABLE notices (
    id       TEXT PRIMARY KEY,
    at       INTEGER NOT NULL,
    document TEXT NOT NULL CHECK (json_valid(document))
) STRICT;

CREATE TABLE deliveries (
    notice        TEXT NOT NULL REFERENCES notices (id),
    channel       TEXT NOT NULL,
    undeliverable INTEGER NOT NULL CHECK (undeliverable IN (0, 1)),
    document      TEXT NOT NULL CHECK (json_valid(document)),
    PRIMARY KEY (notice, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_failed ON deliveries (undeliverable) WHERE undeliverable = 1;

CREATE TABLE findings (
    id       TEXT PRIMARY KEY,
    key      TEXT NOT NULL,
    at       INTEGER NOT NULL,
    open     INTEGER NOT NULL CHECK (open IN (0, 1)),
    document TEXT NOT NULL CHECK (json_valid(document))
) STRICT;
CREATE UNIQUE INDEX findings_open ON findings (key) WHERE open = 1;
CREATE INDEX findings_by_time ON findings (at);

CREATE TABLE people (
    id       TEXT NOT NULL,
    issuer   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    seen_at  INTEGER NOT NULL,
    document TEXT NOT NULL CHECK (json_valid(document)),
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id_hash  TEXT PRIMARY KEY,
    expires  INTEGER NOT NULL,
    data     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_expiry ON sessions (expires);

-- The ledger. A segment is immutable; `entries` only helps to find lines again and can be rebuilt.
CREATE TABLE segments (
    first  INTEGER PRIMARY KEY CHECK (first >= 0),
    count  INTEGER NOT NULL CHECK (count > 0),
    bytes  BLOB NOT NULL
) STRICT;

CREATE TABLE ledger_head (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    size       INTEGER NOT NULL CHECK (size >= 0),
    frontier   BLOB NOT NULL,
    checkpoint TEXT NOT NULL,
    at         INTEGER NOT NULL
) STRICT;

CREATE TABLE entries (
    idx       INTEGER PRIMARY KEY,
    kind      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    entered   INTEGER NOT NULL,
    request   TEXT,
    grant_id  TEXT,
    follow_up TEXT,
    cluster   TEXT,
    team      TEXT,
    profile   TEXT,
    person    TEXT,
    sentence  TEXT NOT NULL
) STRICT;
CREATE INDEX entries_by_kind ON entries (kind, idx);
CREATE INDEX entries_by_request ON entries (request, idx) WHERE request IS NOT NULL;
CREATE INDEX entries_by_grant ON entries (grant_id, idx) WHERE grant_id IS NOT NULL;

-- Versions of objects in watched scopes: the "before" of what a grant touches. Kept while a grant of
-- the cluster is live or its drift is not yet taken down.
CREATE TABLE versions (
    cluster  TEXT NOT NULL,
    key      TEXT NOT NULL,
    version  INTEGER NOT NULL,
    seen_at  INTEGER NOT NULL,
    document TEXT NOT NULL CHECK (json_valid(document)),
    PRIMARY KEY (cluster, key, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
