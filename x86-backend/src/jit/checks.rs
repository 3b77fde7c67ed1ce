//! Checks of floating-point results that wait until they can be made together.
//!
//! [`super::fp`] takes the host's result only if it is no NaN and not of the least normal magnitude. Instead of a check
//! behind each operation, operations go into a *group*, whose results are checked together before anybody but members of the
//! group may look at them. If a check fails, all members are evaluated again, in order, by the reference semantics. So:
//!
//! - A result that another member computes with need not be looked at for NaNs: from a NaN comes a NaN, which is found. The
//!   flags of computing with the wrong NaN are those of computing with the right one. (Not so with a result that should
//!   have been flushed: where denormals are flushed, nobody computes with what may be one before it was checked.)
//! - Operands stay available, results in their registers, until the group is checked. What takes results elsewhere,
//!   control flow, and calls end the group ([`Gen::checks_before`]); so does a shortage of registers.
//! - Changing the sign of such a result, which multiply-subtract and negated products do, is a member, too: a NaN stays one.
//! - Accesses to memory and conditional exits may stand between members. Their way out of line, where state becomes
//!   visible, begins with a check of the group as it is there.

use super::asm::{Cc, Fixup, Gpr, Mem, Opc, RAX, RSP, Rm, Xmm};
use super::features::HostFeatures;
use super::fp::{ANDPS, CMP, DOUBLE, EQ_UQ, Format, ORPS, SINGLE, Shape, UNORD, XORPS};
use super::ir::{Code, Op, Val};
use super::mechanisms::Mechanisms;
use super::regs::{Gen, NONE, frame};
use super::simd::p;
use crate::emit::{FpBinOp, FpFmt, FpUnOp, Rounding};
use crate::eval::{self, entry::EvalOp};
use crate::runtime::Runtime;
use core::mem::offset_of;

/// Members of a group.
const MOST: usize = 8;
/// Vector registers that may be occupied while a group waits.
const MOST_REGISTERS: usize = 13;

/// An operation whose result waits for its check.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    v: Val,
    op: Op,
    result: Xmm,
    f: Format,
    shape: Shape,
    /// It may be of the least normal magnitude.
    tiny: bool,
    /// No other member shows whether it is a NaN.
    nan: bool,
}

/// Where an operand is, for a member that is evaluated again.
#[derive(Clone, Copy)]
enum Where {
    None,
    Xmm(Xmm),
    Gpr(Gpr),
    /// Bytes, and where.
    Mem(u32, Mem),
    Const(u128),
}

/// A member with its operands' places at some point of the code.
#[derive(Clone, Copy)]
pub(super) struct Member {
    waiting: Waiting,
    args: [Where; 3],
}

/// Members in [`Gen::members`], and registers for their check.
#[derive(Clone, Copy)]
pub(super) struct Group {
    members: (usize, usize),
    temps: Temps,
}

/// Registers for a check.
pub(super) type Temps = [Xmm; 3];

/// Ways out of a check.
type Failures = [Option<Fixup>; MOST + 1];

/// A check on the straight path.
#[derive(Clone, Copy)]
pub(super) struct FailedCheck {
    failures: Failures,
    members: (usize, usize),
    resume: usize,
}

/// The instruction of a member that changes signs.
fn bitwise(code: Code) -> Option<Opc> {
    match code {
        Code::And => Some(ANDPS),
        Code::Or => Some(ORPS),
        Code::Xor => Some(XORPS),
        _ => None,
    }
}

impl Gen {
    /// Whether a floating-point operation's result may wait for its check.
    pub fn may_wait(&self, op: Op, f: Format) -> bool {
        let wide_enough = |v: u32| u32::from(self.ir.ops[v as usize].w) >= f.width;
        self.has(HostFeatures::AVX) && [op.a, op.b, op.c].into_iter().take(op.operands()).all(wide_enough)
    }

