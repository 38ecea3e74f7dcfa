//! A person at a browser: keeps cookies, follows redirects one at a time, submits forms, and presses
//! its own button at the demo sign-in when it is asked who it is.

use super::failure::Failure;
use super::form::Form;
use super::html::Page;
use super::jar::Jar;
use crate::clock::{Clock, SystemClock};
use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use std::path::Path;
use std::time::Duration;
use url::Url;

/// The longest answer that is read, in bytes.
const LONGEST: usize = 64 << 20;
/// More steps than this from one page to the next are a circle.
const MOST_STEPS: usize = 20;
/// A reveal may stream for longer than a page takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// An HTTP client that follows nothing by itself. `trust` are PEM files of further authorities.
pub(super) fn client(trust: &[&Path]) -> Result<reqwest::Client, Failure> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(PATIENCE);
    for path in trust {
        let pem = std::fs::read(path).map_err(|error| Failure::machine(path.display().to_string(), error))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| Failure::no_answer(&path.display().to_string(), &error))?;
        for certificate in certificates {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder
        .build()
        .map_err(|error| Failure::no_answer("the HTTP client", &error))
}

/// An answer, nothing followed.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) url: Url,
    pub(super) status: u16,
    pub(super) location: Option<Url>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The answer as a page.
    pub(super) fn page(&self) -> Page {
        Page::parse(&String::from_utf8_lossy(&self.body))
    }

    /// The page, when the answer is one that was asked for.
    pub(super) fn good(&self) -> Result<Page, Failure> {
        if (200..300).contains(&self.status) {
            Ok(self.page())
        } else {
            Err(self.failure())
        }
    }

    /// What is wrong about it.
    pub(super) fn failure(&self) -> Failure {
        let page = self.page();
        let said = match page.section_of_errors() {
            Some(errors) => errors,
            None if page.headline().is_empty() => page.text(),
            None => format!(
                "{} {}",
                page.headline(),
                page.by_id("main")
                    .map(|(_, main)| main.text())
                    .unwrap_or_default()
            ),
        };
        Failure::Answer {
            what: self.url.path().to_owned(),
            status: self.status,
            said,
        }
    }
}

impl Page {
    /// What a form says is wrong with what was typed.
    fn section_of_errors(&self) -> Option<String> {
        self.all(|tag| tag.get("role") == Some("alert"))
            .first()
            .map(|(_, alert)| alert.text())
    }
}

/// A person at a browser.
#[derive(Debug)]
pub(super) struct Visitor {
    http: reqwest::Client,
    jar: Jar,
    /// The address of the broker.
    broker: Url,
    /// The origin of the sign-in provider, the only one that is told who this is.
    provider: url::Origin,
    /// The button of this person there.
    button: String,
}

impl Visitor {
    /// A person with an empty jar.
    pub(super) fn new(http: reqwest::Client, broker: &Url, provider: &Url, button: &str) -> Self {
        Self {
            http,
            jar: Jar::default(),
            broker: broker.clone(),
            provider: provider.origin(),
            button: button.to_owned(),
        }
    }

    /// Opens a page of the broker and goes wherever that leads.
    pub(super) async fn open(&mut self, path: &str) -> Result<Answer, Failure> {
        let url = self.resolve(path)?;
        let answer = self.request(&url, None).await?;
        self.settle(answer).await
    }

    /// Sends a form of a page of the broker and goes wherever that leads.
    pub(super) async fn send(&mut self, form: &Form) -> Result<Answer, Failure> {
        let url = self.resolve(&form.action)?;
        let answer = self.request(&url, Some(&form.fields)).await?;
        self.settle(answer).await
    }

    fn resolve(&self, path: &str) -> Result<Url, Failure> {
        self.broker
            .join(path)
            .map_err(|error| Failure::Missing(format!("{path} is no address: {error}")))
    }

    /// Signs in; the name the broker calls this person by.
    pub(super) async fn sign_in(&mut self) -> Result<String, Failure> {
        let first = self.open("/").await?;
        let answer = match first
            .page()
            .links()
            .into_iter()
            .find(|(_, text)| text.starts_with("Sign in"))
        {
            Some((href, _)) => {
                let url = first
                    .url
                    .join(&href)
                    .map_err(|error| Failure::Missing(format!("{href}: {error}")))?;
                let answer = self.request(&url, None).await?;
                self.settle(answer).await?
            }
            None => first,
        };
        let page = answer.good()?;
        let who = page.all(|tag| tag.get("class") == Some("who"));
        let name = who
            .first()
            .and_then(|(_, inside)| inside.named("span").first().map(|(_, name)| name.text()));
        name.ok_or_else(|| {
            Failure::Missing(format!(
                "nobody is signed in on {}: {}",
                answer.url.path(),
                page.headline()
            ))
        })
    }

