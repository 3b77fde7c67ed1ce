//! Tokens to syntax tree: recursive descent, one function per construct.
//!
//! A syntax error is reported where it is, then the parser skips to the next item, so that one run reports several.

use super::ast::*;
use super::lexer::{Tok, Token, lex};
use super::template;
use crate::diag::{Error, Session, Span};

/// The error has been reported.
#[derive(Debug)]
pub struct Reported;
pub type Parse<T> = Result<T, Reported>;

/// What a file holds.
#[derive(Debug, Default)]
pub struct File {
    /// Name, and bits in an instruction word.
    pub isa: Option<(String, u32, Span)>,
    pub includes: Vec<(String, Span)>,
    pub items: Vec<Item>,
}

pub struct Parser<'a> {
    pub(super) session: &'a mut Session,
    pub(super) file: u32,
    tokens: Vec<Token>,
    at: usize,
}

const ITEM_WORDS: &[&str] = &[
    "isa", "include", "feature", "const", "names", "state", "fn", "outlined", "view", "extern", "asm", "insn", "sysreg",
];

pub fn parse_file(session: &mut Session, file: u32) -> File {
    let end = session.text(file).len();
    let mut p = Parser::new(session, file, 0, end);
    let mut out = File::default();
    while p.peek() != &Tok::Eof {
        let before = p.at;
        if p.item(&mut out).is_err() {
            p.skip_to_item(before);
        }
    }
    out
}

impl<'a> Parser<'a> {
    /// A parser for part of a file.
    pub fn new(session: &'a mut Session, file: u32, start: usize, end: usize) -> Self {
        let tokens = lex(session, file, start, end);
        Parser { session, file, tokens, at: 0 }
    }

    pub(super) fn peek(&self) -> &Tok {
        &self.tokens[self.at].tok
    }
    pub(super) fn peek_at(&self, n: usize) -> &Tok {
        &self.tokens[(self.at + n).min(self.tokens.len() - 1)].tok
    }
    pub(super) fn span(&self) -> Span {
        self.tokens[self.at].span
    }
    pub(super) fn prev_span(&self) -> Span {
        self.tokens[self.at.saturating_sub(1)].span
    }
    pub(super) fn bump(&mut self) -> Token {
        let t = self.tokens[self.at].clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        t
    }
    pub(super) fn is(&self, p: &str) -> bool {
        matches!(self.peek(), Tok::Punct(q) if *q == p)
    }
    pub(super) fn is_word(&self, w: &str) -> bool {
        matches!(self.peek(), Tok::Ident(i) if i == w)
    }
    pub(super) fn eat(&mut self, p: &str) -> bool {
        let yes = self.is(p);
        if yes {
            self.bump();
        }
        yes
    }
    pub(super) fn eat_word(&mut self, w: &str) -> bool {
        let yes = self.is_word(w);
        if yes {
            self.bump();
        }
        yes
    }
    pub(super) fn fail<T>(&mut self, span: Span, message: impl Into<String>) -> Parse<T> {
        self.session.error(Error::new(span, message));
        Err(Reported)
    }
    fn describe(&self) -> String {
        match self.peek() {
            Tok::Ident(i) => format!("`{i}`"),
            Tok::Int(i) => format!("`{i}`"),
            Tok::Bits(b) => format!("`'{b}'`"),
            Tok::Text => "quoted text".into(),
            Tok::Str(_) => "a string".into(),
            Tok::Punct(p) => format!("`{p}`"),
            Tok::Eof => "the end".into(),
        }
    }
    pub(super) fn expected<T>(&mut self, what: &str) -> Parse<T> {
        let found = self.describe();
        self.fail(self.span(), format!("expected {what}, found {found}"))
    }
    pub(super) fn expect(&mut self, p: &str) -> Parse<Span> {
        if self.is(p) { Ok(self.bump().span) } else { self.expected(&format!("`{p}`")) }
    }
    pub(super) fn expect_word(&mut self, w: &str) -> Parse<()> {
        if self.eat_word(w) { Ok(()) } else { self.expected(&format!("`{w}`")) }
    }
    /// Everything must have been read.
    pub(super) fn finish(&mut self) -> Parse<()> {
        if self.peek() == &Tok::Eof { Ok(()) } else { self.expected("the end of the expression") }
    }

    pub(super) fn ident(&mut self) -> Parse<Ident> {
        match self.peek() {
            Tok::Ident(name) => {
                let name = name.clone();
                let span = self.bump().span;
                Ok(Ident { name, span })
            }
            _ => self.expected("a name"),
        }
    }

