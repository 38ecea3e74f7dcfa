//! Filters: their choices, and the query that keeps them.

use crate::web::pages::{Choice, Filter, Href, Pager};

/// A filter over `values`, each with its label; nothing chosen means all.
pub fn filter(
    name: &'static str,
    label: &'static str,
    chosen: Option<&str>,
    values: impl IntoIterator<Item = (String, String)>,
) -> Filter {
    let mut choices = vec![Choice::new("", "all", chosen.is_none())];
    for (value, words) in values {
        let is_chosen = chosen == Some(value.as_str());
        choices.push(Choice::new(value, words, is_chosen));
    }
    Filter { name, label, choices }
}

/// Names that are their own labels.
pub fn names<'a>(values: impl IntoIterator<Item = &'a String>) -> Vec<(String, String)> {
    values
        .into_iter()
        .map(|name| (name.clone(), name.clone()))
        .collect()
}

/// `?a=b&c=d` of what is set; empty when nothing is.
pub fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.append_pair(name, &value);
        }
    }
    let text = text.finish();
    if text.is_empty() { text } else { format!("?{text}") }
}

/// A pager over lines that are found by "before this index": newest first.
pub fn pager(
    path: &str,
    pairs: &[(&str, Option<String>)],
    shown: Option<(u64, u64)>,
    next: Option<u64>,
) -> Pager {
    let is_later = pairs
        .iter()
        .any(|(name, value)| *name == "before" && value.is_some());
    let without = pairs.iter().filter(|(name, _)| *name != "before").cloned();
    let newest = query(without.clone());
    Pager {
        shows: shown.map_or_else(
            || "nothing".into(),
            |(newest, oldest)| format!("entries {newest} to {oldest}").into(),
        ),
        newer: is_later.then(|| Href::path(format!("{path}{newest}"))),
        older: next.map(|next| {
            Href::path(format!(
                "{path}{}",
                query(without.chain([("before", Some(next.to_string()))]))
            ))
        }),
    }
}

/// An empty field of a form is one that was not set.
pub fn set(value: &str) -> Option<String> {
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_keeps_what_is_set_and_escapes_it() {
        let pairs = [
            ("team", Some("a&b=c d".to_owned())),
            ("state", None),
            ("flag", Some(String::new())),
        ];
        assert_eq!(query(pairs), "?team=a%26b%3Dc+d");
        assert_eq!(query([("team", None)]), "");
    }

    #[test]
    fn older_keeps_the_filter_and_newest_leads_back() {
        let pairs = [
            ("team", Some("payments".to_owned())),
            ("before", Some("90".to_owned())),
        ];
        let pager = pager("/feed", &pairs, Some((89, 40)), Some(40));
        assert_eq!(pager.older.unwrap().to_string(), "/feed?team=payments&before=40");
        assert_eq!(pager.newer.unwrap().to_string(), "/feed?team=payments");
    }
}
