//! E-mail: one multipart message a notice, plain text and HTML saying the same.

use super::contract::DeliveryError;
use crate::audit::visible;
use crate::causes::chain;
use crate::config::{Smtp, SmtpTls};
use crate::domain::notice::Notice;
use askama::Template;
use lettre::message::{Mailbox, MultiPart, header::HeaderName, header::HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use std::time::Duration;

/// The most characters of one text in a mail; the page has all of it.
const LONGEST: usize = 4_000;

/// Sends by one SMTP server.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    base: String,
    host: String,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    notice: &'a Notice,
    url: &'a str,
    checkpoint: &'a str,
}

#[derive(Template)]
#[template(path = "mail.txt")]
struct Plain<'a> {
    notice: &'a Notice,
    url: &'a str,
    checkpoint: &'a str,
}

impl Mailer {
    /// A mailer for `settings`; `base` is the broker's own address.
    ///
    /// # Errors
    /// In words: the sender or the host cannot be used.
    pub fn new(settings: &Smtp, base: &str) -> Result<Self, String> {
        let from: Mailbox = settings
            .from
            .parse()
            .map_err(|error| format!("smtp.from is no mail address: {error}"))?;
        let host = settings.host.as_str();
        let builder = match settings.tls {
            SmtpTls::Implicit => AsyncSmtpTransport::<Tokio1Executor>::relay(host),
            SmtpTls::Starttls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host),
            SmtpTls::None => Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)),
        };
        let mut builder = builder
            .map_err(|error| format!("smtp.host: {error}"))?
            .port(settings.port)
            .timeout(Some(Duration::from_secs(20)));
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let host = url::Url::parse(base)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned));
        Ok(Self {
            transport: builder.build(),
            from,
            base: base.to_owned(),
            host: host.unwrap_or_else(|| "breakglass".to_owned()),
        })
    }

    /// Sends one notice to `address`.
    ///
    /// # Errors
    /// The server refused, or could not be reached.
    pub async fn send(&self, notice: &Notice, address: &str, checkpoint: &str) -> Result<(), DeliveryError> {
        let message = self.message(notice, address, checkpoint)?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.status().is_some_and(|code| is_final(code.into())) => {
                Err(DeliveryError::Never(one_line(&error.to_string())))
            }
            // lettre's own words say little: the causes behind them name the host that was not reached.
            Err(error) => Err(DeliveryError::later(one_line(&chain(&error)))),
        }
    }

    fn message(&self, notice: &Notice, address: &str, checkpoint: &str) -> Result<Message, DeliveryError> {
        let never = |why: String| DeliveryError::Never(why);
        let notice = &shown(notice);
        let to: Mailbox = address
            .parse()
            .map_err(|_| never("this is no mail address".to_owned()))?;
        let url = format!("{}{}", self.base, notice.path);
        let plain = Plain {
            notice,
            url: &url,
            checkpoint,
        }
        .render()
        .map_err(|e| never(e.to_string()))?;
        let html = Html {
            notice,
            url: &url,
            checkpoint,
        }
        .render()
        .map_err(|e| never(e.to_string()))?;
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.from.clone())
            .to(to)
            // A title holds names from outside: whatever would end the header line is gone.
            .subject(format!("[breakglass] {}", one_line(&notice.title)))
            .message_id(Some(format!("<{}@{}>", notice.id, self.host)))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .multipart(MultiPart::alternative_plain_html(plain, html))
            .map_err(|error| never(error.to_string()))
    }
}

/// Whether a reply says that this letter will never be taken: about its mailbox or its content (RFC 5321,
/// section 4.2.3; RFC 7504). Any other 5xx is the server's own state (a greeting of 554, a login it no longer
/// takes, a command out of turn): what was to be told in that hour is not thrown away for it.
fn is_final(code: u16) -> bool {
    matches!(code, 550..=553 | 555 | 556)
}

/// The notice as a mail shows it: each text one bounded line with every hidden character written out.
/// A reason with line breaks could otherwise add lines that look like ours.
fn shown(notice: &Notice) -> Notice {
    let line = |text: &str| {
        let mut line: String = text.chars().take(LONGEST).collect();
        if text.chars().nth(LONGEST).is_some() {
            line.push('…');
        }
        visible(&line)
    };
    Notice {
        title: line(&notice.title),
        text: line(&notice.text),
        facts: notice
            .facts
            .iter()
            .map(|(name, value)| (name.clone(), line(value)))
            .collect(),
        ..notice.clone()
    }
}

fn one_line(text: &str) -> String {
    visible(text).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_given_up_for_its_own_sake_alone() {
        for about_the_letter in [550, 551, 552, 553, 555, 556] {
            assert!(is_final(about_the_letter), "{about_the_letter}");
        }
        for about_the_server in [421, 450, 451, 452, 500, 502, 503, 521, 530, 535, 554] {
            assert!(!is_final(about_the_server), "{about_the_server}");
        }
    }
}
