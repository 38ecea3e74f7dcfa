//! Reads out of a page what a person would: its headline, its links, the text of an element known by
//! its id. It knows well-formed pages of this service and of the demo forge, and no more of HTML than
//! those use.

/// Elements that have no end.
const VOID: &[&str] = &["br", "hr", "img", "input", "link", "meta"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Open(Tag),
    Close(String),
    Text(String),
}

/// The beginning of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    /// What element it begins.
    pub(super) fn element(&self) -> &str {
        &self.name
    }

    /// The value of an attribute; empty for one without value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A page, or the part of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page(Vec<Piece>);

impl Page {
    /// Reads a page.
    pub(super) fn parse(html: &str) -> Self {
        let mut pieces = vec![];
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            let (text, tag) = rest.split_at(at);
            if !text.is_empty() {
                pieces.push(Piece::Text(unescape(text)));
            }
            if let Some(comment) = tag.strip_prefix("<!--") {
                rest = comment.split_once("-->").map_or("", |(_, after)| after);
                continue;
            }
            let Some(end) = end_of_tag(tag) else {
                // Cut off: half an address is none.
                rest = "";
                break;
            };
            let inside = tag.get(1..end).unwrap_or_default();
            rest = tag.get(end + 1..).unwrap_or_default();
            if let Some(name) = inside.strip_prefix('/') {
                pieces.push(Piece::Close(name.trim().to_ascii_lowercase()));
            } else if !inside.starts_with('!') {
                pieces.push(Piece::Open(read_tag(inside)));
            }
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(unescape(rest)));
        }
        Self(pieces)
    }

    /// Every element that `wanted` picks, each with its beginning.
    pub(super) fn all(&self, wanted: impl Fn(&Tag) -> bool) -> Vec<(Tag, Self)> {
        let found = self.0.iter().enumerate().filter_map(|(at, piece)| match piece {
            Piece::Open(tag) if wanted(tag) => Some((at, tag)),
            _ => None,
        });
        found
            .map(|(at, tag)| (tag.clone(), Self(self.inside(at, tag))))
            .collect()
    }

    fn inside(&self, at: usize, tag: &Tag) -> Vec<Piece> {
        if VOID.contains(&tag.name.as_str()) {
            return vec![];
        }
        let mut depth = 1_usize;
        let rest = self.0.get(at + 1..).unwrap_or_default();
        let end = rest.iter().position(|piece| {
            match piece {
                Piece::Open(inner) if inner.name == tag.name => depth += 1,
                Piece::Close(name) if *name == tag.name => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default().to_vec()
    }

    /// Every element of that name.
    pub(super) fn named(&self, name: &str) -> Vec<(Tag, Self)> {
        self.all(|tag| tag.name == name)
    }

    /// The element with that id.
    pub(super) fn by_id(&self, id: &str) -> Option<(Tag, Self)> {
        self.all(|tag| tag.get("id") == Some(id)).into_iter().next()
    }

    /// The section whose headline has that id.
    pub(super) fn section(&self, id: &str) -> Option<Self> {
        self.all(|tag| tag.get("aria-labelledby") == Some(id))
            .into_iter()
            .next()
            .map(|(_, inside)| inside)
    }

    /// The state that the element with that id says it shows.
    pub(super) fn state(&self, id: &str) -> Option<String> {
        self.by_id(id)
            .and_then(|(tag, _)| tag.get("data-state").map(str::to_owned))
    }

    /// The text exactly as it stands.
    pub(super) fn raw_text(&self) -> String {
        self.0
            .iter()
            .filter_map(|piece| {
                if let Piece::Text(text) = piece {
                    Some(text.as_str())
                } else {
                    None
                }
            })
            .collect()
    }

    /// The text in one line.
    pub(super) fn text(&self) -> String {
        let spaced: Vec<&str> = self
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                // The neighbours of a block are words of their own, those of a span may be halves of one.
                Piece::Open(tag) if !is_inline(&tag.name) => " ",
                Piece::Close(name) if !is_inline(name) => " ",
                _ => "",
            })
            .collect();
        spaced.concat().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The page's headline.
    pub(super) fn headline(&self) -> String {
        self.named("h1")
            .first()
            .map(|(_, inside)| inside.text())
            .unwrap_or_default()
    }

    /// The links: where they go and what they say.
    pub(super) fn links(&self) -> Vec<(String, String)> {
        let links = self.named("a").into_iter();
        links
            .filter_map(|(tag, inside)| tag.get("href").map(|href| (href.to_owned(), inside.text())))
            .collect()
    }

    /// The first link whose address holds `part`.
    pub(super) fn link_to(&self, part: &str) -> Option<String> {
        self.links()
            .into_iter()
            .map(|(href, _)| href)
            .find(|href| href.contains(part))
    }

    /// Where the page goes on to by itself.
    pub(super) fn goes_on_to(&self) -> Option<String> {
        let metas = self.named("meta").into_iter();
        metas
            .filter(|(tag, _)| {
                tag.get("http-equiv")
                    .is_some_and(|name| name.eq_ignore_ascii_case("refresh"))
            })
            .find_map(|(tag, _)| {
                tag.get("content")
                    .and_then(|text| text.split_once("url="))
                    .map(|(_, to)| to.to_owned())
            })
    }
}

fn is_inline(name: &str) -> bool {
    [
        "a", "abbr", "b", "bdi", "code", "em", "i", "small", "span", "strong", "time",
    ]
    .contains(&name)
}

/// Where a tag ends: at the first `>` that is in no quotes.
fn end_of_tag(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in tag.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, '>') => return Some(at),
            _ => {}
        }
    }
    None
}