    /// Follows redirects, pages that go on by themselves and the provider's question, until a page
    /// stands still.
    async fn settle(&mut self, answer: Answer) -> Result<Answer, Failure> {
        let mut now = answer;
        for _ in 0..MOST_STEPS {
            let page = now.page();
            let next = match (&now.location, page.goes_on_to()) {
                (Some(to), _) if (300..400).contains(&now.status) => Some(to.clone()),
                (_, Some(to)) => now.url.join(&to).ok(),
                _ => None,
            };
            now = if let Some(next) = next {
                self.request(&next, None).await?
            } else if let Some(form) = self.asked_who(&now, &page) {
                let url = now
                    .url
                    .join(&form.action)
                    .map_err(|error| Failure::Missing(format!("{}: {error}", form.action)))?;
                self.request(&url, Some(&form.with("person", &self.button).fields))
                    .await?
            } else {
                return Ok(now);
            };
        }
        Err(Failure::Wrong(format!(
            "more than {MOST_STEPS} steps, the last to {}",
            now.url
        )))
    }

    /// The provider's form, when the page is the provider's and has this person's button.
    fn asked_who(&self, answer: &Answer, page: &Page) -> Option<Form> {
        if answer.url.origin() != self.provider {
            return None;
        }
        let button = ("person".to_owned(), self.button.clone());
        page.forms()
            .into_iter()
            .find(|form| form.buttons.contains(&button))
    }

    /// One request, nothing followed; with `fields` a form is sent.
    pub(super) async fn request(
        &mut self,
        url: &Url,
        fields: Option<&[(String, String)]>,
    ) -> Result<Answer, Failure> {
        let mut request = match fields {
            None => self.http.get(url.clone()),
            Some(fields) => {
                let body = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(fields)
                    .finish();
                self.http
                    .post(url.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .header(ORIGIN, url.origin().ascii_serialization())
                    .body(body)
            }
        };
        if let Some(cookies) = self.jar.header(url) {
            request = request.header(COOKIE, cookies);
        }
        let what = format!("{}{}", url.origin().ascii_serialization(), url.path());
        let failed = |error: reqwest::Error| Failure::no_answer(&what, &error.without_url());
        let mut response = request.send().await.map_err(failed)?;
        let now = SystemClock.now();
        for line in response.headers().get_all(SET_COOKIE) {
            if let Ok(line) = line.to_str() {
                self.jar.keep(url, line, now);
            }
        }
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|to| to.to_str().ok())
            .and_then(|to| url.join(to).ok());
        let status = response.status().as_u16();
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST {
                return Err(Failure::Wrong(format!(
                    "{what} answered more than {LONGEST} bytes"
                )));
            }
        }
        Ok(Answer {
            url: url.clone(),
            status,
            location,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::{Html, IntoResponse as _, Redirect};
    use axum::routing::get;

    const WHO: &str = r#"<h1>Who?</h1><form method="post" action="/who"><button name="person" value="oncall">A</button></form>"#;
    const HERE: &str = r#"<h1>Here</h1><div class="who"><span>On-call</span></div>"#;

    /// A broker that is its own provider: signed out, a link, the question, a cookie, the page.
    async fn broker() -> Url {
        let home = |headers: axum::http::HeaderMap| async move {
            let signed_in = headers.get(COOKIE).is_some_and(|cookie| cookie == "session=1");
            Html(if signed_in {
                HERE
            } else {
                r#"<h1>Out</h1><a href="/sign-in">Sign in with it</a>"#
            })
        };
        let chosen = |body: String| async move {
            assert_eq!(body, "person=oncall");
            ([(SET_COOKIE, "session=1; Path=/; HttpOnly")], Redirect::to("/")).into_response()
        };
        let app = axum::Router::new()
            .route("/", get(home))
            .route("/sign-in", get(|| async { Redirect::to("/who") }))
            .route("/who", get(|| async { Html(WHO) }).post(chosen))
            .route(
                "/round",
                get(|| async { Html(r#"<meta http-equiv="refresh" content="0; url=/round">"#) }),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url
    }

    #[tokio::test]
    async fn a_person_signs_in_and_stays_signed_in() {
        let url = broker().await;
        let mut person = Visitor::new(client(&[]).unwrap(), &url, &url, "oncall");
        assert_eq!(person.sign_in().await.unwrap(), "On-call");
        assert_eq!(person.open("/").await.unwrap().page().headline(), "Here");
    }

    #[tokio::test]
    async fn only_the_provider_is_told_who_it_is() {
        let url = broker().await;
        let elsewhere = Url::parse("http://127.0.0.1:1").unwrap();
        let mut person = Visitor::new(client(&[]).unwrap(), &url, &elsewhere, "oncall");
        assert!(person.sign_in().await.is_err());
    }

    #[tokio::test]
    async fn a_circle_ends() {
        let url = broker().await;
        let mut person = Visitor::new(client(&[]).unwrap(), &url, &url, "oncall");
        assert!(matches!(person.open("/round").await, Err(Failure::Wrong(_))));
    }
}