    /// Has the result of `v`, in `result`, wait for its check.
    pub fn wait_for_check(&mut self, v: Val, op: Op, result: Xmm, f: Format, shape: Shape, tiny: bool) {
        let vals = [op.va(), op.vb(), op.vc()];
        for other in &mut self.waiting {
            // An operation that computes with it in another format is a conversion.
            if other.shape == shape && vals[..op.operands()].contains(&other.v) {
                other.nan = false;
            }
        }
        self.acquire(v);
        self.each_operand(op, Self::acquire);
        self.waiting_pins |= 1 << result.0;
        self.waiting.push(Waiting { v, op, result, f, shape, tiny, nan: true });
    }

    fn waits(&self, v: u32) -> bool {
        self.waiting.iter().any(|w| w.v.0 == v)
    }

    fn overlaps_pending(&self, op: Op, or_covers: bool) -> bool {
        let (lo, hi) = (op.imm as u32, op.imm as u32 + u32::from(op.aux));
        let within = |lo2: u32, hi2: u32| or_covers && lo <= lo2 && hi2 <= hi;
        let pending = &self.place.pending;
        pending.iter().any(|p| p.offset < hi && lo < p.offset + p.size && !within(p.offset, p.offset + p.size))
    }

    /// Makes the checks that must be made before the operation at `i` is lowered.
    pub fn checks_before(&mut self, i: usize, op: Op) {
        let most = if self.shared.uses(Mechanisms::FP_GROUPS) { MOST } else { 1 };
        let full = || {
            let occupied = self.place.xmms.iter().filter(|v| **v != NONE).count();
            self.waiting.len() >= most || occupied > MOST_REGISTERS
        };
        let reads = || [op.a, op.b, op.c].into_iter().take(op.operands()).any(|v| self.waits(v));
        let check = match op.code {
            Code::Nop | Code::Const | Code::Const128 | Code::Insn | Code::LoadHalf | Code::Count => false,
            Code::Get => self.overlaps_pending(op, false),
            Code::Put => self.overlaps_pending(op, true),
            Code::Add
            | Code::Sub
            | Code::Mul
            | Code::Shl
            | Code::Shr
            | Code::Sar
            | Code::Ror
            | Code::Not
            | Code::Neg
            | Code::Sext
            | Code::Cmp
            | Code::Test
            | Code::Cond
            | Code::AddFlags
            | Code::SubFlags
            | Code::LogicFlags
            | Code::Lane
            | Code::SetLane
            | Code::Splat
            | Code::ZextV
            | Code::Pair
            | Code::Reach
            | Code::Load
            | Code::Store
            | Code::LoadPair
            | Code::StorePair => reads() || full(),
            Code::And | Code::Or | Code::Xor => (reads() && self.sign_member(Val(i as u32), op).is_none()) || full(),
            Code::CondExit => reads() || !self.goes_on(i),
            Code::Eval => match EvalOp::unpack(op.imm) {
                Some(what) if self.shared.fp_inline => match self.member_format(what) {
                    Some(f) => full() || !self.may_wait(op, f) || self.reads_otherwise(op, f),
                    None => !Self::leaves_alone(what) || full() || reads(),
                },
                _ => true,
            },
            _ => true,
        };
        if check {
            self.check_waiting();
        }
    }

    /// The format of the operands of an operation that may compute with results that wait.
    fn member_format(&self, what: EvalOp) -> Option<Format> {
        match what {
            EvalOp::FpFma { .. } | EvalOp::FpBin { op: FpBinOp::RecipStep | FpBinOp::RsqrtStep, .. }
                if !self.has(HostFeatures::FMA) =>
            {
                None
            }
            EvalOp::FpBin {
                op: FpBinOp::Add | FpBinOp::Sub | FpBinOp::Mul | FpBinOp::Div | FpBinOp::RecipStep | FpBinOp::RsqrtStep,
                fmt,
                lanes,
            }
            | EvalOp::FpUn { op: FpUnOp::Sqrt, fmt, lanes }
            | EvalOp::FpFma { fmt, lanes, .. } => Self::format(fmt, lanes).map(|(f, _)| f),
            EvalOp::FpConvert { from: fmt @ FpFmt::F32, to: FpFmt::F64, .. }
            | EvalOp::FpConvert { from: fmt @ FpFmt::F64, to: FpFmt::F32, rounding: Rounding::Dynamic } => {
                Self::format(fmt, 1).map(|(f, _)| f)
            }
            _ => None,
        }
    }

