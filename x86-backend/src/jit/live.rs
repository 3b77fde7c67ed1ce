//! The backward pass: removes dead stores to guest state and dead operations, counts uses, and notes which values are
//! wanted in vector registers.

use super::ir::{Code, NO_RESULT, Op};
use super::regs::Gen;
use crate::emit::FpFmt;
use crate::eval::entry::EvalOp;

/// The packed kind of conversions from integers, whose operand is one.
const INT_TO_FP: u64 = EvalOp::IntToFp { n: 64, signed: true, fbits: 0, fmt: FpFmt::F64 }.pack() & 255;

impl Gen {
    /// Fills `uses` and `wants_xmm` for the block in `ir`.
    pub fn live_pass(&mut self) {
        let n = self.ir.len();
        self.last.clear();
        self.uses.clear();
        // One more, for operands that are none.
        self.uses.resize(n + 1, 0);
        self.wants_xmm.clear();
        self.wants_xmm.resize(n, false);
        // Slots that are certainly overwritten before anybody looks, by (offset, size).
        let mut covered = core::mem::take(&mut self.covered);
        covered.clear();
        for i in (0..n).rev() {
            // What most operations are needs none of what follows.
            let op = self.ir.ops[i];
            let operands = op.code.plain_operands();
            if operands != 0 && !self.wants_xmm[i] {
                if self.uses[i] == 0 {
                    self.ir.ops[i] = Op::new(Code::Nop, u32::from(NO_RESULT));
                    continue;
                }
                // Without branches: nobody could guess them.
                let none = n as u32;
                self.uses[op.a as usize] += 1;
                self.uses[if operands > 1 { op.b } else { none } as usize] += 1;
                self.uses[if operands > 2 { op.c } else { none } as usize] += 1;
                continue;
            }
            match op.code {
                Code::Insn => continue,
                Code::Const | Code::Const128 if self.uses[i] > 0 => continue,
                Code::Put => {
                    let (lo, hi) = (op.imm as u32, op.imm as u32 + u32::from(op.aux));
                    if covered.iter().any(|(l, h)| *l <= lo && hi <= *h) {
                        self.ir.ops[i] = Op::new(Code::Nop, u32::from(NO_RESULT));
                        continue;
                    }
                    covered.push((lo, hi));
                    if op.aux == 16 {
                        let scalar = self.ir.ops[op.a as usize].w;
                        self.wants_xmm[op.a as usize] |= scalar == 32 || scalar == 64;
                    }
                    self.uses[op.a as usize] += 1;
                    continue;
                }
                _ => {}
            }
            let pure_call = op.code == Code::Call && self.shared.helpers[op.aux as usize].pure_;
            if self.uses[i] == 0 && (op.removable() || pure_call) {
                self.ir.ops[i] = Op::new(Code::Nop, u32::from(NO_RESULT));
                continue;
            }
            match op.code {
                Code::Get => {
                    let (lo, hi) = (op.imm as u32, op.imm as u32 + u32::from(op.aux));
                    covered.retain(|(l, h)| *h <= lo || hi <= *l);
                }
                Code::Load
                | Code::Store
                | Code::LoadPair
                | Code::StorePair
                | Code::Atomic
                | Code::Cas
                | Code::Goto
                | Code::GotoInd
                | Code::Leave
                | Code::CondExit
                | Code::LoopBack
                | Code::If
                | Code::Else
                | Code::EndIf => covered.clear(),
                Code::Call if !pure_call => covered.clear(),
                _ => {}
            }
            let vector = match op.code {
                Code::Eval => op.imm & 255 != INT_TO_FP,
                Code::ZextV | Code::Pair | Code::SetLane | Code::Splat => true,
                // Signs of floating-point values.
                Code::Xor | Code::And | Code::Or => self.wants_xmm[i] && self.konst(op.vb()).is_some(),
                _ => false,
            };
            if let Some((reach, _)) = op.shared() {
                self.uses[reach.index()] += 1;
            }
            let n = if op.code == Code::Phi { 2 } else { op.operands() };
            for v in [op.a, op.b, op.c].into_iter().take(n) {
                self.uses[v as usize] += 1;
                if vector {
                    self.wants_xmm[v as usize] = true;
                }
            }
            if op.code == Code::LoopBack {
                for k in 0..op.b {
                    let next = self.ir.args[(op.a + k) as usize];
                    let phi = self.ir.ops[(op.c - op.b + k) as usize];
                    self.wants_xmm[next as usize] |= phi.is_vector();
                }
            }
            if op.code == Code::LoopPhi && self.wants_xmm[i] {
                // Both in one kind of register, where the end of a turn can still choose.
                self.wants_xmm[op.a as usize] = true;
            }
            if matches!(op.code, Code::Call | Code::LoopBack) {
                for k in op.a..op.a + op.b {
                    let v = self.ir.args[k as usize];
                    self.uses[v as usize] += 1;
                }
            }
        }
        self.covered = covered;
        self.uses_total.clear();
        self.uses_total.extend_from_slice(&self.uses);
    }

    /// The index of the last operation that uses the value. Only who runs out of registers asks.
    pub fn last_use(&mut self, v: u32) -> u32 {
        if self.last.is_empty() {
            self.find_last();
        }
        self.last[v as usize]
    }

    #[cold]
    fn find_last(&mut self) {
        self.last.resize(self.ir.len(), 0);
        for (i, op) in self.ir.ops.iter().enumerate() {
            let at = i as u32;
            let n = if op.code == Code::Phi { 2 } else { op.operands() };
            for v in [op.a, op.b, op.c].into_iter().take(n) {
                self.last[v as usize] = at;
            }
            if let Some((reach, _)) = op.shared() {
                self.last[reach.index()] = at;
            }
            if matches!(op.code, Code::Call | Code::LoopBack) {
                for v in &self.ir.args[op.a as usize..(op.a + op.b) as usize] {
                    self.last[*v as usize] = at;
                }
            }
        }
    }
}
