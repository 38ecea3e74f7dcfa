//! Numbers in sentences.

/// "1 change", "2 changes": a number with its noun.
#[must_use]
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
