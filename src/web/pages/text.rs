//! Words that came from somewhere else, made safe to show: a name or a reason may hold markup,
//! characters that turn the reading order round, or a megabyte. Every page field that is not ours is
//! a [`Text`], so no template can forget.

use crate::audit::is_hidden;
use askama::filters::{Escaper, Html, HtmlSafe};
use std::fmt;

/// The most characters kept of any foreign text; the rest is only counted.
const KEPT: usize = 4_000;
/// The characters of a [`Text::from`] shown before it is cut; more of what is kept is its title.
const SHOWN: usize = 120;
/// The characters shown of a text in a sentence: more than the longest name Kubernetes allows (253).
const SENTENCE: usize = 600;

/// Foreign text, cleaned and bounded. Written into a template it escapes itself; when it is longer
/// than what may be shown it is cut, with more of it in the title.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    clean: String,
    shown: usize,
    total: usize,
}

impl Text {
    fn cleaned(text: &str, shown: usize, lines: bool) -> Self {
        let kept = shown.max(KEPT);
        let mut clean = String::with_capacity(text.len().min(kept));
        for c in text.chars().take(kept) {
            match c {
                '\n' | '\t' if lines => clean.push(c),
                '\r' if lines => {}
                '\n' => clean.push('↵'),
                c if is_hidden(c) => {
                    use fmt::Write as _;
                    let _ = write!(clean, "⟨U+{:04X}⟩", u32::from(c));
                }
                c => clean.push(c),
            }
        }
        Self {
            clean,
            shown,
            total: text.chars().count(),
        }
    }

    /// Text of several lines (a reason, a command, a refusal): shown up to 4,000 characters.
    #[must_use]
    pub fn prose(text: impl AsRef<str>) -> Self {
        Self::cleaned(text.as_ref(), KEPT, true)
    }

    /// A command or a patch of our own making, to be copied: never cut, since half of it would be another one.
    #[must_use]
    pub fn whole(text: impl AsRef<str>) -> Self {
        Self::cleaned(text.as_ref(), usize::MAX, true)
    }

    /// The same text where it is (part of) a sentence: up to 600 characters of it are shown.
    #[must_use]
    pub fn sentence(self) -> Self {
        Self {
            shown: self.shown.max(SENTENCE),
            ..self
        }
    }

    /// The same text for places that can hold no markup (attributes, options, the title of the
    /// page): cleaned, cut, not yet escaped.
    #[must_use]
    pub fn plain(&self) -> String {
        let mut text: String = self.clean.chars().take(self.shown).collect();
        if self.is_cut() {
            text.push('…');
        }
        text
    }

    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clean.is_empty()
    }

    fn is_cut(&self) -> bool {
        self.total > self.shown
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::cleaned(text, SHOWN, false)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Right-to-left letters may stand in a name by right; isolated they cannot move what follows.
        let isolated = !self.clean.is_ascii();
        if isolated {
            f.write_str("<bdi>")?;
        }
        if self.is_cut() {
            f.write_str("<span class=\"cut\" title=\"")?;
            let title: String = self.clean.chars().take(1_000).collect();
            Html.write_escaped_str(&mut *f, &title)?;
            write!(f, " ({} characters)\">", self.total)?;
            Html.write_escaped_str(&mut *f, &self.plain())?;
            f.write_str("</span>")?;
        } else {
            Html.write_escaped_str(&mut *f, &self.clean)?;
        }
        if isolated {
            f.write_str("</bdi>")?;
        }
        Ok(())
    }
}

impl HtmlSafe for Text {}

/// Where a link goes: a path of this service, or an `https:`/`http:` address. Nothing else is ever
/// followed, so an incident link that says `javascript:` is shown as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Href(String);

impl Href {
    /// The address, unless it is one that must not be followed.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Option<Self> {
        let address = address.into();
        let ours = address.starts_with('/') && !address.starts_with("//") && !address.starts_with("/\\");
        let theirs = url::Url::parse(&address).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
        let sane = address.len() <= 2_048 && !address.chars().any(is_hidden);
        (sane && (ours || theirs)).then_some(Self(address))
    }

    /// A path of this service, written by us.
    ///
    /// # Panics
    /// When it is no path: a mistake in our own code.
    #[must_use]
    pub fn path(path: impl Into<String>) -> Self {
        let path = path.into();
        assert!(
            path.starts_with('/') && !path.starts_with("//"),
            "{path:?} is no path of this service"
        );
        Self(path)
    }
}

impl fmt::Display for Href {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_shown_as_it_is_written() {
        assert_eq!(Text::from("<b>&\"'").to_string(), "&#60;b&#62;&#38;&#34;&#39;");
    }

    #[test]
    fn what_turns_the_reading_order_round_is_made_visible() {
        let text = Text::from("web\u{202e}nimda\u{200b}").to_string();
        assert_eq!(text, "<bdi>web⟨U+202E⟩nimda⟨U+200B⟩</bdi>");
    }

    #[test]
    fn a_megabyte_is_cut_and_its_title_bounded() {
        let text = Text::from("\"x".repeat(500_000)).to_string();
        assert!(text.len() < 6_000, "{}", text.len());
        assert!(text.contains("(1000000 characters)"));
        assert_eq!(
            text.matches('"').count(),
            4,
            "only the quotes of the two attributes"
        );
    }

    #[test]
    fn lines_are_kept_in_prose_and_marked_in_names() {
        assert_eq!(Text::prose("a\r\nb").to_string(), "a\nb");
        assert_eq!(Text::from("a\nb").plain(), "a↵b");
    }

    #[test]
    fn only_our_paths_and_web_addresses_are_followed() {
        for good in [
            "/grants/1",
            "https://forge.test/pr/1",
            "http://tickets.test/INC-4711",
        ] {
            assert!(Href::new(good).is_some(), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "//evil.test",
            "/\\evil.test",
            "data:text/html,x",
            "INC-4711",
            "/a\nb",
        ] {
            assert!(Href::new(bad).is_none(), "{bad}");
        }
    }
}
