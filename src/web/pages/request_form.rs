//! Request form: will this get me in, how fast?

use super::{Badge, Choice, PersonRef, Reason, Shell, Text, Words};
use crate::ids::GrantId;
use askama::Template;

/// `GET /requests/new`, and the answer to a form that cannot be taken as it is.
#[derive(Debug, Clone, Template)]
#[template(path = "request_form.html")]
pub struct RequestFormPage {
    /// What surrounds the page.
    pub shell: Shell,
    /// The fields, with what was typed and what is wrong with it.
    pub form: RequestForm,
    /// What would happen if it were sent now.
    pub preview: Preview,
}

/// The fields of the form. What a person typed comes back exactly as it was typed.
#[derive(Debug, Clone, Default)]
pub struct RequestForm {
    /// The grant this asks to lengthen, if it does.
    pub extends: Option<GrantId>,
    /// Field `team`: the person's teams; not shown when there is only one.
    pub teams: Vec<Choice>,
    /// Field `cluster`.
    pub clusters: Vec<Choice>,
    /// Field `profile`.
    pub profiles: Vec<Choice>,
    /// What the chosen profile allows, in words.
    pub profile_allows: Option<Words>,
    /// Field `namespace`, repeated: the real ones that the profile may reach, chosen ones first.
    pub namespaces: Vec<Choice>,
    /// Said instead of the namespaces when they could not be listed.
    pub namespaces_missing: Option<Words>,
    /// Field `minutes`.
    pub durations: Vec<Choice>,
    /// Field `reason`.
    pub reason: String,
    /// Field `incident`.
    pub incident: String,
    /// Whether the profile demands an incident.
    pub incident_required: bool,
    /// What is wrong, beside each field.
    pub errors: FormErrors,
}

/// What is wrong with each field of the form, in words that say what to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormErrors {
    /// With `team`.
    pub team: Option<Text>,
    /// With `cluster`.
    pub cluster: Option<Text>,
    /// With `profile`.
    pub profile: Option<Text>,
    /// With `namespace`.
    pub namespaces: Option<Text>,
    /// With `minutes`.
    pub duration: Option<Text>,
    /// With `reason`.
    pub reason: Option<Text>,
    /// With `incident`.
    pub incident: Option<Text>,
    /// With no single field.
    pub whole: Option<Text>,
}

impl FormErrors {
    /// Every error with the id of its field, for the list at the top of the form.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, &Text)> {
        [
            ("form", &self.whole),
            ("team", &self.team),
            ("cluster", &self.cluster),
            ("profile", &self.profile),
            ("namespaces", &self.namespaces),
            ("duration", &self.duration),
            ("reason", &self.reason),
            ("incident", &self.incident),
        ]
        .into_iter()
        .filter_map(|(field, error)| error.as_ref().map(|error| (field, error)))
        .collect()
    }
}

/// What the policy would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough is filled in to say.
    Unknown,
    /// It gets the person in with so many approvals from this group of approvers.
    Needs {
        /// How many.
        approvals: u8,
        /// From whom, e.g. `platform-leads`.
        from: Text,
        /// How they are told, e.g. "mail and the feed".
        told_by: Text,
    },
    /// It gets the person in at once.
    AtOnce,
    /// Nobody could approve it.
    Nobody,
    /// The policy does not allow it.
    Refused,
}

/// `POST /requests/preview`: what will happen if the form is sent now. The same fragment stands in
/// the page and is fetched again by the script (header `x-fragment: 1`).
#[derive(Debug, Clone, Template)]
#[template(path = "request_preview.html")]
pub struct Preview {
    /// What the policy says.
    pub verdict: Verdict,
    /// Who can decide, and whether they are known to be reachable.
    pub approvers: Vec<(PersonRef, Option<Badge>)>,
    /// What was looked at, each with its answer.
    pub reasons: Vec<Reason>,
    /// The person's requests and grants that overlap with it.
    pub overlaps: Vec<Words>,
}

impl askama::filters::HtmlSafe for Preview {}

impl Preview {
    /// Whether sending it can lead anywhere.
    #[must_use]
    pub fn can_send(&self) -> bool {
        !matches!(self.verdict, Verdict::Nobody | Verdict::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_listed_with_its_field() {
        let errors = FormErrors {
            reason: Some("Say why".into()),
            ..FormErrors::default()
        };
        assert_eq!(errors.all(), [("reason", &Text::from("Say why"))]);
    }
}