    fn string(&mut self) -> Parse<(String, Span)> {
        match self.peek() {
            Tok::Str(s) => {
                let s = s.clone();
                let span = self.bump().span;
                Ok((s, span))
            }
            _ => self.expected("a string"),
        }
    }

    /// After an error: on to a token at the beginning of a line that starts an item.
    fn skip_to_item(&mut self, before: usize) {
        if self.at == before {
            self.bump();
        }
        while self.peek() != &Tok::Eof {
            let start = self.span().start as usize;
            let text = self.session.text(self.file);
            let first = start == 0 || text.as_bytes()[start - 1] == b'\n';
            if first && matches!(self.peek(), Tok::Ident(w) if ITEM_WORDS.contains(&w.as_str())) {
                return;
            }
            self.bump();
        }
    }

    // Items

    fn item(&mut self, out: &mut File) -> Parse<()> {
        let doc = self.tokens[self.at].doc.clone();
        let word = match self.peek() {
            Tok::Ident(w) => w.clone(),
            _ => return self.expected("an item (`insn`, `fn`, `view`, `sysreg`, ...)"),
        };
        let start = self.span();
        match word.as_str() {
            "isa" => {
                self.bump();
                let (name, _) = self.string()?;
                let mut width = 32;
                if self.eat_word("width") {
                    let span = self.span();
                    match self.bump().tok {
                        Tok::Int(w @ (16 | 32)) => width = w as u32,
                        _ => return self.fail(span, "the width of an instruction word is 16 or 32"),
                    }
                }
                self.expect(";")?;
                if out.isa.is_some() {
                    return self.fail(start, "a second `isa`");
                }
                out.isa = Some((name, width, start));
            }
            "include" => {
                self.bump();
                let (name, span) = self.string()?;
                self.expect(";")?;
                out.includes.push((name, span));
            }
            "feature" => {
                self.bump();
                let name = self.ident()?;
                let mut on = true;
                if self.eat("=") {
                    let v = self.ident()?;
                    on = match v.name.as_str() {
                        "on" | "true" => true,
                        "off" | "false" => false,
                        _ => return self.fail(v.span, "a feature is `on` or `off`"),
                    };
                }
                self.expect(";")?;
                out.items.push(Item::Feature { name, on, doc });
            }
            "const" => {
                self.bump();
                let name = self.ident()?;
                let ty = if self.eat(":") { Some(self.ty()?) } else { None };
                self.expect("=")?;
                let value = self.expr()?;
                self.expect(";")?;
                out.items.push(Item::Const { name, ty, value });
            }
            "names" => {
                self.bump();
                let name = self.ident()?;
                self.expect("=")?;
                self.expect("[")?;
                let mut entries = Vec::new();
                while !self.is("]") {
                    entries.push(self.string()?.0);
                    if !self.eat(",") {
                        break;
                    }
                }
                self.expect("]")?;
                self.expect(";")?;
                out.items.push(Item::Names { name, entries });
            }
            "state" => {
                self.bump();
                let items = self.state()?;
                out.items.push(Item::State(items));
            }
            "fn" | "outlined" => {
                let outlined = self.eat_word("outlined");
                self.expect_word("fn")?;
                let name = self.ident()?;
                let params = self.params("(", ")")?;
                let result = if self.eat("->") { Some(self.ty()?) } else { None };
                let body = self.block()?;
                out.items.push(Item::Fn(Fn { name, params, result, body, outlined, doc }));
            }
            "view" => {
                self.bump();
                let view = self.view()?;
                out.items.push(Item::View(view));
            }
            "extern" => {
                self.bump();
                let mut x = Extern {
                    name: Ident { name: String::new(), span: start },
                    params: Vec::new(),
                    result: None,
                    pure_: false,
                    raises: false,
                    never: false,
                    ends_block: false,
                    doc,
                };
                loop {
                    let w = self.ident()?;
                    match w.name.as_str() {
                        "pure" => x.pure_ = true,
                        "raises" => x.raises = true,
                        "never" => x.never = true,
                        "ends_block" => x.ends_block = true,
                        "fn" => break,
                        _ => return self.fail(w.span, "expected `pure`, `raises`, `never`, `ends_block` or `fn`"),
                    }
                }
                x.name = self.ident()?;
                x.params = self.params("(", ")")?;
                if self.eat("->") {
                    x.result = Some(self.ty()?);
                }
                self.expect(";")?;
                out.items.push(Item::Extern(x));
            }
            "asm" => {
                self.bump();
                self.expect_word("fn")?;
                let name = self.ident()?;
                let params = self.params("(", ")")?;
                let eq = self.expect("=")?;
                // The template is read again from the text, up to the semicolon.
                while !self.is(";") && self.peek() != &Tok::Eof {
                    self.bump();
                }
                let end = self.expect(";")?;
                let body = template::choice(self.session, self.file, eq.end as usize, end.start as usize)
                    .map_err(|_| Reported)?;
                out.items.push(Item::AsmFn(AsmFn { name, params, body }));
            }
            "insn" => {
                self.bump();
                let insn = self.insn(doc)?;
                out.items.push(Item::Insn(Box::new(insn)));
            }
            "sysreg" => {
                self.bump();
                let reg = self.sysreg(doc)?;
                out.items.push(Item::Sysreg(Box::new(reg)));
            }
            _ => return self.expected("an item (`insn`, `fn`, `view`, `sysreg`, ...)"),
        }
        Ok(())
    }

