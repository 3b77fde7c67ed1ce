//! Instructions: pattern, decode hook, assembly, `exec`.

use super::ast::{self, AsmLine, Expr, Hook, PatternPieceKind};
use super::lower::{Lowerer, Res, Val, run};
use super::parser::Reported;
use super::program::Program;
use super::uses::{Names, block_names, bound_names, expr_names, part_names, type_names};
use crate::diag::{Error, Session, Span};
use crate::model::{AsmForm, AsmPart, Decode, Field, Insn, Pattern, Piece, PieceKind};
use crate::ssa::{Body, FieldId, Op, Time, Ty, ValueId};

fn pattern(session: &mut Session, i: &ast::Insn, word_bits: u32) -> Option<Pattern> {
    let width = |k: &PatternPieceKind| match k {
        PatternPieceKind::Bits(b) => b.len() as u32,
        PatternPieceKind::Field(_, w) => *w,
    };
    let total: u32 = i.pattern.iter().map(|p| width(&p.kind)).sum();
    if total != word_bits {
        session
            .error(Error::new(i.pattern_span, format!("the pattern has {total} bits; an instruction has {word_bits}")));
        return None;
    }
    let mut at = word_bits;
    let mut out = Pattern::default();
    for p in &i.pattern {
        match &p.kind {
            PatternPieceKind::Field(name, w) => {
                at -= w;
                let known = out.fields.iter().position(|f| f.name == *name);
                let id = known.unwrap_or_else(|| {
                    out.fields.push(Field { name: name.clone(), width: 0 });
                    out.fields.len() - 1
                });
                out.fields[id].width += w;
                out.pieces.push(Piece { lo: at, width: *w, kind: PieceKind::Field(FieldId(id as u32)) });
            }
            PatternPieceKind::Bits(bits) => {
                let mut rest = bits.as_str();
                while !rest.is_empty() {
                    let any = rest.starts_with('x');
                    let n = rest.bytes().position(|c| (c == b'x') != any).unwrap_or(rest.len());
                    at -= n as u32;
                    let kind = if any {
                        PieceKind::Any
                    } else {
                        PieceKind::Fixed(rest[..n].bytes().fold(0, |v, c| v << 1 | u32::from(c == b'1')))
                    };
                    out.pieces.push(Piece { lo: at, width: n as u32, kind });
                    rest = &rest[n..];
                }
            }
        }
    }
    Some(out)
}

/// The `let`s of the hook that the names need, in order.
fn needed(hook: &[Hook], mut names: Names) -> Vec<&Hook> {
    let mut out = Vec::new();
    for h in hook.iter().rev() {
        if let Hook::Let(b, ty, e) = h {
            let mut bound = Vec::new();
            bound_names(b, &mut bound);
            if bound.iter().any(|n| names.contains(&n.name)) {
                expr_names(e, &mut names);
                if let Some(t) = ty {
                    type_names(t, &mut names);
                }
                out.push(h);
            }
        }
    }
    out.reverse();
    out
}

fn lower_lets(l: &mut Lowerer<'_>, hooks: &[&Hook]) -> Res<()> {
    let mut result = Ok(());
    for h in hooks {
        if let Hook::Let(b, ty, e) = h
            && let Err(r) = lower_let(l, b, ty.as_ref(), e)
        {
            l.poison_binder(b);
            result = Err(r);
        }
    }
    result
}

fn lower_let(l: &mut Lowerer<'_>, b: &ast::Binder, ty: Option<&ast::Type>, e: &Expr) -> Res<()> {
    let v = l.typed(ty, e)?;
    let v = match v {
        Val::Big(_) => return l.fail(e.span, "a number this large needs a type: `let name: bits(W) = ...`"),
        v => v,
    };
    check_fixed(l, &v, e.span)?;
    l.bind_let(b, v)
}

fn check_fixed(l: &mut Lowerer<'_>, v: &Val, span: Span) -> Res<()> {
    match v {
        Val::Leaf(v) if l.time(*v) == Time::Dynamic => {
            let e =
                Error::new(span, "this must be known during translation, but is known only when the instruction runs");
            Err(l.error(e.note("only `exec` can use guest state and memory")))
        }
        Val::Tuple(vs) => vs.iter().try_for_each(|v| check_fixed(l, v, span)),
        _ => Ok(()),
    }
}

