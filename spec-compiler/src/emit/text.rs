//! Rust text under construction: indentation, and names that are legal and unique.

use std::collections::HashSet;
use std::fmt::Write as _;

/// Lines of Rust with a current indentation.
#[derive(Debug, Default)]
pub struct Text {
    pub out: String,
    indent: usize,
}

impl Text {
    /// Starts at some depth.
    #[must_use]
    pub fn at(indent: usize) -> Self {
        Self { out: String::new(), indent }
    }

    pub fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        if line.is_empty() {
            self.out.push('\n');
        } else {
            let _ = writeln!(self.out, "{:width$}{line}", "", width = self.indent * 4);
        }
    }

    /// A line that opens a block.
    pub fn open(&mut self, line: impl AsRef<str>) {
        self.line(line);
        self.indent += 1;
    }

    /// A line that closes a block.
    pub fn close(&mut self, line: impl AsRef<str>) {
        self.indent -= 1;
        self.line(line);
    }

    /// Closes one block and opens another: `} else {`.
    pub fn reopen(&mut self, line: impl AsRef<str>) {
        self.indent -= 1;
        self.line(line);
        self.indent += 1;
    }

    /// Many lines, each at the current indentation.
    pub fn lines(&mut self, text: &str) {
        for line in text.lines() {
            self.line(line);
        }
    }

    /// Text that was indented for a function's body, at the current indentation.
    pub fn lines_at(&mut self, text: &str) {
        for line in text.lines() {
            self.line(line.strip_prefix("        ").unwrap_or(line));
        }
    }

    pub fn doc(&mut self, doc: &str) {
        for line in doc.lines() {
            self.line(format!("/// {}", line.trim()).trim_end());
        }
    }
}

const KEYWORDS: &[&str] = &[
    "as", "async", "await", "box", "break", "const", "continue", "crate", "do", "dyn", "else", "enum", "extern",
    "false", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "priv",
    "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe",
    "unsized", "use", "virtual", "where", "while", "yield", "abstract", "become", "final", "override",
];

/// A legal lower-case identifier that resembles `name`.
#[must_use]
pub fn snake(name: &str) -> String {
    let mut s: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    if s.is_empty() || s.starts_with(|c: char| c.is_ascii_digit()) || s == "_" {
        s.insert(0, 'v');
    }
    if KEYWORDS.contains(&s.as_str()) {
        s.push('_');
    }
    s
}

/// `add_sub_imm` to `AddSubImm`.
#[must_use]
pub fn camel(name: &str) -> String {
    let mut s = String::new();
    let mut upper = true;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            upper = true;
        } else if upper {
            if c.is_ascii_digit() && s.ends_with(|p: char| p.is_ascii_digit()) {
                s.push('_');
            }
            s.push(c.to_ascii_uppercase());
            upper = false;
        } else {
            s.push(c);
        }
    }
    if s.starts_with(|c: char| c.is_ascii_digit()) || s == "Self" {
        s.insert(0, 'I');
    }
    s
}

/// `SCTLR_EL1` stays, anything else becomes a legal constant's name.
#[must_use]
pub fn upper(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// Names given out so far in one scope.
#[derive(Clone, Debug, Default)]
pub struct Names {
    taken: HashSet<String>,
}

impl Names {
    #[must_use]
    pub fn reserving(names: &[&str]) -> Self {
        Self { taken: names.iter().map(|&n| n.to_owned()).collect() }
    }

    /// A name like `wanted` that nothing else has.
    pub fn fresh(&mut self, wanted: &str) -> String {
        let base = snake(wanted);
        let mut name = base.clone();
        let mut n = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{base}_{n}");
            n += 1;
        }
        name
    }
}

/// A string literal.
#[must_use]
pub fn quote(s: &str) -> String {
    format!("{s:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(camel("add_sub_imm"), "AddSubImm");
        assert_eq!(snake("type"), "type_");
        assert_eq!(snake("N"), "n");
        let mut names = Names::reserving(&["b"]);
        assert_eq!(names.fresh("B"), "b_2");
        assert_eq!(names.fresh("b"), "b_3");
    }
}
