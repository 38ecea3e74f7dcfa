//! An error in words, with what caused it.

/// An error with its causes, each said once, on one line: what a log, a job or a page's detail keeps of it.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let next = source.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = source.source();
    }
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the pull request was not opened")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_cause_is_said_once_and_on_one_line() {
        let refused = std::io::Error::other("connection\nrefused");
        assert_eq!(
            chain(&Outer(refused)),
            "the pull request was not opened: connection refused"
        );
        let same = std::io::Error::other("the pull request was not opened");
        assert_eq!(chain(&Outer(same)), "the pull request was not opened");
    }
}
