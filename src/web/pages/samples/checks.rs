//! What must hold on every page, in every state, with ordinary and with hostile words.

use super::*;

/// Where the pages lie, to be looked at.
fn folder() -> std::path::PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/target").into(),
        std::path::PathBuf::from,
    );
    let pages = target.join("pages");
    std::fs::create_dir_all(pages.join("static")).unwrap();
    pages
}

#[test]
fn every_page_is_there_to_be_looked_at() {
    let pages = folder();
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("static");
    for file in ["breakglass.css", "breakglass.js", "breakglass.svg"] {
        std::fs::copy(here.join(file), pages.join("static").join(file)).unwrap();
    }
    for (name, page) in Sample::plain().all() {
        assert_eq!(
            page.matches("<h1").count(),
            if name.starts_with("reveal-") && name != "reveal-waiting" {
                2
            } else {
                1
            },
            "{name} answers one question"
        );
        std::fs::write(pages.join(format!("{name}.html")), page).unwrap();
    }
}

/// Markup that breaks out of text and attributes, characters that turn the reading order round, and
/// a megabyte without a space.
fn hostile() -> String {
    format!(
        "\"><script>alert(1)</script><img src=x onerror=alert(2)>'`\u{202e}\u{200b}\n{}",
        "W".repeat(1 << 20)
    )
}

/// The tags of a page as a browser reads them (an attribute's value ends at its quote, not at `>`),
/// and the text between them, without what stands typed in a field.
fn tags_and_text(page: &str) -> (Vec<&str>, String) {
    let (mut tags, mut text) = (Vec::new(), String::new());
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        if !tags.last().is_some_and(|tag: &&str| tag.starts_with("<textarea")) {
            text.push_str(&rest[..start]);
        }
        rest = &rest[start..];
        let mut quoted = false;
        let end = rest.find(|c| {
            quoted ^= c == '"';
            c == '>' && !quoted
        });
        let (tag, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        tags.push(tag);
        rest = after;
    }
    (tags, text)
}

fn tags(page: &str) -> Vec<&str> {
    tags_and_text(page).0
}

#[test]
fn hostile_words_stay_words_on_every_page() {
    let ours = Sample::plain().all();
    for ((name, page), (_, plain)) in Sample::hostile(&hostile()).all().into_iter().zip(ours) {
        std::fs::write(folder().join(format!("hostile-{name}.html")), &page).unwrap();
        assert!(page.contains("alert(1)"), "{name} shows the words");
        // A field gives back what was typed; everything else is cut and names such characters.
        let (tags_here, text) = tags_and_text(&page);
        assert!(text.len() < 200_000, "{name} shows {} bytes", text.len());
        assert!(
            !text.contains(['\u{202e}', '\u{200b}']),
            "{name} turns the reading order round"
        );
        let scripts = |page: &str| tags(page).iter().filter(|tag| tag.starts_with("<script")).count();
        assert_eq!(scripts(&page), scripts(&plain), "{name}: a script tag more");
        for tag in tags_here {
            let kind = tag
                .trim_start_matches(['<', '/'])
                .split([' ', '>'])
                .next()
                .unwrap();
            assert!(kind != "img", "{name}: {}", &tag[..tag.len().min(200)]);
            assert!(
                tag.matches('"').count() % 2 == 0 && tag.ends_with('>'),
                "{name}: {}",
                &tag[..tag.len().min(200)]
            );
            let mut outside = tag.split('"').step_by(2).flat_map(str::chars);
            let plain = |c: char| c.is_ascii_alphanumeric() || " =</>-!\n".contains(c);
            assert!(
                outside.all(plain),
                "{name}: something got into {}",
                &tag[..tag.len().min(200)]
            );
        }
    }
}

#[test]
fn nothing_on_any_page_needs_a_weaker_content_security_policy() {
    for (name, page) in Sample::plain().all() {
        for tag in tags(&page) {
            assert!(
                !tag.contains(" style=") && !tag.starts_with("<style"),
                "{name}: {tag}"
            );
            assert!(
                !tag.contains("javascript:") && !tag.contains("=\"data:"),
                "{name}: {tag}"
            );
            if tag.starts_with("<script") {
                assert_eq!(tag, r#"<script src="/static/breakglass.js" defer>"#, "{name}");
            }
            if tag.starts_with("<form") && tag.contains("post") {
                assert!(
                    tag.contains("action=\"/"),
                    "{name}: a form leads elsewhere: {tag}"
                );
            }
        }
    }
}

#[test]
fn every_form_that_changes_something_carries_the_token() {
    for (name, page) in Sample::plain().all() {
        for form in page.split("<form").skip(1) {
            let form = form.split("</form>").next().unwrap();
            let token = form.contains(r#"name="csrf" value="csrf-token""#);
            assert_eq!(
                form.contains(r#"method="post""#),
                token,
                "{name}: {}",
                &form[..form.len().min(120)]
            );
        }
    }
}

#[test]
fn every_label_leads_to_its_field_and_no_id_stands_twice() {
    for (name, page) in Sample::plain().all() {
        let values = |attribute: &str| -> Vec<String> {
            let needle = format!(" {attribute}=\"");
            tags(&page)
                .iter()
                .filter_map(|tag| {
                    tag.split_once(&needle)
                        .map(|(_, rest)| rest.split('"').next().unwrap().to_owned())
                })
                .collect()
        };
        let mut ids = values("id");
        for wanted in ["for", "aria-labelledby", "aria-describedby"] {
            for id in values(wanted) {
                assert!(ids.contains(&id), "{name}: {wanted}={id} leads nowhere");
            }
        }
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all, "{name}: an id stands twice");
    }
}

#[test]
fn an_active_grant_is_unmistakable_and_an_alarm_is_on_every_page() {
    let sample = Sample::plain();
    let page = html(&sample.start());
    assert!(
        page.contains("The glass is broken.") && page.contains(">41 min 12 s</span> left"),
        "{page}"
    );
    let mut shell = sample.start_alarm().shell;
    shell.title = "Policy".into();
    let page = html(&PolicyPage {
        shell,
        ..sample.policy(None)
    });
    assert!(page.contains("Access that should be gone is not.") && page.contains("See what holds it up"));
}

#[test]
fn the_key_is_in_no_debug_form() {
    let tail = Sample::plain().reveal_tail();
    assert!(tail.kubeconfig.contains("token:") && html(&tail).contains("token:"));
    assert!(!format!("{tail:?}").contains("token:"));
}