fn read_tag(inside: &str) -> Tag {
    let inside = inside.trim_end_matches('/');
    let split = inside.find(char::is_whitespace).unwrap_or(inside.len());
    let (name, mut rest) = inside.split_at(split);
    let mut attributes = vec![];
    loop {
        rest = rest.trim_start();
        let end = rest
            .find(|c: char| c == '=' || c.is_whitespace())
            .unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        if key.is_empty() {
            break;
        }
        let (value, after) = match after.strip_prefix('=') {
            None => ("", after),
            Some(value) => match value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
                Some(quote) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
                None => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
            },
        };
        attributes.push((key.to_ascii_lowercase(), unescape(value)));
        rest = after;
    }
    Tag {
        name: name.to_ascii_lowercase(),
        attributes,
    }
}

/// Text without its character references.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let read = after
            .split_once(';')
            .and_then(|(name, after)| Some((character(name)?, after)));
        if let Some((c, after)) = read {
            plain.push(c);
            rest = after;
        } else {
            plain.push('&');
            rest = after;
        }
    }
    plain.push_str(rest);
    plain
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => {
            let digits = name.strip_prefix('#')?;
            let number = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(number)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::drill) const PAGE: &str = r#"<!doctype html><html><head><meta http-equiv="refresh" content="0; url=/go?a=1&amp;b=2"></head>
<body><!-- <h1>not this</h1> --><h1>2 approvals <b>miss</b>ing</h1><div id="grant-headline" data-state="ready"><p>one</p><p>two</p></div>
<form method="post" action="/requests/1/approve"><input type="hidden" name="csrf" value="a&#34;b"><input type="radio" name="minutes" value="15">
<input type="radio" name="minutes" value="30" checked><select name="team"><option value="a">A</option><option value="b" selected>B</option></select>
<textarea name="reason">
 it &lt;broke&gt;</textarea><button name="person" value="oncall"><b>On-call</b></button></form>
<a href="/grants/7?show=all">See <code>it</code></a><span title="a > b">x</span></body></html>"#;

    #[test]
    fn headline_links_states_and_text_are_read_as_people_read_them() {
        let page = Page::parse(PAGE);
        assert_eq!(page.headline(), "2 approvals missing");
        assert_eq!(page.state("grant-headline").as_deref(), Some("ready"));
        assert_eq!(page.by_id("grant-headline").unwrap().1.text(), "one two");
        assert_eq!(
            page.links(),
            [("/grants/7?show=all".to_owned(), "See it".to_owned())]
        );
        assert_eq!(page.goes_on_to().as_deref(), Some("/go?a=1&b=2"));
        assert_eq!(page.named("span")[0].0.get("title"), Some("a > b"));
    }

    #[test]
    fn broken_markup_is_read_without_harm() {
        for html in [
            "<",
            "<a href=\"",
            "</",
            "&#xffffffff;&",
            "<form><input name",
            "<!-- never closed",
        ] {
            let page = Page::parse(html);
            assert_eq!(
                page.links().len() + page.forms().iter().map(|form| form.buttons.len()).sum::<usize>(),
                0,
                "{html}"
            );
        }
    }
}
