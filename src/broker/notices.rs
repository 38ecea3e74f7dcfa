//! Who is told what, by which channel.

use super::Broker;
use crate::domain::follow_up::FollowUp;
use crate::domain::notice::Notice;
use crate::domain::person::Person;
use crate::domain::transition::About;
use crate::ids::NoticeId;

impl Broker {
    /// A notice to everybody the configuration names for compliance, and to every webhook.
    #[must_use]
    pub fn notice_compliance(
        &self,
        event: &str,
        title: &str,
        text: &str,
        path: &str,
        about: &About,
    ) -> Notice {
        let mut notice = self.notice(event, title, text, path, about);
        notice.channels = self.compliance_channels();
        notice
    }

    /// A notice to `people` as well as to compliance.
    #[must_use]
    pub fn notice_people(
        &self,
        event: &str,
        title: &str,
        text: &str,
        path: &str,
        about: &About,
        people: &[String],
    ) -> Notice {
        let mut notice = self.notice_compliance(event, title, text, path, about);
        notice
            .channels
            .extend(people.iter().map(|mail| format!("mail:{mail}")));
        notice.channels.sort();
        notice.channels.dedup();
        if self.config.notices.smtp.is_none() {
            notice.channels.retain(|channel| !channel.starts_with("mail:"));
        }
        notice
    }

    /// The mail addresses of a team's leads.
    #[must_use]
    pub fn lead_mail(&self, follow_up: &FollowUp) -> Vec<String> {
        self.config
            .teams
            .get(&follow_up.team)
            .map(|team| team.lead_mail.clone())
            .unwrap_or_default()
    }

    fn notice(&self, event: &str, title: &str, text: &str, path: &str, about: &About) -> Notice {
        let facts = [
            ("Cluster", &about.cluster),
            ("Team", &about.team),
            ("Profile", &about.profile),
            ("Person", &about.person),
        ];
        Notice {
            id: NoticeId::new(),
            event: event.to_owned(),
            at: self.now(),
            title: title.to_owned(),
            text: text.to_owned(),
            path: path.to_owned(),
            request: about.request,
            grant: about.grant,
            facts: facts
                .into_iter()
                .filter_map(|(name, value)| value.clone().map(|value| (name.to_owned(), value)))
                .collect(),
            channels: vec![],
        }
    }

    fn compliance_channels(&self) -> Vec<String> {
        let notices = &self.config.notices;
        let mut channels = vec![];
        if notices.smtp.is_some() {
            channels.extend(notices.compliance_mail.iter().map(|mail| format!("mail:{mail}")));
        }
        channels.extend(
            notices
                .webhooks
                .iter()
                .map(|webhook| format!("webhook:{}", webhook.name)),
        );
        channels
    }
}

/// The addresses of people whose mail is verified: an unverified address may be somebody else's.
#[must_use]
pub fn mail_of<'a>(people: impl IntoIterator<Item = &'a Person>) -> Vec<String> {
    people
        .into_iter()
        .filter(|person| person.email_verified)
        .filter_map(|person| person.email.clone())
        .collect()
}