    /// The format of an operation that changes the sign of a result that waits, and nothing else of it: it is a member like that one.
    pub fn sign_member(&self, v: Val, op: Op) -> Option<(Format, Shape)> {
        let w = self.waiting.iter().find(|w| w.v == op.va())?;
        let (f, shape) = (w.f, w.shape);
        let mask = match op.code {
            Code::And => f.sign() - 1,
            Code::Or | Code::Xor => f.sign(),
            _ => return None,
        };
        // Not of one that should perhaps have been flushed to zero: see [`Gen::reads_otherwise`].
        let computes = !(w.tiny && self.shared.fp_flush);
        let k = self.op(op.vb());
        let signs_only = match shape {
            Shape::Scalar => {
                let in_place = self.wants_xmm[v.index()] && self.loc(op.va()).gpr().is_none();
                in_place
                    && u32::from(op.w) == f.width
                    && k.code == Code::Const
                    && k.imm & eval::mask(f.width) as u64 == mask
            }
            Shape::Full => op.is_vector() && k.code == Code::Const128 && self.ir.pool[k.imm as usize] == f.splat(mask),
            Shape::Half => false,
        };
        (computes && signs_only).then_some((f, shape))
    }

    /// Whether an operation that is no member is done inline, so that all stays in its registers.
    fn leaves_alone(what: EvalOp) -> bool {
        match what {
            EvalOp::IntToFp { n: 32 | 64, fbits: 0..=64, fmt, .. } => Self::format(fmt, 1).is_some(),
            EvalOp::FpUn { op: FpUnOp::RecipEstimate | FpUnOp::RsqrtEstimate, fmt: FpFmt::F32, .. } => true,
            _ => false,
        }
    }

    /// Whether an operation computes with a result of another format, or one that should perhaps have been flushed to zero.
    fn reads_otherwise(&self, op: Op, f: Format) -> bool {
        let vals = [op.a, op.b, op.c];
        let otherwise = |w: &Waiting| w.f.wide != f.wide || (w.tiny && self.shared.fp_flush);
        self.waiting.iter().any(|w| otherwise(w) && vals[..op.operands()].contains(&w.v.0))
    }

    /// Checks the results that wait.
    pub fn check_waiting(&mut self) {
        let temps = self.check_temps();
        let Some(group) = self.waiting_group(temps) else { return };
        let failures = self.emit_check(group);
        let resume = self.asm.pos();
        self.failed_checks.push(FailedCheck { failures, members: group.members, resume });
        self.waiting_pins = 0;
        while let Some(w) = self.waiting.pop() {
            self.each_operand(w.op, Self::release);
            self.release(w.v);
        }
        self.unpin();
    }

    /// Registers for a check of what waits, if anything does, pinned.
    pub fn check_temps(&mut self) -> Option<Temps> {
        (!self.waiting.is_empty()).then(|| [self.scratch_xmm(), self.scratch_xmm(), self.scratch_xmm()])
    }

    /// The results that wait, for a check in another place, where everything is as it is now.
    pub fn waiting_group(&mut self, temps: Option<Temps>) -> Option<Group> {
        let temps = temps?;
        let first = self.members.len();
        for i in 0..self.waiting.len() {
            let waiting = self.waiting[i];
            let vals = [waiting.op.va(), waiting.op.vb(), waiting.op.vc()];
            let mut args = [Where::None; 3];
            for (arg, v) in args.iter_mut().zip(vals).take(waiting.op.operands()) {
                *arg = self.place_of_operand(v);
            }
            self.members.push(Member { waiting, args });
        }
        Some(Group { members: (first, self.members.len()), temps })
    }

