//! What the engine asks about an instruction that is reached by a branch: whether it may be, and what becomes of control in it.

use super::ALLOW;
use super::body::BodyEmitter;
use super::text::{Text, camel, snake};
use crate::model::{Insn, Model};
use crate::passes::times;
use crate::ssa::{Body, Op};

pub fn emit(model: &Model, t: &mut Text) {
    t.line("/// Whether a branch whose target may ask (`Guest::arrive`) may lead to an instruction, in a context: what its");
    t.line("/// `lands when` says. Without one it may not.");
    t.line("#[must_use]");
    t.line(ALLOW);
    t.open("pub fn lands(word: u32, context: u64) -> bool {");
    t.open("match decode(word) {");
    for insn in model.insns.iter().filter(|i| i.lands.is_some()) {
        t.line(format!("Some(Insn::{}) => landing::{}(word, context),", camel(&insn.name), snake(&insn.name)));
    }
    t.line("_ => false,");
    t.close("}");
    t.close("}");
    t.line("");
    t.line(ALLOW);
    t.open("mod landing {");
    t.line("use super::{ctx, fixed};");
    for insn in &model.insns {
        if let Some(body) = &insn.lands {
            t.line("");
            landing(model, insn, body, t);
        }
    }
    t.close("}");
    t.line("");
    courses(model, t);
}

fn landing(model: &Model, insn: &Insn, body: &Body, t: &mut Text) {
    t.open(format!("pub fn {}(word: u32, context: u64) -> bool {{", snake(&insn.name)));
    let mut body = body.clone();
    times::infer(model, &mut body);
    let mut e = BodyEmitter::new(model, &body, Some(&insn.pattern), 2);
    if let Some(&v) = body.root.results.first() {
        e.note_use(v);
        e.run();
        t.out.push_str(&e.text.out);
        t.line(e.expr(v));
    }
    t.close("}");
}

/// What becomes of control in an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Raises,
    Leaves,
    GoesOn,
}

fn courses(model: &Model, t: &mut Text) {
    t.line("/// What becomes of control in an instruction, as its `exec` says.");
    t.line("#[derive(Clone, Copy, Debug, PartialEq, Eq)]");
    t.open("pub enum Course {");
    t.line("/// It always raises an exception, or goes where a function of the guest says; so does what is no instruction.");
    t.line("Raises,");
    t.line("/// It may branch, or end the block, and doesn't access memory.");
    t.line("Leaves,");
    t.line("/// Unless it faults the next instruction follows.");
    t.line("GoesOn,");
    t.close("}");
    t.line("");
    t.line("/// What becomes of control in the instruction that a word encodes.");
    t.line("#[must_use]");
    t.line(ALLOW);
    t.open("pub fn course(word: u32) -> Course {");
    t.open("match decode(word) {");
    t.line("None => Course::Raises,");
    for (course, name) in [(Course::Raises, "Raises"), (Course::Leaves, "Leaves")] {
        let insns: Vec<String> = model
            .insns
            .iter()
            .filter(|i| course_of(model, &i.exec) == course)
            .map(|i| format!("Insn::{}", camel(&i.name)))
            .collect();
        if !insns.is_empty() {
            t.line(format!("Some({}) => Course::{name},", insns.join(" | ")));
        }
    }
    t.line("Some(_) => Course::GoesOn,");
    t.close("}");
    t.close("}");
    t.line("");
}

fn course_of(model: &Model, body: &Body) -> Course {
    let (mut branches, mut ends, mut memory) = (false, false, false);
    for v in body.root.values() {
        match body[v].op {
            Op::Branch => branches = true,
            Op::EndBlock | Op::SysregRead | Op::SysregWrite => ends = true,
            Op::Call(h) => {
                let h = &model.helpers[h.index()];
                ends |= h.ends_block || (h.raises && !h.never);
            }
            Op::MemRead | Op::MemWrite | Op::MemAtomic | Op::MemCas => memory = true,
            _ => {}
        }
    }
    if body.root.diverges && !branches && !ends && !memory {
        Course::Raises
    } else if (branches || ends) && !memory {
        Course::Leaves
    } else {
        Course::GoesOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssa::{CmpOp, HelperId, Ty};
    use crate::testing::{Builder, bits, model};

    fn course(f: impl FnOnce(&mut Builder)) -> Course {
        let mut b = Builder::new();
        f(&mut b);
        course_of(&model(), &b.finish())
    }
    fn raise(b: &mut Builder) {
        b.op(Op::Call(HelperId(0)), &[], Ty::Unit);
        b.top().diverges = true;
    }
    fn branch(b: &mut Builder) {
        let (target, kind) = (b.get(0, 64), b.int(0));
        b.op(Op::Branch, &[target, kind], Ty::Unit);
        b.top().diverges = true;
    }

    #[test]
    fn courses() {
        assert_eq!(course(raise), Course::Raises);
        assert_eq!(course(branch), Course::Leaves);
        let nothing = |b: &mut Builder| {
            b.get(0, 64);
        };
        assert_eq!(course(nothing), Course::GoesOn);
        let load = |b: &mut Builder| {
            let (n, addr, acc) = (b.int(64), b.get(0, 64), b.int(0));
            b.op(Op::MemRead, &[n, addr, acc], bits(64));
        };
        assert_eq!(course(load), Course::GoesOn);
        let one_arm = |f: fn(&mut Builder)| {
            course(move |b| {
                let x = b.get(0, 64);
                let c = b.op(Op::Cmp(CmpOp::Eq), &[x, x], Ty::Bool);
                b.if_(
                    c,
                    &[],
                    |b| {
                        f(b);
                        Vec::new()
                    },
                    |_| Vec::new(),
                );
            })
        };
        assert_eq!(one_arm(raise), Course::GoesOn);
        assert_eq!(one_arm(branch), Course::Leaves);
    }
}
