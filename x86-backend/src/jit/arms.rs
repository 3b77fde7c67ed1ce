//! Structured control flow in the builder: conditionals whose arms are recorded one after the other.
//!
//! An arm that only branches to a constant address becomes a conditional exit, whatever the other does. Two arms of a
//! few pure operations become selects. Everything else keeps its markers; what is known of guest state afterwards is what
//! both arms leave untouched, or what the only arm that goes on leaves.
//!
//! Known state is kept on a stack (`Build::saved`), so that recording allocates nothing in the long run.

use super::build::{Build, container};
use super::ir::{Code, NO_RESULT, Op, Val};
use crate::emit::Width;

/// A conditional being recorded.
pub(super) struct Arms {
    condition: Val,
    if_at: usize,
    else_at: usize,
    /// Where in `saved` what was known before begins, and what the first arm knew at its end.
    before: usize,
    first: usize,
}

const NONE: u32 = NO_RESULT as u32;

impl Build {
    /// The current path has left the block.
    pub fn path_ends(&mut self) {
        self.ended |= self.depth == self.base;
    }

    fn save_known(&mut self) -> usize {
        let at = self.saved.len();
        self.saved.extend_from_slice(&self.known);
        at
    }

    fn restore_known(&mut self, from: usize, to: usize) {
        self.known.clear();
        self.known.extend_from_slice(&self.saved[from..to]);
    }

    fn truncate(&mut self, len: usize) {
        self.ir.ops.truncate(len);
        self.ir.sig.truncate(len);
    }

    /// The first arm begins.
    pub fn open_arms(&mut self, c: Val) -> Arms {
        let condition = self.truth(c);
        let if_at = self.push(Op::new(Code::If, NONE).a(condition)).index();
        let before = self.save_known();
        self.depth += 1;
        Arms { condition, if_at, else_at: 0, before, first: 0 }
    }

    /// The first arm has ended and the second begins. True if the first has become a conditional exit: then the second
    /// is simply what follows.
    pub fn first_arm_ends(&mut self, arms: &mut Arms, stopped: bool) -> bool {
        if let (true, Some(pc)) = (stopped, self.arm_is_goto(arms.if_at + 1)) {
            self.truncate(arms.if_at);
            self.push(Op::new(Code::CondExit, NONE).a(arms.condition).imm(pc));
            self.restore_known(arms.before, self.saved.len());
            self.saved.truncate(arms.before);
            self.depth -= 1;
            return true;
        }
        arms.else_at = self.push(Op::new(Code::Else, NONE)).index();
        if stopped {
            self.cse_gap(arms.if_at + 1);
        } else {
            self.cse_barrier();
        }
        arms.first = self.save_known();
        self.restore_known(arms.before, arms.first);
        false
    }

    /// The second arm has ended. True if the result is the first arm's, or both arms' joined.
    pub fn second_arm_ends(&mut self, arms: &mut Arms, first_stopped: bool, second_stopped: bool) -> bool {
        self.depth -= 1;
        let Arms { condition, if_at, else_at, before, first } = *arms;
        let end_of_first = self.saved.len();
        match (first_stopped, second_stopped) {
            (false, true) => {
                if let Some(pc) = self.arm_is_goto(else_at + 1) {
                    self.truncate(else_at + 1);
                    self.ir.ops[if_at] = Op::new(Code::CondExit, NONE).a(condition).imm(pc).aux(1);
                    self.ir.ops[else_at] = Op::new(Code::Nop, NONE);
                } else {
                    self.close(arms, 2);
                    self.cse_gap(else_at + 1);
                }
                self.restore_known(first, end_of_first);
            }
            (true, stopped) => {
                self.close(arms, 1 | u16::from(stopped) << 1);
                if stopped {
                    self.path_ends();
                }
            }
            (false, false) => {
                self.restore_known(before, first);
                self.forget_written(if_at);
            }
        }
        self.saved.truncate(before);
        !first_stopped
    }

    fn close(&mut self, arms: &Arms, stops: u16) -> usize {
        let end = self.push(Op::new(Code::EndIf, NONE)).index();
        self.ir.ops[end].b = 0;
        self.ir.ops[arms.if_at].aux = stops;
        self.ir.ops[arms.if_at].b = arms.else_at as u32;
        self.ir.ops[arms.if_at].c = end as u32;
        self.ir.ops[arms.else_at].imm = arms.if_at as u64;
        self.ir.ops[end].imm = arms.if_at as u64;
        end
    }

    /// Both arms go on: `a` becomes the joined results.
    pub fn join(&mut self, arms: &Arms, widths: &[Width], a: &mut [Val], b: &[Val]) {
        if self.arms_are_cheap(arms.if_at + 1) {
            self.ir.ops[arms.if_at] = Op::new(Code::Nop, NONE);
            self.ir.ops[arms.else_at] = Op::new(Code::Nop, NONE);
            for i in 0..widths.len() {
                a[i] = self.select(widths[i], arms.condition, a[i], b[i]);
            }
            return;
        }
        let end = self.close(arms, 0);
        for i in 0..widths.len() {
            if a[i] != b[i] {
                a[i] = self.push(Op::new(Code::Phi, container(widths[i])).ab(a[i], b[i]));
                self.ir.ops[end].b += 1;
            }
        }
        self.cse_barrier();
    }

    fn arm_is_goto(&self, start: usize) -> Option<u64> {
        let (last, rest) = self.ir.ops[start..].split_last()?;
        let simple = rest.iter().all(|op| matches!(op.code, Code::Const | Code::Const128 | Code::Nop));
        if simple && last.code == Code::Goto { Some(last.imm) } else { None }
    }

    /// Whether both arms may simply be executed one after the other.
    fn arms_are_cheap(&self, start: usize) -> bool {
        let ops = &self.ir.ops[start..];
        let cheap = |op: &Op| {
            op.removable()
                && !matches!(op.code, Code::Eval | Code::UDiv | Code::SDiv | Code::URem | Code::SRem | Code::Phi)
        };
        ops.len() <= 12 && ops.iter().all(|op| op.code == Code::Else || cheap(op))
    }
}
