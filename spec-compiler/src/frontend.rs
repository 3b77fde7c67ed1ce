//! The front end: text of a description to checked [`Model`].
//!
//! [`lexer`] -> [`parser`], [`grammar`], [`template`] -> tables of names ([`program`], [`items`]) -> types, widths, binding times
//! and [`crate::ssa`] bodies in one walk ([`lower`] and the modules beside it, by construct), which [`insn`] and [`sysreg`] start
//! -> the checks that need no types ([`check`]).

pub mod ast;
pub mod branch;
pub mod call;
pub mod check;
pub mod convert;
pub mod expr;
pub mod fold;
pub mod grammar;
pub mod insn;
pub mod items;
pub mod lexer;
pub mod lower;
pub mod matching;
pub mod outlined;
pub mod parser;
pub mod poly;
pub mod program;
pub mod stmt;
pub mod sysreg;
pub mod template;
pub mod uses;
pub mod vector;

use std::path::{Path, PathBuf};

use crate::diag::{Error, Session, Span};
use crate::model::Model;

/// A checked description and the session that its spans refer to.
#[derive(Debug)]
pub struct Loaded {
    pub model: Model,
    pub session: Session,
    /// Every file read, for build scripts (`rerun-if-changed`).
    pub files: Vec<PathBuf>,
}

/// Reads and checks the description whose root file is `root`.
///
/// # Errors
/// The session with at least one error; [`Session::render`] prints them.
pub fn load(root: &Path) -> Result<Loaded, Box<Session>> {
    let mut session = Session::new();
    let mut files = Vec::new();
    let text = match std::fs::read_to_string(root) {
        Ok(t) => t,
        Err(e) => {
            session.add_file(root.display().to_string(), "");
            session.error(Error::new(Span::default(), format!("can't read {}: {e}", root.display())));
            return Err(Box::new(session));
        }
    };
    files.push(root.to_owned());
    let name = root.file_name().map_or_else(|| root.display().to_string(), |n| n.to_string_lossy().into_owned());
    let dir = root.parent().unwrap_or(Path::new(""));
    let model = load_from(&mut session, &name, text, &mut |include| {
        let path = dir.join(include);
        let text = std::fs::read_to_string(&path)?;
        files.push(path);
        Ok(text)
    });
    match model {
        Some(model) => Ok(Loaded { model, session, files }),
        None => Err(Box::new(session)),
    }
}

/// Checks a description given as text, without includes.
///
/// # Errors
/// The session with at least one error.
pub fn load_str(name: &str, text: &str) -> Result<Loaded, Box<Session>> {
    let mut session = Session::new();
    let model = load_from(&mut session, name, text.to_owned(), &mut |_| Err(std::io::ErrorKind::NotFound.into()));
    match model {
        Some(model) => Ok(Loaded { model, session, files: Vec::new() }),
        None => Err(Box::new(session)),
    }
}

fn load_from(
    session: &mut Session,
    name: &str,
    text: String,
    read: &mut dyn FnMut(&str) -> std::io::Result<String>,
) -> Option<Model> {
    let mut source_lines = count_lines(&text);
    let root = session.add_file(name, text);
    let mut file = parser::parse_file(session, root);
    let isa = file.isa.take();
    let mut items = std::mem::take(&mut file.items);
    let mut seen = vec![name.to_owned()];
    let mut waiting: Vec<(String, Span)> = file.includes.into_iter().rev().collect();
    while let Some((include, span)) = waiting.pop() {
        if seen.contains(&include) {
            session.error(Error::new(span, format!("{include} is included twice")));
            continue;
        }
        seen.push(include.clone());
        let text = match read(&include) {
            Ok(t) => t,
            Err(e) => {
                session.error(Error::new(span, format!("can't read {include}: {e}")));
                continue;
            }
        };
        source_lines += count_lines(&text);
        let id = session.add_file(include, text);
        let parsed = parser::parse_file(session, id);
        if let Some((_, _, span)) = parsed.isa {
            session.error(Error::new(span, "`isa` belongs in the root file"));
        }
        items.extend(parsed.items);
        waiting.extend(parsed.includes.into_iter().rev());
    }
    // What a syntax error hides would be reported as missing.
    if session.has_errors() {
        return None;
    }
    let mut model = items::build(session, isa, items)?;
    model.source_lines = source_lines;
    Some(model)
}

/// Lines that say something: not blank, not only a comment.
fn count_lines(text: &str) -> usize {
    text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("//")).count()
}
