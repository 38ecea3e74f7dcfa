//! The store: the one write door, and everything that is read back.
