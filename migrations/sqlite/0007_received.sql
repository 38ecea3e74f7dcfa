-- How many events each API server sent, each batch counted once, by the quarter of a second of its own clock in
-- which they happened. `server` is empty where it has no name.
CREATE TABLE received (
    cluster TEXT NOT NULL,
    server  TEXT NOT NULL,
    slot_ms INTEGER NOT NULL,
    events  INTEGER NOT NULL CHECK (events > 0),
    PRIMARY KEY (cluster, server, slot_ms)
) STRICT, WITHOUT ROWID;
