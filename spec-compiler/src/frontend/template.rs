//! Assembly templates: text with placeholders in braces.
//!
//! Read character by character, because quotes mean text here, which may hold placeholders again; the expressions within are
//! handed to the ordinary parser by position, so that errors point into the template.

use super::ast::{Expr, ExprKind, Part};
use super::lexer::{brace_end, quoted_end};
use super::parser::{Parse, Parser, Reported};
use crate::diag::{Error, Session, Span};

struct Reader<'a> {
    session: &'a mut Session,
    file: u32,
    text: Vec<u8>,
}

/// The template in `start..end` of a file (without its quotes).
pub fn template(session: &mut Session, file: u32, start: usize, end: usize) -> Parse<Vec<Part>> {
    let text = session.text(file).as_bytes().to_vec();
    Reader { session, file, text }.template(start, end)
}

/// The body of an `asm fn`: quoted text or a choice.
pub fn choice(session: &mut Session, file: u32, start: usize, end: usize) -> Parse<Vec<Part>> {
    let text = session.text(file).as_bytes().to_vec();
    Reader { session, file, text }.placeholder(start, end)
}

impl Reader<'_> {
    fn fail<T>(&mut self, start: usize, end: usize, message: &str) -> Parse<T> {
        let span = Span { file: self.file, start: start as u32, end: end.max(start + 1) as u32 };
        self.session.error(Error::new(span, message));
        Err(Reported)
    }

    fn template(&mut self, start: usize, end: usize) -> Parse<Vec<Part>> {
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let mut at = start;
        while at < end {
            let c = self.text[at];
            if (c == b'{' || c == b'}') && at + 1 < end && self.text[at + 1] == c {
                text.push(c);
                at += 2;
            } else if c == b'{' {
                let Some(close) = brace_end(&self.text[..end], at) else {
                    return self.fail(at, at + 1, "this brace is not closed (write `{{` for a brace)");
                };
                flush(&mut text, &mut parts);
                parts.extend(self.placeholder(at + 1, close)?);
                at = close + 1;
            } else if c == b'}' {
                return self.fail(at, at + 1, "no brace is open here (write `}}` for a brace)");
            } else {
                text.push(c);
                at += 1;
            }
        }
        flush(&mut text, &mut parts);
        Ok(parts)
    }

    fn trim(&self, mut start: usize, mut end: usize) -> (usize, usize) {
        while start < end && self.text[start].is_ascii_whitespace() {
            start += 1;
        }
        while start < end && self.text[end - 1].is_ascii_whitespace() {
            end -= 1;
        }
        (start, end)
    }

    /// First `wanted` outside brackets and quotes.
    fn find(&self, start: usize, end: usize, wanted: u8) -> Option<usize> {
        let mut depth = 0u32;
        let mut choices = 0u32;
        let mut at = start;
        while at < end {
            match self.text[at] {
                b'\'' => at = quoted_end(&self.text[..end], at)?,
                b'"' => at = at + 1 + self.text[at + 1..end].iter().position(|c| *c == b'"')?,
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                c if depth == 0 && c == wanted && choices == 0 => return Some(at),
                b'?' if depth == 0 => choices += 1,
                b':' if depth == 0 => choices = choices.saturating_sub(1),
                _ => {}
            }
            at += 1;
        }
        None
    }

    fn placeholder(&mut self, start: usize, end: usize) -> Parse<Vec<Part>> {
        let (start, end) = self.trim(start, end);
        if start == end {
            return self.fail(start, end, "nothing between the braces");
        }
        let first = self.text[start];
        if let Some(q) = self.find(start, end, b'?') {
            let cond = self.expr(start, q)?;
            let (then, otherwise) = match self.find(q + 1, end, b':') {
                Some(c) => (self.placeholder(q + 1, c)?, self.placeholder(c + 1, end)?),
                None => (self.placeholder(q + 1, end)?, Vec::new()),
            };
            return Ok(vec![Part::Choice(cond, then, otherwise)]);
        }
        if first == b'\'' && quoted_end(&self.text[..end], start) == Some(end - 1) {
            return self.template(start + 1, end - 1);
        }
        if first == b'"' && end > start + 1 && self.text[end - 1] == b'"' {
            return self.template(start + 1, end - 1);
        }
        if self.text[start..end].starts_with(b"#x ") {
            return Ok(vec![Part::Hex(self.expr(start + 3, end)?)]);
        }
        if first == b'#' {
            return Ok(vec![Part::Dec(self.expr(start + 1, end)?)]);
        }
        if first == b'@' {
            return Ok(vec![Part::Address(self.expr(start + 1, end)?)]);
        }
        if first == b'$' {
            return Ok(vec![Part::Register(self.expr(start + 1, end)?)]);
        }
        let e = self.expr(start, end)?;
        let span = e.span;
        match e.kind {
            ExprKind::Index(base, mut indices) if indices.len() == 1 => match base.kind {
                ExprKind::Name(name) => {
                    let table = super::ast::Ident { name, span: base.span };
                    Ok(vec![Part::Name(table, indices.remove(0))])
                }
                _ => self.fail(span.start as usize, span.end as usize, "expected the name of a table before `[`"),
            },
            ExprKind::Call(name, args) => Ok(vec![Part::Call(name, args)]),
            _ => self.fail(
                span.start as usize,
                span.end as usize,
                "expected `TABLE[e]`, `F(e)`, `#e`, `#x e`, `@e`, `$e` or `c ? 'a' : 'b'`",
            ),
        }
    }

    fn expr(&mut self, start: usize, end: usize) -> Parse<Expr> {
        let mut p = Parser::new(self.session, self.file, start, end);
        let e = p.expr()?;
        p.finish()?;
        Ok(e)
    }
}

fn flush(text: &mut Vec<u8>, parts: &mut Vec<Part>) {
    if !text.is_empty() {
        parts.push(Part::Text(String::from_utf8_lossy(text).into_owned()));
        text.clear();
    }
}
