//! The backward pass: removes dead stores to guest state and dead operations, counts uses, and notes which values are
//! wanted in vector registers.

use super::ir::{CLASS_LOOKS, CLASS_OPERANDS, CLASS_PLAIN, CLASS_VALUE, Code, NO_RESULT, Op};
use super::mechanisms::Mechanisms;
use super::regs::Gen;
use crate::emit::FpFmt;
use crate::eval::entry::EvalOp;

/// The packed kind of conversions from integers, whose operand is one.
const INT_TO_FP: u64 = EvalOp::IntToFp { n: 64, signed: true, fbits: 0, fmt: FpFmt::F64 }.pack() & 255;

/// Places behind the uses of values for operands that are none: several, since an addition waits for the one before it in the same place.
const NONES: usize = 8;

impl Gen {
    /// Fills `uses` and `wants_xmm` for the block in `ir`.
    pub fn live_pass(&mut self) {
        let n = self.ir.len();
        self.last.clear();
        self.uses.clear();
        self.uses.resize(n + NONES, 0);
        self.wants_xmm.clear();
        self.wants_xmm.resize(n, false);
        self.count_uses(n);
        self.uses_total.clear();
        self.uses_total.extend_from_slice(&self.uses);
    }

    fn count_uses(&mut self, n: usize) {
        const NOP: Op = Op::new(Code::Nop, NO_RESULT as u32);
        let Gen { ir, uses, wants_xmm, covered, shared, .. } = self;
        let (ops, args) = (&mut ir.ops[..n], &ir.args[..]);
        let (uses, wants_xmm) = (&mut uses[..n + NONES], &mut wants_xmm[..n]);
        let dead_stores_go = shared.uses(Mechanisms::DEAD_STORES);
        // Slots that are certainly overwritten before anybody looks, by (offset, size).
        covered.clear();
        for i in (0..n).rev() {
            // What most operations are needs none of what follows.
            let op = &ops[i];
            let class = op.code.class();
            if class & CLASS_PLAIN != 0 || class & CLASS_VALUE != 0 && !wants_xmm[i] {
                if class & CLASS_VALUE != 0 && uses[i] == 0 {
                    ops[i] = NOP;
                    continue;
                }
                let (operands, none) = (class & CLASS_OPERANDS, (n + i % NONES) as u32);
                if operands == 0 {
                    continue;
                }
                // Without branches: nobody could guess them.
                uses[op.a as usize] += 1;
                uses[if operands > 1 { op.b } else { none } as usize] += 1;
                uses[if operands > 2 { op.c } else { none } as usize] += 1;
                continue;
            }
            if op.code == Code::Put {
                let (lo, hi) = (op.imm as u32, op.imm as u32 + u32::from(op.aux));
                if covered.iter().any(|(l, h)| *l <= lo && hi <= *h) {
                    ops[i] = NOP;
                    continue;
                }
                if dead_stores_go {
                    covered.push((lo, hi));
                }
                let a = op.a as usize;
                if op.aux == 16 {
                    let scalar = ops[a].w;
                    wants_xmm[a] |= scalar == 32 || scalar == 64;
                }
                uses[a] += 1;
                continue;
            }
            let op = *op;
            let pure_call = op.code == Code::Call && shared.helpers[op.aux as usize].pure_;
            if uses[i] == 0 && (op.removable() || pure_call) {
                ops[i] = NOP;
                continue;
            }
            if op.code == Code::Get {
                let (lo, hi) = (op.imm as u32, op.imm as u32 + u32::from(op.aux));
                covered.retain(|(l, h)| *h <= lo || hi <= *l);
                continue;
            }
            if class & CLASS_LOOKS != 0 || op.code == Code::Call && !pure_call {
                covered.clear();
            }
            let vector = match op.code {
                Code::Eval => op.imm & 255 != INT_TO_FP,
                Code::ZextV | Code::Pair | Code::SetLane | Code::Splat => true,
                // Signs of floating-point values.
                Code::Xor | Code::And | Code::Or => wants_xmm[i] && ops[op.b as usize].code == Code::Const,
                _ => false,
            };
            if let Some((reach, _)) = op.shared() {
                uses[reach.index()] += 1;
            }
            let n = if op.code == Code::Phi { 2 } else { op.operands() };
            for v in [op.a, op.b, op.c].into_iter().take(n) {
                uses[v as usize] += 1;
                if vector {
                    wants_xmm[v as usize] = true;
                }
            }
            if op.code == Code::LoopBack {
                for k in 0..op.b {
                    let next = args[(op.a + k) as usize];
                    let phi = &ops[(op.c - op.b + k) as usize];
                    wants_xmm[next as usize] |= phi.is_vector();
                }
            }
            if op.code == Code::LoopPhi && wants_xmm[i] {
                // Both in one kind of register, where the end of a turn can still choose.
                wants_xmm[op.a as usize] = true;
            }
            if matches!(op.code, Code::Call | Code::LoopBack) {
                for v in &args[op.a as usize..(op.a + op.b) as usize] {
                    uses[*v as usize] += 1;
                }
            }
        }
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
