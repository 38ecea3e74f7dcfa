//! Reading YAML as the API server's clients do.

use serde_json::Value;

/// Reads every document of a file, empty ones left out, with the scalars as `kubectl` reads them:
/// `no`, `y` and `0755` are a boolean, a boolean and 493. Duplicate keys and alias bombs are
/// errors. The error says where, without quoting the text, which may be secret.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options::<Value>(text, options).map_err(|error| match error.location() {
        Some(at) => format!(
            "not readable as YAML at line {} column {}",
            at.line(),
            at.column()
        ),
        None => "not readable as YAML".to_owned(),
    })
}

/// Writes a value as YAML that [`documents`] reads back, keys in the order they have.
pub fn write(value: &Value) -> Result<String, String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false, compact_list_indent: true };
    serde_saphyr::to_string_with_options(value, options).map_err(|_| "not writable as YAML".to_owned())
}