    fn state(&mut self) -> Parse<Vec<StateItem>> {
        self.expect("{")?;
        let mut items = Vec::new();
        while !self.is("}") {
            let doc = self.tokens[self.at].doc.clone();
            let context = self.is_word("context") && matches!(self.peek_at(1), Tok::Ident(_));
            if context {
                self.bump();
            }
            let name = self.ident()?;
            self.expect(":")?;
            let mut count = None;
            let ty = if self.is_word("pc") {
                self.bump();
                None
            } else if self.eat("[") {
                let ty = self.ty()?;
                self.expect(";")?;
                count = Some(self.expr()?);
                self.expect("]")?;
                Some(ty)
            } else {
                Some(self.ty()?)
            };
            let reset = if self.eat("=") { Some(self.expr()?) } else { None };
            items.push(StateItem { name, ty, count, reset, context, doc });
            if !self.eat(",") {
                self.eat(";");
            }
        }
        self.expect("}")?;
        Ok(items)
    }

    fn params(&mut self, open: &str, close: &str) -> Parse<Vec<Param>> {
        self.expect(open)?;
        let mut out = Vec::new();
        while !self.is(close) {
            let name = self.ident()?;
            self.expect(":")?;
            let ty = self.ty()?;
            out.push(Param { name, ty });
            if !self.eat(",") {
                break;
            }
        }
        self.expect(close)?;
        Ok(out)
    }

    fn setter(&mut self) -> Parse<(Ident, Block)> {
        self.expect("(")?;
        let name = self.ident()?;
        if self.eat(":") {
            self.ty()?;
        }
        self.expect(")")?;
        Ok((name, self.block()?))
    }

    fn view(&mut self) -> Parse<View> {
        let name = self.ident()?;
        let params = if self.is("[") { self.params("[", "]")? } else { Vec::new() };
        self.expect(":")?;
        let ty = self.ty()?;
        self.expect("{")?;
        let (mut get, mut set) = (None, None);
        while !self.is("}") {
            if self.eat_word("get") {
                get = Some(self.block()?);
            } else if self.eat_word("set") {
                set = Some(self.setter()?);
            } else {
                return self.expected("`get` or `set`");
            }
        }
        self.expect("}")?;
        Ok(View { name, params, ty, get, set })
    }

    fn ident_list(&mut self) -> Parse<Vec<Ident>> {
        let mut out = vec![self.ident()?];
        while self.eat(",") || self.eat("&&") {
            out.push(self.ident()?);
        }
        Ok(out)
    }

    fn insn(&mut self, doc: String) -> Parse<Insn> {
        let name = self.ident()?;
        let (text, pattern_span) = self.string()?;
        let pattern = self.pattern(&text, pattern_span)?;
        let mut insn = Insn {
            name,
            doc,
            pattern,
            pattern_span,
            requires: Vec::new(),
            overrides: Vec::new(),
            where_: None,
            hook: Vec::new(),
            lands: None,
            asm: Vec::new(),
            exec: None,
        };
        loop {
            if self.eat_word("requires") {
                insn.requires.extend(self.ident_list()?);
            } else if self.eat_word("overrides") {
                insn.overrides.extend(self.ident_list()?);
            } else if self.eat_word("where") {
                insn.where_ = Some(self.expr()?);
            } else {
                break;
            }
        }
        self.expect("{")?;
        while !self.is("}") {
            if self.eat_word("let") {
                let (b, t, e) = self.binding()?;
                insn.hook.push(Hook::Let(b, t, e));
            } else if self.eat_word("undefined") {
                self.expect_word("when")?;
                let e = self.expr()?;
                self.expect(";")?;
                insn.hook.push(Hook::Undefined(e));
            } else if self.is_word("lands") {
                let span = self.bump().span;
                self.expect_word("when")?;
                if insn.lands.is_some() {
                    return self.fail(span, "a second `lands when`");
                }
                insn.lands = Some(self.expr()?);
                self.expect(";")?;
            } else if self.is_word("asm") {
                self.bump();
                let (_, span) = self.string()?;
                let parts = template::template(self.session, self.file, span.start as usize + 1, span.end as usize - 1)
                    .map_err(|_| Reported)?;
                let when = if self.eat_word("when") { Some(self.expr()?) } else { None };
                self.expect(";")?;
                insn.asm.push(AsmLine { parts, when, span });
            } else if self.eat_word("exec") {
                let block = self.block()?;
                if insn.exec.is_some() {
                    return self.fail(block.span, "a second `exec`");
                }
                insn.exec = Some(block);
            } else {
                return self.expected("`let`, `undefined when`, `lands when`, `asm` or `exec`");
            }
        }
        self.expect("}")?;
        Ok(insn)
    }