fn fixed_condition(l: &mut Lowerer<'_>, e: &Expr) -> Res<ValueId> {
    let v = l.bool_expr(e)?;
    check_fixed(l, &Val::Leaf(v), e.span)?;
    Ok(v)
}

pub fn insn(prog: &Program, session: &mut Session, i: &ast::Insn, word_bits: u32) -> Option<Insn> {
    let pattern = pattern(session, i, word_bits)?;
    let fields = &pattern.fields;
    let decode = decode(prog, session, i, fields);
    let mut asm = Vec::new();
    for line in &i.asm {
        asm.push(asm_form(prog, session, i, line, fields));
    }
    let lands = match &i.lands {
        Some(e) => Some(landing(prog, session, i, e, fields)?),
        None => None,
    };
    let exec = match &i.exec {
        None => {
            session.error(Error::new(i.name.span, "an instruction needs `exec { }`"));
            None
        }
        Some(b) => {
            let mut names = Names::new();
            block_names(b, &mut names);
            let hooks = needed(&i.hook, names);
            run(prog, session, fields, |l| {
                let lets = lower_lets(l, &hooks);
                let v = l.block_effect(b);
                lets?;
                v
            })
        }
    };
    Some(Insn {
        name: i.name.name.clone(),
        doc: i.doc.clone(),
        span: i.pattern_span,
        requires: i.requires.iter().map(|f| f.name.clone()).collect(),
        overrides: i.overrides.iter().map(|f| f.name.clone()).collect(),
        decode: decode?,
        lands,
        asm: asm.into_iter().collect::<Option<_>>()?,
        exec: exec?.0,
        pattern,
    })
}

/// `lands when`: a condition on fields and context.
fn landing(prog: &Program, session: &mut Session, i: &ast::Insn, e: &Expr, fields: &[Field]) -> Option<Body> {
    let mut names = Names::new();
    expr_names(e, &mut names);
    let hooks = needed(&i.hook, names);
    let (body, ()) = run(prog, session, fields, |l| {
        lower_lets(l, &hooks)?;
        let v = fixed_condition(l, e)?;
        if l.body.values.iter().any(|v| v.op == Op::Pc) {
            return l
                .fail(e.span, "who branches to an instruction is asked wherever it stands: this can't depend on `PC`");
        }
        l.region().results = vec![v];
        Ok(())
    })?;
    Some(body)
}

/// `where`, then the hook in order: each `undefined when` guards what follows it.
fn decode(prog: &Program, session: &mut Session, i: &ast::Insn, fields: &[Field]) -> Option<Decode> {
    let mut names = Names::new();
    for h in &i.hook {
        if let Hook::Undefined(e) = h {
            expr_names(e, &mut names);
        }
    }
    let lets = needed(&i.hook, names);
    let wanted = |h: &Hook| lets.iter().any(|l| std::ptr::eq(*l, h));
    let last = i.hook.iter().rposition(|h| matches!(h, Hook::Undefined(_)));
    let steps: Vec<&Hook> =
        i.hook[..last.map_or(0, |n| n + 1)].iter().filter(|h| matches!(h, Hook::Undefined(_)) || wanted(h)).collect();
    if i.where_.is_none() && steps.is_empty() {
        // The hook's other `let`s are checked where they are used.
        return Some(Decode::default());
    }
    let (body, valid) = run(prog, session, fields, |l| {
        let v = match &i.where_ {
            Some(e) => {
                let c = fixed_condition(l, e)?;
                if steps.is_empty() { c } else { guarded(l, c, true, &steps, e.span)? }
            }
            None => decode_steps(l, &steps, i.name.span)?,
        };
        Ok(v)
    })?;
    Some(Decode { body, valid: Some(valid) })
}

/// `c == go && rest`, the rest evaluated only then.
fn guarded(l: &mut Lowerer<'_>, c: ValueId, go: bool, rest: &[&Hook], span: Span) -> Res<ValueId> {
    let v = l.if_with(
        c,
        false,
        true,
        span,
        |l| if go { decode_steps(l, rest, span).map(Val::Leaf) } else { Ok(Val::Leaf(l.boolean(false, span))) },
        |l| if go { Ok(Val::Leaf(l.boolean(false, span))) } else { decode_steps(l, rest, span).map(Val::Leaf) },
    )?;
    l.leaf(v, span)
}

