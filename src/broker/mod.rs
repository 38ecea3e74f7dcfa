//! The use cases, one file a stage; the only callers of Store::commit.
