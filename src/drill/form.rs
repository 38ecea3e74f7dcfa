//! The forms of a page with what is filled in already: what would be sent if a button were pressed.

use super::html::Page;

/// A form as it stands on the page: where it goes and what it would send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    /// Where it goes, as written.
    pub(super) action: String,
    /// What it would send if its first button were pressed.
    pub(super) fields: Vec<(String, String)>,
    /// Its buttons that have a name: name and value.
    pub(super) buttons: Vec<(String, String)>,
}

impl Form {
    /// The form with one field set to `value`, whatever it held.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(key, _)| key != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Page {
    /// The forms of the page.
    pub(super) fn forms(&self) -> Vec<Form> {
        let forms = self.named("form").into_iter();
        forms
            .map(|(tag, inside)| Form {
                action: tag.get("action").unwrap_or_default().to_owned(),
                fields: inside.fields(),
                buttons: inside
                    .named("button")
                    .iter()
                    .filter_map(|(tag, _)| Some((tag.get("name")?.to_owned(), tag.get("value")?.to_owned())))
                    .collect(),
            })
            .collect()
    }

    /// The form that goes to `action`.
    pub(super) fn form(&self, action: &str) -> Option<Form> {
        self.forms().into_iter().find(|form| form.action == action)
    }

    fn fields(&self) -> Vec<(String, String)> {
        let mut fields = vec![];
        for (tag, inside) in self.all(|tag| tag.get("name").is_some()) {
            let name = tag.get("name").unwrap_or_default().to_owned();
            let value = match (tag.element(), tag.get("type").unwrap_or_default()) {
                ("input", "radio" | "checkbox") if tag.get("checked").is_none() => None,
                ("input", _) => Some(tag.get("value").unwrap_or_default().to_owned()),
                // The line break after the tag is not part of the value.
                ("textarea", _) => Some(
                    inside
                        .raw_text()
                        .strip_prefix('\n')
                        .map_or_else(|| inside.raw_text(), str::to_owned),
                ),
                ("select", _) => {
                    let options = inside.named("option");
                    let chosen = options
                        .iter()
                        .find(|(option, _)| option.get("selected").is_some())
                        .or(options.first());
                    chosen
                        .map(|(option, text)| option.get("value").map_or_else(|| text.text(), str::to_owned))
                }
                _ => None,
            };
            fields.extend(value.map(|value| (name, value)));
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::super::html::tests::PAGE;
    use super::*;

    #[test]
    fn a_form_sends_what_a_browser_would_send() {
        let form = Page::parse(PAGE).form("/requests/1/approve").unwrap();
        let sent: Vec<_> = form
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            sent,
            [
                ("csrf", "a\"b"),
                ("minutes", "30"),
                ("team", "b"),
                ("reason", " it <broke>")
            ]
        );
        assert_eq!(form.buttons, [("person".to_owned(), "oncall".to_owned())]);
        let form = form.with("minutes", "15");
        assert_eq!(
            form.fields.iter().filter(|(name, _)| name == "minutes").count(),
            1
        );
    }
}
