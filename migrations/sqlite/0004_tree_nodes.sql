-- Roots over 256, 65,536, ... entries, by level from 1: what tiles and proofs are made from without reading the
-- log. Derived from the segments' leaf hashes and checked against the signed head by whoever reads them; a store
-- that has none yet gets them when it is opened.
CREATE TABLE tree_nodes (
    level INTEGER NOT NULL CHECK (level > 0),
    idx   INTEGER NOT NULL CHECK (idx >= 0),
    hash  BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;
