//! The configuration: one YAML file, validated at start, secrets redacted.
