//! Types, statements and expressions.

use super::ast::*;
use super::lexer::Tok;
use super::parser::{Parse, Parser};

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

impl Parser<'_> {
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

    pub(super) fn block(&mut self) -> Parse<Block> {
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
    pub(super) fn binding(&mut self) -> Parse<(Binder, Option<Type>, Expr)> {
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
            if l == 3
                && matches!(&left.kind, ExprKind::Bin(b, ..) if level(*b) == 3)
                && self.prev_span().end == left.span.end
            {
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
            Tok::Text => {
                return self.fail(start, "text is only meant in assembly templates; bit strings hold 0, 1 and x");
            }
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
                    if self.eat("(") { ExprKind::Call(name, self.list(")")?) } else { ExprKind::Name(name.name) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Session;

    /// The expression fully parenthesised.
    fn show(e: &Expr) -> String {
        match &e.kind {
            ExprKind::Int(i) => i.to_string(),
            ExprKind::BitStr(b) => format!("'{b}'"),
            ExprKind::Bool(b) => b.to_string(),
            ExprKind::Name(n) => n.clone(),
            ExprKind::Call(f, a) => format!("{}({})", f.name, list(a)),
            ExprKind::Index(b, i) => format!("{}[{}]", show(b), list(i)),
            ExprKind::Slice(b, h, l) => format!("{}[{}:{}]", show(b), show(h), show(l)),
            ExprKind::Un(op, a) => format!("({op:?} {})", show(a)),
            ExprKind::Bin(op, a, b) => format!("({} {op:?} {})", show(a), show(b)),
            ExprKind::As(a, _) => format!("({} as)", show(a)),
            ExprKind::Tuple(a) => format!("<{}>", list(a)),
            ExprKind::If(..) => "if".into(),
            ExprKind::Match(..) => "match".into(),
            ExprKind::Block(_) => "block".into(),
        }
    }

    fn list(es: &[Expr]) -> String {
        es.iter().map(show).collect::<Vec<_>>().join(", ")
    }

    fn parse(text: &str) -> String {
        let mut s = Session::new();
        let file = s.add_file("t", text);
        let mut p = Parser::new(&mut s, file, 0, text.len());
        let e = p.expr().and_then(|e| p.finish().map(|()| e));
        match e {
            Ok(e) => show(&e),
            Err(_) => s.errors()[0].message.clone(),
        }
    }

    #[test]
    fn precedence() {
        assert_eq!(parse("a + b * c << 2 & d | e ^ f"), "((((a Add (b Mul c)) Shl 2) And d) Or (e Xor f))");
        assert_eq!(parse("a - b - c"), "((a Sub b) Sub c)");
        assert_eq!(parse("a == b && !c || d < e"), "(((a Eq b) AndAnd (Not c)) OrOr (d Lt e))");
        assert_eq!(parse("-x[3:0] as bits(4) + 1"), "(((Neg x[3:0]) as) Add 1)");
        assert_eq!(parse("(a & b) == c"), "((a And b) Eq c)");
        assert_eq!(parse("a & b == c"), "((a And b) Eq c)");
    }

    #[test]
    fn postfix_and_tuples() {
        assert_eq!(parse("X[N, n][31:0][2]"), "X[N, n][31:0][2]");
        assert_eq!(parse("f(a, (b, c,), ())"), "f(a, <b, c>, <>)");
        assert_eq!(parse("(a)"), "a");
    }

    #[test]
    fn comparisons_do_not_chain() {
        assert_eq!(parse("a < b < c"), "comparisons do not chain: use `&&`");
        assert_eq!(parse("(a < b) == c"), "((a Lt b) Eq c)");
    }
}
