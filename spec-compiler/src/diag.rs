//! Positions in descriptions, and errors that carry them.

/// A range of bytes in one source file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Index into the session's files.
    pub file: u32,
    pub start: u32,
    pub end: u32,
}
