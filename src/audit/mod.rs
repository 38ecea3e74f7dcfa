//! What the API server sends: read, redact, attribute, classify. Pure.