fn decode_steps(l: &mut Lowerer<'_>, steps: &[&Hook], span: Span) -> Res<ValueId> {
    match steps {
        [] => Ok(l.boolean(true, span)),
        [Hook::Let(b, ty, e), rest @ ..] => {
            if lower_let(l, b, ty.as_ref(), e).is_err() {
                l.poison_binder(b);
                return Err(Reported);
            }
            decode_steps(l, rest, span)
        }
        [Hook::Undefined(e), rest @ ..] => {
            let c = fixed_condition(l, e)?;
            if rest.is_empty() {
                return Ok(l.not(c, e.span));
            }
            guarded(l, c, false, rest, e.span)
        }
    }
}

// Assembly

fn asm_form(prog: &Program, session: &mut Session, i: &ast::Insn, line: &AsmLine, fields: &[Field]) -> Option<AsmForm> {
    let mut names = Names::new();
    part_names(&line.parts, &mut names);
    line.when.iter().for_each(|e| expr_names(e, &mut names));
    let hooks = needed(&i.hook, names);
    let (body, (when, parts)) = run(prog, session, fields, |l| {
        lower_lets(l, &hooks)?;
        let when = match &line.when {
            Some(e) => Some(fixed_condition(l, e)?),
            None => None,
        };
        let parts = asm_parts(l, &line.parts)?;
        Ok((when, parts))
    })?;
    Some(AsmForm { body, when, parts, span: line.span })
}

fn asm_parts(l: &mut Lowerer<'_>, parts: &[ast::Part]) -> Res<Vec<AsmPart>> {
    let mut out = Vec::new();
    for p in parts {
        match p {
            ast::Part::Text(t) => out.push(AsmPart::Text(t.clone())),
            ast::Part::Name(table, e) => {
                let Some(id) = l.prog.name_ids.get(&table.name).copied() else {
                    return l.fail(table.span, format!("there is no table `{}`", table.name));
                };
                let v = l.int_expr(e)?;
                match l.const_int(v) {
                    Some(c) => match usize::try_from(c).ok().and_then(|c| l.prog.names[id].entries.get(c)) {
                        Some(text) => out.push(AsmPart::Text(text.clone())),
                        None => return l.fail(e.span, format!("`{}` has no entry {c}", table.name)),
                    },
                    None => out.push(AsmPart::Name(id, v)),
                }
            }
            ast::Part::Call(name, args) => {
                let prog = l.prog;
                let Some(f) = prog.asm_fns.get(&name.name) else {
                    return l.fail(name.span, format!("there is no `asm fn {}`", name.name));
                };
                let scope = l.bind_params(&name.name, &f.params, args, name.span)?;
                out.extend(l.inlined(&name.name, name.span, scope, |l| asm_parts(l, &f.body))?);
            }
            ast::Part::Dec(e) => out.push(AsmPart::Dec(number(l, e)?)),
            ast::Part::Hex(e) => out.push(AsmPart::Hex(number(l, e)?)),
            ast::Part::Address(e) => {
                let v = number(l, e)?;
                out.push(AsmPart::Address(v));
            }
            ast::Part::Register(e) => {
                let v = number(l, e)?;
                out.push(AsmPart::Register(v));
            }
            ast::Part::Choice(c, a, b) => {
                let v = fixed_condition(l, c)?;
                match l.const_bool(v) {
                    Some(known) => out.extend(asm_parts(l, if known { a } else { b })?),
                    None => {
                        let a = asm_parts(l, a)?;
                        let b = asm_parts(l, b)?;
                        out.push(AsmPart::Choice(v, a, b));
                    }
                }
            }
        }
    }
    Ok(out)
}

fn number(l: &mut Lowerer<'_>, e: &Expr) -> Res<ValueId> {
    let v = l.expr(e, None)?;
    let v = match v {
        Val::Big(b) => l.bits(b, 64, e.span),
        v => l.leaf(v, e.span)?,
    };
    check_fixed(l, &Val::Leaf(v), e.span)?;
    match l.ty(v) {
        Ty::Int | Ty::Bits(_) => Ok(v),
        Ty::Bool => Ok(l.bool_to_bit(v, e.span)),
        ty => {
            let found = l.describe(ty);
            l.fail(e.span, format!("expected a number, found {found}"))
        }
    }
}