    /// `"sf op 100010 imm:12"`
    fn pattern(&mut self, text: &str, span: Span) -> Parse<Vec<PatternPiece>> {
        let base = span.start + 1;
        let mut out = Vec::new();
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let from = at;
            let word = |at: &mut usize| {
                let start = *at;
                while *at < bytes.len() && (bytes[*at].is_ascii_alphanumeric() || bytes[*at] == b'_') {
                    *at += 1;
                }
                &text[start..*at]
            };
            let here = |at: usize| Span { file: span.file, start: base + from as u32, end: base + at as u32 };
            if bytes[at].is_ascii_whitespace() {
                at += 1;
                continue;
            }
            let w = word(&mut at);
            if w.is_empty() {
                at += 1;
                return self.fail(here(at), "not part of a pattern: `0`, `1`, `x`, `name` or `name:width`");
            }
            let kind = if w.bytes().all(|b| matches!(b, b'0' | b'1' | b'x' | b'_')) && bytes.get(at) != Some(&b':') {
                PatternPieceKind::Bits(w.replace('_', ""))
            } else if w.as_bytes()[0].is_ascii_digit() {
                return self.fail(here(at), "a name begins with a letter");
            } else if bytes.get(at) == Some(&b':') {
                at += 1;
                match word(&mut at).parse::<u32>() {
                    Ok(n @ 1..=32) => PatternPieceKind::Field(w.to_owned(), n),
                    _ => return self.fail(here(at), "expected a width of 1 to 32 after `:`"),
                }
            } else {
                PatternPieceKind::Field(w.to_owned(), 1)
            };
            out.push(PatternPiece { kind, span: here(at) });
        }
        Ok(out)
    }

    fn sysreg(&mut self, doc: String) -> Parse<Sysreg> {
        let prefix = self.ident()?;
        let mut family = None;
        if self.eat("{") {
            let n = self.ident()?;
            self.expect(":")?;
            let lo = self.expr()?;
            self.expect("..")?;
            let hi = self.expr()?;
            self.expect("}")?;
            let rest = if self.is("(") { String::new() } else { self.ident()?.name };
            family = Some((n, lo, hi, rest));
        }
        self.expect("(")?;
        let encoding = self.list(")")?;
        let mut reg = Sysreg {
            prefix,
            family,
            doc,
            encoding,
            requires: Vec::new(),
            access: Vec::new(),
            reset: None,
            mask: None,
            value: None,
            get: None,
            set: None,
        };
        if self.eat_word("requires") {
            reg.requires = self.ident_list()?;
        }
        self.expect("{")?;
        while !self.is("}") {
            let w = self.ident()?;
            match w.name.as_str() {
                "el0" | "el1" => {
                    let how = self.ident()?;
                    let (read, write) = match how.name.as_str() {
                        "rw" => (true, true),
                        "ro" => (true, false),
                        "wo" => (false, true),
                        _ => return self.fail(how.span, "expected `rw`, `ro` or `wo`"),
                    };
                    let when = if self.eat_word("when") { Some(self.expr()?) } else { None };
                    self.expect(";")?;
                    reg.access.push(Access { level: u8::from(w.name == "el1"), read, write, when });
                }
                "reset" | "mask" | "value" => {
                    let e = self.expr()?;
                    self.expect(";")?;
                    match w.name.as_str() {
                        "reset" => reg.reset = Some(e),
                        "mask" => reg.mask = Some(e),
                        _ => reg.value = Some(e),
                    }
                }
                "get" => reg.get = Some(self.block()?),
                "set" => reg.set = Some(self.setter()?),
                _ => {
                    return self.fail(w.span, "expected `el0`, `el1`, `reset`, `mask`, `value`, `get` or `set`");
                }
            }
        }
        self.expect("}")?;
        Ok(reg)
    }
}
