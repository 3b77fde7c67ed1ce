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
    file: u32,
    tokens: Vec<Token>,
    at: usize,
}

const ITEM_WORDS: &[&str] =
    &["isa", "include", "feature", "const", "names", "state", "fn", "view", "extern", "asm", "insn", "sysreg"];

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

fn level(e: Bin) -> u8 {
    match e {
        Bin::OrOr => 1,
        Bin::AndAnd => 2,
        Bin::Eq | Bin::Ne | Bin::Lt | Bin::Le | Bin::Gt | Bin::Ge => 3,
        Bin::Or => 4,
        Bin::Xor => 5,
        Bin::And => 6,
        Bin::Shl | Bin::Shr | Bin::Sar => 7,
        Bin::Add | Bin::Sub => 8,
        Bin::Mul | Bin::Div | Bin::Rem => 9,
    }
}

fn bin_op(t: &Tok) -> Option<Bin> {
    let Tok::Punct(p) = t else { return None };
    Some(match *p {
        "*" => Bin::Mul,
        "/" => Bin::Div,
        "%" => Bin::Rem,
        "+" => Bin::Add,
        "-" => Bin::Sub,
        "<<" => Bin::Shl,
        ">>" => Bin::Shr,
        ">>>" => Bin::Sar,
        "&" => Bin::And,
        "^" => Bin::Xor,
        "|" => Bin::Or,
        "==" => Bin::Eq,
        "!=" => Bin::Ne,
        "<" => Bin::Lt,
        "<=" => Bin::Le,
        ">" => Bin::Gt,
        ">=" => Bin::Ge,
        "&&" => Bin::AndAnd,
        "||" => Bin::OrOr,
        _ => return None,
    })
}

impl<'a> Parser<'a> {
    /// A parser for part of a file.
    pub fn new(session: &'a mut Session, file: u32, start: usize, end: usize) -> Self {
        let tokens = lex(session, file, start, end);
        Parser { session, file, tokens, at: 0 }
    }