    fn place_of_operand(&mut self, v: Val) -> Where {
        let (op, loc) = (self.op(v), self.loc(v));
        if op.code == Code::Const {
            Where::Const(op.imm.into())
        } else if op.code == Code::Const128 {
            Where::Const(self.ir.pool[op.imm as usize])
        } else if let Some(x) = loc.xmm() {
            Where::Xmm(x)
        } else if let Some(r) = loc.gpr() {
            Where::Gpr(r)
        } else if let Some(slot) = loc.frame() {
            Where::Mem(if op.is_vector() { 16 } else { 8 }, Self::spill_slot(slot))
        } else if let Some(h) = self.home_of(v) {
            Where::Mem(h.size, Self::state(h.offset))
        } else {
            self.failed = true;
            Where::None
        }
    }

    /// Emits a check; it fails towards the jumps.
    fn emit_check(&mut self, group: Group) -> Failures {
        let [t, least, sum] = group.temps;
        let mut failures = [None; MOST + 1];
        let mut ways = failures.iter_mut();
        let mut fail = |f: Fixup| {
            if let Some(way) = ways.next() {
                *way = Some(f);
            }
        };
        let members = group.members.0..group.members.1;
        let mut summed = false;
        for f in [SINGLE, DOUBLE] {
            let of = |g: &Self, vector: bool, tiny: bool| {
                let mut out = ([Xmm(0); MOST], 0);
                for w in g.members[members.clone()].iter().map(|m| m.waiting) {
                    let wanted = w.tiny == tiny && (w.tiny || w.nan);
                    if wanted && w.f.wide == f.wide && (w.shape != Shape::Scalar) == vector {
                        out.0[out.1] = w.result;
                        out.1 += 1;
                    }
                }
                out
            };
            // NaNs only: two at a time.
            let (scalars, n) = of(self, false, false);
            for pair in scalars[..n].chunks(2) {
                self.ucomis(f, pair[0], pair[pair.len() - 1]);
                fail(self.asm.jcc(Cc::P));
            }
            let (vectors, n) = of(self, true, false);
            for pair in vectors[..n].chunks(2) {
                let d = if summed { t } else { sum };
                self.compare_lanes(f, d, pair[0], pair[pair.len() - 1], UNORD);
                self.add_to_sum(&mut summed, sum, d);
            }
            let (scalars, n) = of(self, false, true);
            let (vectors, m) = of(self, true, true);
            if n == 1 && m == 0 && !summed {
                self.v3k(ANDPS, t, scalars[0], f.splat(f.sign() - 1));
                self.asm.sse(Opc::new(if f.wide { 0x66 } else { 0 }, 1, 0x2e), t, Rm::Rip);
                let field = self.asm.last_rip();
                self.constants.push((field, f.splat(f.min_normal())));
                // Unordered counts as equal.
                fail(self.asm.jcc(Cc::E));
                continue;
            }
            if n + m > 0 {
                self.load_const128(least, f.splat(f.min_normal()));
            }
            let magnitude = f.splat(f.sign() - 1);
            for few in scalars[..n].chunks(128 / f.width as usize) {
                let d = if summed { t } else { sum };
                let x = self.pack(f, d, few);
                self.v3k(ANDPS, d, x, magnitude & eval::mask(f.width * few.len() as u32));
                self.compare_lanes(f, d, d, least, EQ_UQ);
                self.add_to_sum(&mut summed, sum, d);
            }
            for x in &vectors[..m] {
                let d = if summed { t } else { sum };
                self.v3k(ANDPS, d, *x, magnitude);
                self.compare_lanes(f, d, d, least, EQ_UQ);
                self.add_to_sum(&mut summed, sum, d);
            }
        }
        if summed {
            let vtestps = Opc::new(0x66, 2, 0x0e);
            self.asm.vex(vtestps, false, sum.0, 0, sum, None);
            fail(self.asm.jcc(Cc::NE));
        }
        failures
    }

