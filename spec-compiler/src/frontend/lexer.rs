//! Text to tokens.
//!
//! `'...'` is a bit string when it holds only `0`, `1`, `x`; otherwise it is a piece of an assembly template, which may
//! nest (`'{c ? 'a' : 'b'}'`) and is read again by the template parser.

use crate::diag::{Error, Session, Span};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tok {
    Ident(String),
    Int(u128),
    /// `'01x'`: the characters between the quotes.
    Bits(String),
    /// A quoted piece of an assembly template.
    Text,
    /// `"..."`, without the quotes (the span includes them).
    Str(String),
    Punct(&'static str),
    Eof,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub tok: Tok,
    pub span: Span,
    /// `///` lines before it.
    pub doc: String,
}

/// Longest first.
const PUNCT: &[&str] = &[
    ">>>", "..=", "<<", ">>", "==", "!=", "<=", ">=", "&&", "||", "=>", "->", "..", "+=", "-=", "|=", "&=", "^=", "(",
    ")", "[", "]", "{", "}", ",", ";", ":", "=", "+", "-", "*", "/", "%", "&", "|", "^", "!", "<", ">", "?", "#", "@",
    ".", "~",
];

/// Tokens of `text[start..end]`, ending in [`Tok::Eof`]. Errors are reported and skipped.
pub fn lex(session: &mut Session, file: u32, start: usize, end: usize) -> Vec<Token> {
    let text = session.text(file)[..end].to_owned();
    let bytes = text.as_bytes();
    let mut at = start;
    let mut out = Vec::new();
    let mut doc = String::new();
    let span = |a: usize, b: usize| Span { file, start: a as u32, end: b as u32 };
    while at < end {
        let c = bytes[at];
        if c.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        if text[at..].starts_with("//") {
            let line_end = text[at..].find('\n').map_or(end, |n| at + n);
            let line = &text[at..line_end];
            if line.starts_with("///") && !line.starts_with("////") {
                if !doc.is_empty() {
                    doc.push('\n');
                }
                doc.push_str(line[3..].trim());
            }
            at = line_end;
            continue;
        }
        let from = at;
        let tok = if c.is_ascii_alphabetic() || c == b'_' {
            while at < end && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
                at += 1;
            }
            Tok::Ident(text[from..at].to_owned())
        } else if c.is_ascii_digit() {
            while at < end && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
                at += 1;
            }
            match int(&text[from..at]) {
                Some(v) => Tok::Int(v),
                None => {
                    session.error(Error::new(span(from, at), "not a number"));
                    Tok::Int(0)
                }
            }
        } else if c == b'"' {
            match text[at + 1..].find(['"', '\n']) {
                Some(n) if bytes[at + 1 + n] == b'"' => {
                    at += n + 2;
                    Tok::Str(text[from + 1..at - 1].to_owned())
                }
                _ => {
                    session.error(Error::new(span(from, from + 1), "this string does not end on its line"));
                    at = text[from..].find('\n').map_or(end, |n| from + n);
                    Tok::Str(text[from + 1..at].to_owned())
                }
            }
        } else if c == b'\'' {
            match quoted_end(bytes, at) {
                Some(close) => {
                    let inner = &text[at + 1..close];
                    at = close + 1;
                    if !inner.is_empty() && inner.bytes().all(|b| matches!(b, b'0' | b'1' | b'x' | b' ' | b'_')) {
                        Tok::Bits(inner.chars().filter(|c| !matches!(c, ' ' | '_')).collect())
                    } else {
                        Tok::Text
                    }
                }
                None => {
                    session.error(Error::new(span(from, from + 1), "this quote is not closed"));
                    at += 1;
                    continue;
                }
            }
        } else if let Some(p) = PUNCT.iter().find(|p| text[at..].starts_with(**p)) {
            at += p.len();
            Tok::Punct(p)
        } else {
            let n = text[at..].chars().next().map_or(1, char::len_utf8);
            session.error(Error::new(span(at, at + n), format!("unexpected character `{}`", &text[at..at + n])));
            at += n;
            continue;
        };
        out.push(Token { tok, span: span(from, at), doc: std::mem::take(&mut doc) });
    }
    out.push(Token { tok: Tok::Eof, span: span(end, end), doc });
    out
}

/// Position of the quote that closes the one at `open`: quotes within braces nest.
pub fn quoted_end(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\'' => return Some(at),
            b'\n' => return None,
            b'{' if bytes.get(at + 1) == Some(&b'{') => at += 2,
            b'{' => at = brace_end(bytes, at)? + 1,
            _ => at += 1,
        }
    }
    None
}

/// Position of the brace that closes the one at `open`.
pub fn brace_end(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'}' => return Some(at),
            b'\n' => return None,
            b'{' => at = brace_end(bytes, at)? + 1,
            b'\'' => at = quoted_end(bytes, at)? + 1,
            _ => at += 1,
        }
    }
    None
}

fn int(text: &str) -> Option<u128> {
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    if let Some(hex) = digits.strip_prefix("0x") {
        u128::from_str_radix(hex, 16).ok()
    } else if let Some(bin) = digits.strip_prefix("0b") {
        u128::from_str_radix(bin, 2).ok()
    } else {
        digits.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toks(text: &str) -> Vec<Tok> {
        let mut s = Session::new();
        let f = s.add_file("t", text);
        let t = lex(&mut s, f, 0, text.len());
        assert!(!s.has_errors(), "{}", s.render());
        t.into_iter().map(|t| t.tok).collect()
    }

    #[test]
    fn numbers_strings_and_operators() {
        assert_eq!(
            toks("a >>> 0x1_f '01x0' \"s\" // no\n 1..=2"),
            vec![
                Tok::Ident("a".into()),
                Tok::Punct(">>>"),
                Tok::Int(31),
                Tok::Bits("01x0".into()),
                Tok::Str("s".into()),
                Tok::Int(1),
                Tok::Punct("..="),
                Tok::Int(2),
                Tok::Eof
            ]
        );
    }

    #[test]
    fn quotes_nest_in_braces() {
        assert_eq!(toks("'a{c ? 'b' : 'd'}' x"), vec![Tok::Text, Tok::Ident("x".into()), Tok::Eof]);
    }

    #[test]
    fn doc_comments_join() {
        let mut s = Session::new();
        let text = "/// one\n/// two\nx";
        let f = s.add_file("t", text);
        assert_eq!(lex(&mut s, f, 0, text.len())[0].doc, "one\ntwo");
    }
}
