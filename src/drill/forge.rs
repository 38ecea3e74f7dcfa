//! The demo forge's page of one pull request: read, reviewed and merged as people do.

use super::failure::Failure;
use super::form::Form;
use super::html::Page;
use super::visitor::Visitor;
use url::Url;

/// The pull request at the demo forge.
#[derive(Debug)]
pub(super) struct DemoForge {
    visitor: Visitor,
    pull: Url,
    check: String,
}

/// The check that holds the pull request until somebody else approved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) passed: bool,
    pub(super) words: String,
}

impl DemoForge {
    /// The pull request at `pull`, which must be at the forge at `url`; `check` is the check's name.
    pub(super) fn new(http: reqwest::Client, url: &Url, pull: Url, check: &str) -> Result<Self, Failure> {
        if pull.origin() != url.origin() {
            return Err(Failure::Wrong(format!(
                "the pull request is not at the demo forge: {pull}"
            )));
        }
        Ok(Self {
            visitor: Visitor::new(http, url, url, ""),
            pull,
            check: check.to_owned(),
        })
    }

    async fn page(&mut self) -> Result<Page, Failure> {
        let pull = self.pull.clone();
        self.visitor.open(pull.as_str()).await?.good()
    }

    /// Opens it: its title, when it changes a line into one that holds `added`.
    pub(super) async fn read(&mut self, added: &str) -> Result<((), String), Failure> {
        let page = self.page().await?;
        let lines = page.all(|tag| tag.get("class") == Some("added"));
        match lines
            .into_iter()
            .map(|(_, line)| line.text())
            .find(|line| line.contains(added))
        {
            Some(line) => Ok((
                (),
                format!("{}: {} with the line {line}", self.pull, page.headline()),
            )),
            None => Err(Failure::Missing(format!(
                "{} adds no line with {added}",
                self.pull
            ))),
        }
    }

    /// The check, when it was reported.
    pub(super) async fn check(&mut self) -> Result<Option<Check>, Failure> {
        Ok(check_in(&self.page().await?, &self.check))
    }

    /// Whether it is open or merged, and by whom.
    pub(super) async fn state(&mut self) -> Result<String, Failure> {
        let page = self.page().await?;
        let paragraphs: Vec<String> = page
            .named("p")
            .into_iter()
            .map(|(_, inside)| inside.text())
            .collect();
        let merged = paragraphs.iter().find(|text| text.starts_with("Merged by"));
        let state = merged.or_else(|| paragraphs.iter().find(|text| text.contains("wants to merge")));
        state
            .cloned()
            .ok_or_else(|| Failure::Missing(format!("{} says neither open nor merged", self.pull)))
    }

    /// Presses a button of the page as `login`.
    pub(super) async fn act(&mut self, login: &str, action: &str) -> Result<(), Failure> {
        let act_as = Form {
            action: "/act-as".to_owned(),
            fields: vec![],
            buttons: vec![],
        };
        let page = self
            .visitor
            .send(&act_as.with("actor", login).with("back", self.pull.path()))
            .await?
            .good()?;
        let form = page.form(self.pull.path());
        let form = form.ok_or_else(|| Failure::Missing(format!("{} has nothing to press", self.pull)))?;
        if !form.buttons.iter().any(|(_, value)| value == action) {
            return Err(Failure::Missing(format!(
                "{} has no button to {action}",
                self.pull
            )));
        }
        self.visitor.send(&form.with("action", action)).await?.good()?;
        Ok(())
    }
}

fn check_in(page: &Page, name: &str) -> Option<Check> {
    let items = page.named("li").into_iter().map(|(_, item)| item);
    let item = items.into_iter().find(|item| {
        item.named("strong")
            .iter()
            .any(|(_, strong)| strong.text() == name)
    })?;
    Some(Check {
        passed: item
            .named("span")
            .first()
            .is_some_and(|(tag, _)| tag.get("class") == Some("badge success")),
        words: item.text(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_passes_by_its_own_badge_alone() {
        let page = |badge: &str| {
            Page::parse(&format!(
                "<ul><li><span class=\"badge success\">success</span> <strong>build</strong></li>\
                 <li><span class=\"badge {badge}\">{badge}</span> <strong>ours</strong> words</li></ul>"
            ))
        };
        let check = |passed, words: &str| {
            Some(Check {
                passed,
                words: words.to_owned(),
            })
        };
        assert_eq!(
            check_in(&page("in_progress"), "ours"),
            check(false, "in_progress ours words")
        );
        assert_eq!(
            check_in(&page("success"), "ours"),
            check(true, "success ours words")
        );
        assert_eq!(check_in(&page("success"), "theirs"), None);
    }
}