    fn compare_lanes(&mut self, f: Format, d: Xmm, a: Xmm, b: Xmm, predicate: u8) {
        self.v3i(f.op(Shape::Full, CMP), d, a, b, predicate);
    }

    fn add_to_sum(&mut self, summed: &mut bool, sum: Xmm, d: Xmm) {
        if *summed {
            self.v3(ORPS, sum, sum, d);
        }
        *summed = true;
    }

    /// Scalars side by side; what is above them is undefined.
    fn pack(&mut self, f: Format, d: Xmm, few: &[Xmm]) -> Xmm {
        if few.len() == 1 {
            return few[0];
        }
        self.v3(if f.wide { p(0x14) } else { Opc::new(0, 1, 0x14) }, d, few[0], few[1]);
        for (i, x) in few.iter().enumerate().skip(2) {
            const INSERTPS: Opc = Opc::new(0x66, 3, 0x21);
            self.v3i(INSERTPS, d, d, *x, (i << 4) as u8);
        }
        d
    }

    /// A check where state becomes visible.
    #[inline(never)]
    pub fn check_out_of_line(&mut self, group: Option<Group>) {
        let Some(group) = group else { return };
        let failures = self.emit_check(group);
        let fine = self.asm.jmp();
        for f in failures.into_iter().flatten() {
            self.asm.bind(f);
        }
        self.evaluate_again(group.members);
        self.asm.bind(fine);
    }

    pub fn emit_failed_checks(&mut self) {
        for i in 0..self.failed_checks.len() {
            let FailedCheck { failures, members, resume } = self.failed_checks[i];
            for f in failures.into_iter().flatten() {
                self.asm.bind(f);
            }
            self.evaluate_again(members);
            self.asm.jmp_to(resume);
        }
    }

    fn evaluate_again(&mut self, (from, to): (usize, usize)) {
        for k in from..to {
            let Member { waiting, args } = self.members[k];
            if let (Some(opc), [Where::Xmm(x), Where::Const(k), _]) = (bitwise(waiting.op.code), args) {
                let k = if waiting.op.is_vector() {
                    k
                } else {
                    eval::splat(waiting.f.width, k & eval::mask(waiting.f.width))
                };
                self.v3k(opc, waiting.result, x, k);
                continue;
            }
            for (i, arg) in args.into_iter().enumerate() {
                let at = self.rt(offset_of!(Runtime, scratch) + 16 * i);
                match arg {
                    Where::None => {}
                    Where::Xmm(x) => self.asm.movups_store(at, x),
                    Where::Gpr(r) => self.asm.store(8, at, r),
                    Where::Mem(size, m) => self.through_rax(|g| {
                        g.asm.load(size.min(8), RAX, m);
                        g.asm.store(8, at, RAX);
                        if size == 16 {
                            g.asm.load(8, RAX, m.offset(8));
                            g.asm.store(8, at.offset(8), RAX);
                        }
                    }),
                    Where::Const(k) => self.through_rax(|g| {
                        for half in 0..2 {
                            g.asm.mov_ri(RAX, (k >> (64 * half)) as u64);
                            g.asm.store(8, at.offset(8 * half), RAX);
                        }
                    }),
                }
            }
            let word = Mem::new(RSP, frame::ARGS);
            self.asm.store_imm(4, word, waiting.op.imm as i32);
            self.asm.store_imm(4, word.offset(4), (waiting.op.imm >> 32) as i32);
            self.asm.call_to(self.shared.thunks.eval);
            let scratch = self.rt(offset_of!(Runtime, scratch));
            self.asm.movups_load(waiting.result, scratch);
        }
    }

    fn through_rax(&mut self, f: impl FnOnce(&mut Self)) {
        let keep = Mem::new(RSP, frame::TEMPS + 24);
        self.asm.store(8, keep, RAX);
        f(self);
        self.asm.load(8, RAX, keep);
    }
}