    fn peek(&self) -> &Tok {
        &self.tokens[self.at].tok
    }
    fn peek_at(&self, n: usize) -> &Tok {
        &self.tokens[(self.at + n).min(self.tokens.len() - 1)].tok
    }
    fn span(&self) -> Span {
        self.tokens[self.at].span
    }
    fn prev_span(&self) -> Span {
        self.tokens[self.at.saturating_sub(1)].span
    }
    fn bump(&mut self) -> Token {
        let t = self.tokens[self.at].clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        t
    }
    fn is(&self, p: &str) -> bool {
        matches!(self.peek(), Tok::Punct(q) if *q == p)
    }
    fn is_word(&self, w: &str) -> bool {
        matches!(self.peek(), Tok::Ident(i) if i == w)
    }
    fn eat(&mut self, p: &str) -> bool {
        let yes = self.is(p);
        if yes {
            self.bump();
        }
        yes
    }
    fn eat_word(&mut self, w: &str) -> bool {
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
    fn expected<T>(&mut self, what: &str) -> Parse<T> {
        let found = self.describe();
        self.fail(self.span(), format!("expected {what}, found {found}"))
    }
    fn expect(&mut self, p: &str) -> Parse<Span> {
        if self.is(p) { Ok(self.bump().span) } else { self.expected(&format!("`{p}`")) }
    }
    fn expect_word(&mut self, w: &str) -> Parse<()> {
        if self.eat_word(w) { Ok(()) } else { self.expected(&format!("`{w}`")) }
    }
    /// Everything must have been read.
    pub(super) fn finish(&mut self) -> Parse<()> {
        if self.peek() == &Tok::Eof { Ok(()) } else { self.expected("the end of the expression") }
    }

    fn ident(&mut self) -> Parse<Ident> {
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
            "fn" => {
                self.bump();
                let name = self.ident()?;
                let params = self.params("(", ")")?;
                let result = if self.eat("->") { Some(self.ty()?) } else { None };
                let body = self.block()?;
                out.items.push(Item::Fn(Fn { name, params, result, body }));
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
                let body =
                    template::choice(self.session, self.file, eq.end as usize, end.start as usize).map_err(|_| Reported)?;
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
            } else if self.is_word("asm") {
                self.bump();
                let (_, span) = self.string()?;
                let parts =
                    template::template(self.session, self.file, span.start as usize + 1, span.end as usize - 1)
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
                return self.expected("`let`, `undefined when`, `asm` or `exec`");
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
                    return self.fail(
                        w.span,
                        "expected `el0`, `el1`, `reset`, `mask`, `value`, `get` or `set`",
                    );
                }
            }
        }
        self.expect("}")?;
        Ok(reg)
    }

    // Types

    pub(super) fn ty(&mut self) -> Parse<Type> {
        let start = self.span();
        let kind = if self.eat("(") {
            let mut elements = Vec::new();
            while !self.is(")") {
                elements.push(self.ty()?);
                if !self.eat(",") {
                    break;
                }
            }
            self.expect(")")?;
            TypeKind::Tuple(elements)
        } else {
            let name = self.ident()?;
            match name.name.as_str() {
                "int" => TypeKind::Int,
                "bool" => TypeKind::Bool,
                "flags" => TypeKind::Flags,
                "bits" => {
                    self.expect("(")?;
                    let w = self.expr()?;
                    self.expect(")")?;
                    TypeKind::Bits(Box::new(w))
                }
                _ => return self.fail(name.span, "expected a type: `int`, `bool`, `bits(W)`, `flags` or a tuple"),
            }
        };
        Ok(Type { kind, span: start.to(self.prev_span()) })
    }

    // Statements

    fn block(&mut self) -> Parse<Block> {
        let start = self.expect("{")?;
        let mut stmts = Vec::new();
        let mut tail = None;
        while !self.is("}") {
            if self.eat(";") {
                continue;
            }
            let from = self.span();
            if self.eat_word("let") {
                let (b, t, e) = self.binding()?;
                stmts.push(Stmt { kind: StmtKind::Let(b, t, e), span: from.to(self.prev_span()) });
            } else if self.eat_word("var") {
                let (b, t, e) = self.binding()?;
                stmts.push(Stmt { kind: StmtKind::Var(b, t, e), span: from.to(self.prev_span()) });
            } else if self.is_word("for") {
                self.bump();
                let i = self.ident()?;
                self.expect_word("in")?;
                let lo = self.expr()?;
                self.expect("..")?;
                let hi = self.expr()?;
                let body = self.block()?;
                stmts.push(Stmt { kind: StmtKind::For(i, lo, hi, body), span: from.to(self.prev_span()) });
            } else if self.is_word("if") || self.is_word("match") || self.is("{") {
                // Ends with its brace, as a statement; an operator after it would be a surprise.
                let e = self.primary()?;
                if self.eat(";") {
                    stmts.push(Stmt { span: e.span, kind: StmtKind::Expr(e) });
                } else if self.is("}") {
                    tail = Some(e);
                } else if bin_op(self.peek()).is_some() && !self.is("*") {
                    let e = self.binary_from(e, 0)?;
                    if self.is("}") {
                        tail = Some(e);
                    } else {
                        self.expect(";")?;
                        stmts.push(Stmt { span: e.span, kind: StmtKind::Expr(e) });
                    }
                } else {
                    stmts.push(Stmt { span: e.span, kind: StmtKind::Expr(e) });
                }
            } else {
                let e = self.expr()?;
                if self.eat("=") {
                    let v = self.expr()?;
                    if !self.is("}") {
                        self.expect(";")?;
                    }
                    stmts.push(Stmt { span: from.to(v.span), kind: StmtKind::Assign(e, v) });
                } else if let Some(op) = self.compound() {
                    self.bump();
                    let v = self.expr()?;
                    if !self.is("}") {
                        self.expect(";")?;
                    }
                    let span = from.to(v.span);
                    let sum = Expr { kind: ExprKind::Bin(op, Box::new(e.clone()), Box::new(v)), span };
                    stmts.push(Stmt { span, kind: StmtKind::Assign(e, sum) });
                } else if self.is("}") {
                    tail = Some(e);
                } else if self.eat(";") {
                    stmts.push(Stmt { span: e.span, kind: StmtKind::Expr(e) });
                } else {
                    return self.expected("`;`, `=` or `}`");
                }
            }
        }
        let end = self.expect("}")?;
        Ok(Block { stmts, tail, span: start.to(end) })
    }

    fn compound(&self) -> Option<Bin> {
        let Tok::Punct(p) = self.peek() else { return None };
        Some(match *p {
            "+=" => Bin::Add,
            "-=" => Bin::Sub,
            "|=" => Bin::Or,
            "&=" => Bin::And,
            "^=" => Bin::Xor,
            _ => return None,
        })
    }

    /// After `let` or `var`.
    fn binding(&mut self) -> Parse<(Binder, Option<Type>, Expr)> {
        let b = self.binder()?;
        let ty = if self.eat(":") { Some(self.ty()?) } else { None };
        self.expect("=")?;
        let e = self.expr()?;
        self.expect(";")?;
        Ok((b, ty, e))
    }

    fn binder(&mut self) -> Parse<Binder> {
        let start = self.span();
        if self.eat("(") {
            let mut parts = Vec::new();
            while !self.is(")") {
                parts.push(self.binder()?);
                if !self.eat(",") {
                    break;
                }
            }
            let end = self.expect(")")?;
            return Ok(Binder::Tuple(parts, start.to(end)));
        }
        let name = self.ident()?;
        Ok(if name.name == "_" { Binder::Ignore(name.span) } else { Binder::Name(name) })
    }

    // Expressions

    pub(super) fn expr(&mut self) -> Parse<Expr> {
        let first = self.unary()?;
        self.binary_from(first, 0)
    }

    fn binary_from(&mut self, mut left: Expr, min: u8) -> Parse<Expr> {
        while let Some(op) = bin_op(self.peek()) {
            let l = level(op);
            if l <= min {
                break;
            }
            if l == 3 && matches!(&left.kind, ExprKind::Bin(b, ..) if level(*b) == 3) && self.prev_span().end == left.span.end {
                let text = self.session.text(self.file);
                if text.as_bytes().get(self.prev_span().end as usize - 1) != Some(&b')') {
                    return self.fail(self.span(), "comparisons do not chain: use `&&`");
                }
            }
            self.bump();
            let first = self.unary()?;
            let right = self.binary_from(first, l)?;
            let span = left.span.to(right.span);
            left = Expr { kind: ExprKind::Bin(op, Box::new(left), Box::new(right)), span };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parse<Expr> {
        let start = self.span();
        let e = if self.eat("-") {
            let e = self.unary_operand()?;
            let span = start.to(e.span);
            Expr { kind: ExprKind::Un(Un::Neg, Box::new(e)), span }
        } else if self.eat("!") || self.eat("~") {
            let e = self.unary_operand()?;
            let span = start.to(e.span);
            Expr { kind: ExprKind::Un(Un::Not, Box::new(e)), span }
        } else {
            self.postfix()?
        };
        self.as_suffix(e)
    }

    /// Operand of a unary operator: binds tighter than `as`.
    fn unary_operand(&mut self) -> Parse<Expr> {
        let start = self.span();
        if self.eat("-") {
            let e = self.unary_operand()?;
            let span = start.to(e.span);
            Ok(Expr { kind: ExprKind::Un(Un::Neg, Box::new(e)), span })
        } else if self.eat("!") || self.eat("~") {
            let e = self.unary_operand()?;
            let span = start.to(e.span);
            Ok(Expr { kind: ExprKind::Un(Un::Not, Box::new(e)), span })
        } else {
            self.postfix()
        }
    }

    fn as_suffix(&mut self, mut e: Expr) -> Parse<Expr> {
        while self.eat_word("as") {
            let ty = self.ty()?;
            let span = e.span.to(ty.span);
            e = Expr { kind: ExprKind::As(Box::new(e), Box::new(ty)), span };
        }
        Ok(e)
    }

    fn postfix(&mut self) -> Parse<Expr> {
        let mut e = self.primary()?;
        while self.is("[") {
            self.bump();
            let first = self.expr()?;
            if self.eat(":") {
                let lo = self.expr()?;
                let end = self.expect("]")?;
                let span = e.span.to(end);
                e = Expr { kind: ExprKind::Slice(Box::new(e), Box::new(first), Box::new(lo)), span };
            } else {
                let mut indices = vec![first];
                while self.eat(",") {
                    if self.is("]") {
                        break;
                    }
                    indices.push(self.expr()?);
                }
                let end = self.expect("]")?;
                let span = e.span.to(end);
                e = Expr { kind: ExprKind::Index(Box::new(e), indices), span };
            }
        }
        Ok(e)
    }

    pub(super) fn list(&mut self, close: &str) -> Parse<Vec<Expr>> {
        let mut out = Vec::new();
        while !self.is(close) {
            out.push(self.expr()?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(close)?;
        Ok(out)
    }

    fn primary(&mut self) -> Parse<Expr> {
        let start = self.span();
        let kind = match self.peek().clone() {
            Tok::Int(v) => {
                self.bump();
                ExprKind::Int(v)
            }
            Tok::Bits(b) => {
                self.bump();
                ExprKind::BitStr(b)
            }
            Tok::Text => return self.fail(start, "text is only meant in assembly templates; bit strings hold 0, 1 and x"),
            Tok::Punct("(") => {
                self.bump();
                let mut elements = Vec::new();
                let mut comma = false;
                while !self.is(")") {
                    elements.push(self.expr()?);
                    comma = self.eat(",");
                    if !comma {
                        break;
                    }
                }
                let end = self.expect(")")?;
                if elements.len() == 1 && !comma {
                    let mut e = elements.remove(0);
                    e.span = start.to(end);
                    return Ok(e);
                }
                ExprKind::Tuple(elements)
            }
            Tok::Punct("{") => ExprKind::Block(Box::new(self.block()?)),
            Tok::Ident(word) => match word.as_str() {
                "true" | "false" => {
                    self.bump();
                    ExprKind::Bool(word == "true")
                }
                "if" => return self.if_expr(),
                "match" => {
                    self.bump();
                    let scrutinee = self.expr()?;
                    self.expect("{")?;
                    let mut arms = Vec::new();
                    while !self.is("}") {
                        arms.push(self.arm()?);
                    }
                    self.expect("}")?;
                    ExprKind::Match(Box::new(scrutinee), arms)
                }
                _ => {
                    let name = self.ident()?;
                    if self.eat("(") {
                        ExprKind::Call(name, self.list(")")?)
                    } else {
                        ExprKind::Name(name.name)
                    }
                }
            },
            _ => return self.expected("an expression"),
        };
        Ok(Expr { kind, span: start.to(self.prev_span()) })
    }

    fn if_expr(&mut self) -> Parse<Expr> {
        let start = self.bump().span;
        let cond = self.expr()?;
        let then = self.block()?;
        let mut otherwise = None;
        if self.eat_word("else") {
            otherwise = Some(Box::new(if self.is_word("if") {
                self.if_expr()?
            } else {
                let b = self.block()?;
                Expr { span: b.span, kind: ExprKind::Block(Box::new(b)) }
            }));
        }
        let span = start.to(self.prev_span());
        Ok(Expr { kind: ExprKind::If(Box::new(cond), Box::new(then), otherwise), span })
    }

    fn arm(&mut self) -> Parse<Arm> {
        let start = self.span();
        self.eat("|");
        let mut pats = vec![self.pat()?];
        while self.eat("|") {
            pats.push(self.pat()?);
        }
        self.expect("=>")?;
        let body = if self.is("{") {
            let b = self.block()?;
            Expr { span: b.span, kind: ExprKind::Block(Box::new(b)) }
        } else {
            let e = self.expr()?;
            if self.is("=") {
                // `pattern => place = value,`: a block of one assignment.
                self.bump();
                let v = self.expr()?;
                let span = e.span.to(v.span);
                let stmt = Stmt { kind: StmtKind::Assign(e, v), span };
                let block = Block { stmts: vec![stmt], tail: None, span };
                Expr { kind: ExprKind::Block(Box::new(block)), span }
            } else {
                e
            }
        };
        let braced = matches!(body.kind, ExprKind::Block(_) | ExprKind::If(..) | ExprKind::Match(..));
        if !self.eat(",") && !self.is("}") && !braced {
            return self.expected("`,` or `}`");
        }
        Ok(Arm { pats, body, span: start })
    }

    fn pat(&mut self) -> Parse<Pat> {
        let span = self.span();
        if self.eat_word("_") {
            return Ok(Pat::Any(span));
        }
        if let Tok::Bits(b) = self.peek().clone() {
            self.bump();
            return Ok(Pat::Bits(b, span));
        }
        if self.eat("(") {
            let mut parts = Vec::new();
            while !self.is(")") {
                parts.push(self.pat()?);
                if !self.eat(",") {
                    break;
                }
            }
            let end = self.expect(")")?;
            return Ok(Pat::Tuple(parts, span.to(end)));
        }
        let lo = self.pat_value()?;
        if self.eat("..=") {
            return Ok(Pat::Range(lo, self.pat_value()?, true));
        }
        if self.eat("..") {
            return Ok(Pat::Range(lo, self.pat_value()?, false));
        }
        Ok(Pat::Value(lo))
    }

    /// A constant in a pattern; no `|`, which separates alternatives.
    fn pat_value(&mut self) -> Parse<Expr> {
        let first = self.unary()?;
        self.binary_from(first, level(Bin::Or))
    }
}
