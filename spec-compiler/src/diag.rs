//! Positions in descriptions, and errors that carry them.
//!
//! A [`Session`] owns the text of every file read and collects diagnostics, so that one run reports as many mistakes as
//! it can find. Rendering (source line and caret) is codespan-reporting's.

use std::collections::HashSet;

use codespan_reporting::diagnostic::{Diagnostic, Label};
use codespan_reporting::files::{Files, SimpleFiles};
use codespan_reporting::term;

/// A range of bytes in one source file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Index into the session's files.
    pub file: u32,
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// From the start of `self` to the end of `other`.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        if self.file == other.file { Span { end: other.end.max(self.end), ..self } } else { self }
    }
}

/// One mistake found in a description.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Error {
    pub span: Span,
    pub message: String,
    /// Other places that explain it.
    pub related: Vec<(Span, String)>,
    /// Advice.
    pub notes: Vec<String>,
}

impl Error {
    #[must_use]
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Error { span, message: message.into(), related: Vec::new(), notes: Vec::new() }
    }
    #[must_use]
    pub fn related(mut self, span: Span, message: impl Into<String>) -> Self {
        self.related.push((span, message.into()));
        self
    }
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// The files of one compilation and what was found wrong with them.
#[derive(Debug)]
pub struct Session {
    files: SimpleFiles<String, String>,
    count: u32,
    errors: Vec<Error>,
    seen: HashSet<(Span, String)>,
}

impl Default for Session {
    fn default() -> Self {
        Session { files: SimpleFiles::new(), count: 0, errors: Vec::new(), seen: HashSet::new() }
    }
}

impl Session {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; the result is its number in [`Span::file`].
    pub fn add_file(&mut self, name: impl Into<String>, text: impl Into<String>) -> u32 {
        self.files.add(name.into(), text.into());
        self.count += 1;
        self.count - 1
    }

    #[must_use]
    pub fn text(&self, file: u32) -> &str {
        self.files.source(file as usize).unwrap_or("")
    }

    #[must_use]
    pub fn file_name(&self, file: u32) -> String {
        self.files.name(file as usize).unwrap_or_default()
    }

    /// Number of files read.
    #[must_use]
    pub fn file_count(&self) -> u32 {
        self.count
    }

    /// Reports an error. The same message at the same place counts once (code inlined twice is wrong twice).
    pub fn error(&mut self, error: Error) {
        if self.seen.insert((error.span, error.message.clone())) {
            self.errors.push(error);
        }
    }

    #[must_use]
    pub fn errors(&self) -> &[Error] {
        &self.errors
    }

    #[must_use]
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// `file:line` of a span, for comments in generated code.
    #[must_use]
    pub fn location(&self, span: Span) -> String {
        let line = self.files.line_index(span.file as usize, span.start as usize).map_or(0, |l| l + 1);
        format!("{}:{line}", self.file_name(span.file))
    }

    /// All errors as text: message, source line, caret.
    #[must_use]
    pub fn render(&self) -> String {
        let config = term::Config::default();
        let mut out = String::new();
        for e in &self.errors {
            let mut labels = Vec::new();
            if self.count > 0 {
                let range = |s: Span| s.start as usize..s.end as usize;
                labels.push(Label::primary(e.span.file as usize, range(e.span)));
                for (span, text) in &e.related {
                    labels.push(Label::secondary(span.file as usize, range(*span)).with_message(text));
                }
            }
            let d = Diagnostic::error().with_message(&e.message).with_labels(labels).with_notes(e.notes.clone());
            let mut buffer = codespan_reporting::term::termcolor::NoColor::new(Vec::new());
            if term::emit(&mut buffer, &config, &self.files, &d).is_err() {
                out.push_str(&e.message);
                out.push('\n');
            } else {
                out.push_str(&String::from_utf8_lossy(buffer.get_ref()));
            }
        }
        out
    }
}
