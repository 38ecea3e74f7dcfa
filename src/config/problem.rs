//! What is wrong with a configuration, printed like a compiler's message.

use std::fmt;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as it was given.
    pub file: String,
    /// The line, from 1; 0 when the file as a whole is meant.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// The field, as `profiles.payments.approvers[0]`; empty for the whole file.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// What to write instead, where something is near.
    pub help: Option<String>,
    /// The line as it stands in the file. Empty where it might hold a secret.
    pub source_line: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        if self.line == 0 {
            write!(f, " --> {}", self.file)?;
        } else {
            write!(f, " --> {}:{}:{}", self.file, self.line, self.column)?;
        }
        if !self.field.is_empty() {
            write!(f, "  ({})", self.field)?;
        }
        let margin = self.line.to_string().len();
        if !self.source_line.is_empty() {
            let pad = usize::try_from(self.column.saturating_sub(1)).unwrap_or(0);
            write!(f, "\n{:margin$} |\n{} | {}", "", self.line, self.source_line)?;
            if pad < self.source_line.chars().count() {
                write!(f, "\n{:margin$} | {:pad$}^", "", "")?;
            }
        }
        if let Some(help) = &self.help {
            write!(f, "\n{:margin$} = help: {help}", "")?;
        }
        Ok(())
    }
}

/// The name nearest to `wrong`, when one is near enough to have been meant.
pub(super) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1.max(name.chars().count() / 3))
        .min()
        .map(|(_, name)| name)
}
