//! From what a grant's requests held to the edit of git: JSON patches, merge and strategic patches, applied and
//! created objects, as they came. Whatever stands in them, what goes to git is what is live, no Secret's value is
//! read, and git says after the edit what the cluster says.

use breakglass::drift::edit::new_file;
use breakglass::drift::normalise::normalise;
use breakglass::drift::{
    EditAction, GitFile, Observed, Path, Rules, Touched, converged, drift, inverse, plan, read,
};
use serde::Deserialize;
use serde_json::Value;

/// Longer ones tell nothing new.
const LONGEST: usize = 32 << 10;

/// One object: what was done to it, and what it was before and after.
#[derive(Deserialize)]
struct Case {
    touched: Touched,
    #[serde(default)]
    before: Option<Value>,
    #[serde(default)]
    after: Option<Value>,
    #[serde(default)]
    autoscaler: Option<String>,
}

pub fn holds(data: &[u8]) {
    if data.len() > LONGEST {
        return;
    }
    let Ok(case) = serde_json::from_slice::<Case>(data) else {
        return;
    };
    let observed = Observed {
        before: case.before,
        after: case.after,
        autoscaler: case.autoscaler,
    };
    let one = [(case.touched, observed)];
    let found = drift(&one);
    let (touched, observed) = &one[0];
    for edit in &found.edits {
        assert_eq!(edit.object, touched.object(), "an edit of another object");
        assert!(
            !touched.gvk.is_secret(),
            "a Secret's value went on its way to git"
        );
        match &edit.action {
            EditAction::Create(value) => created(touched, observed, value),
            EditAction::Remove => assert!(observed.after.is_none(), "removed from git, and it is there"),
            EditAction::Change(changes) => assert!(!changes.is_empty(), "a change of nothing"),
        }
    }
    let _ = inverse(&one, &found);
    in_git(touched, observed, &found);
}

/// Only paths come from what was sent: every value is the live one.
fn created(touched: &Touched, observed: &Observed, value: &Value) {
    let live = observed
        .after
        .as_ref()
        .expect("created in git, and it is not there");
    let live = normalise(&touched.gvk, live, false);
    within(value, &live, "");
}

fn within(part: &Value, whole: &Value, at: &str) {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            for (key, value) in part {
                let at = format!("{at}.{key}");
                let Some(live) = whole.get(key) else {
                    panic!("{at} goes to git and is not live")
                };
                within(value, live, &at);
            }
        }
        (Value::Array(part), Value::Array(whole)) => {
            // Items may be left out; those that stay keep their order.
            let mut rest = whole.iter();
            for item in part {
                assert!(
                    rest.any(|live| fits(item, live)),
                    "{at} has an item that is not live: {item}"
                );
            }
        }
        _ => assert_eq!(part, whole, "{at} is not what is live"),
    }
}

fn fits(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|live| fits(value, live))),
        (Value::Array(part), Value::Array(whole)) => {
            let mut rest = whole.iter();
            part.iter().all(|item| rest.any(|live| fits(item, live)))
        }
        _ => part == whole,
    }
}

/// Git held what was there before: after the edits nothing differs on what was edited.
fn in_git(touched: &Touched, observed: &Observed, found: &breakglass::drift::Drift) {
    let file = observed.before.as_ref().and_then(|before| {
        let text = new_file(&normalise(&touched.gvk, before, false)).ok()?;
        Some(GitFile {
            path: "app/all.yaml".to_owned(),
            text: format!("# kept\n---\n{text}"),
        })
    });
    let files: Vec<GitFile> = file.into_iter().collect();
    let planned = plan(found, &files, &Rules::default());
    for edit in &planned.file_edits {
        let Some(new) = &edit.new else { continue };
        let documents = read::documents(new).expect("what goes to git can be read");
        assert!(documents.len() <= 1, "one object, {} documents", documents.len());
        assert!(
            edit.old.is_none() || new.starts_with("# kept\n---\n"),
            "the remark is gone"
        );
        let all_done = planned.rows.iter().all(|row| !row.by_hand);
        if let (Some(EditAction::Change(changes)), true) =
            (found.edits.first().map(|edit| &edit.action), all_done)
        {
            let paths: Vec<Path> = changes.iter().map(|change| change.path.clone()).collect();
            let live = observed
                .after
                .as_ref()
                .map(|after| normalise(&touched.gvk, after, false));
            let differ = converged(live.as_ref(), documents.first(), &paths);
            assert_eq!(differ, Ok(()), "git would not say what is live:\n{new}");
        }
    }
}
