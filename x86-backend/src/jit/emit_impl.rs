//! The builder as a consumer of generated semantics.

use super::build::{container, mask64, storage};
use super::ir::{Code, NO_RESULT, Op, Val};
use super::{Builder, HostFeatures};
use crate::emit::{
    Access, AtomicOp, BinOp, BranchKind, CmpOp, Cond, Emit, FLAGS, FpBinOp, FpCmpOp, FpFmt, FpUnOp, HelperId, Rounding,
    Slot, Stop, UnOp, VBinOp, VShiftOp, VTernOp, VUnOp, Width, flags,
};
use crate::eval::entry::EvalOp;

const N: Val = Val::NONE;

impl Builder<'_> {
    fn fp_width(fmt: FpFmt, lanes: u32) -> Width {
        if lanes == 1 { fmt.width() } else { 128 }
    }
}

impl Emit for Builder<'_> {
    type V = Val;

    fn konst(&mut self, n: Width, v: u128) -> Val {
        match n {
            FLAGS => self.b_mut().flags_const(flags::from_nzcv(v as u8 & 15)),
            128 => self.b_mut().vector(v),
            _ => self.b_mut().int(container(n), v as u64 & mask64(n)),
        }
    }
    fn get(&mut self, slot: Slot) -> Val {
        self.b_mut().get(slot)
    }
    fn put(&mut self, slot: Slot, v: Val) {
        self.b_mut().put(slot, v);
    }

    fn un(&mut self, op: UnOp, n: Width, a: Val) -> Val {
        self.b_mut().un(op, n, a)
    }
    fn bin(&mut self, op: BinOp, n: Width, a: Val, b: Val) -> Val {
        self.b_mut().bin(op, n, a, b)
    }
    fn cmp(&mut self, op: CmpOp, n: Width, a: Val, b: Val) -> Val {
        self.b_mut().cmp(op, n, a, b)
    }
    fn zext(&mut self, from: Width, to: Width, a: Val) -> Val {
        self.b_mut().zext(from, to, a)
    }
    fn sext(&mut self, from: Width, to: Width, a: Val) -> Val {
        self.b_mut().sext(from, to, a)
    }
    fn extract(&mut self, n: Width, a: Val, lo: u32, len: Width) -> Val {
        self.b_mut().extract(n, a, lo, len)
    }
    fn concat(&mut self, hi_n: Width, hi: Val, lo_n: Width, lo: Val) -> Val {
        self.b_mut().concat(hi_n, hi, lo_n, lo)
    }
    fn select(&mut self, n: Width, c: Val, a: Val, b: Val) -> Val {
        self.b_mut().select(n, c, a, b)
    }

    fn add_flags(&mut self, n: Width, a: Val, b: Val, carry_in: Val) -> Val {
        self.b_mut().add_flags(n, a, b, carry_in)
    }
    fn logic_flags(&mut self, n: Width, a: Val) -> Val {
        self.b_mut().logic_flags(n, a)
    }
    fn pack_flags(&mut self, nzcv: Val) -> Val {
        self.b_mut().pack_flags(nzcv)
    }
    fn unpack_flags(&mut self, f: Val) -> Val {
        self.b_mut().unpack_flags(f)
    }
    fn cond(&mut self, f: Val, cond: Cond) -> Val {
        self.b_mut().cond(f, cond)
    }

    fn lane(&mut self, e: Width, a: Val, i: u32) -> Val {
        self.b_mut().lane(e, a, i)
    }
    fn set_lane(&mut self, e: Width, a: Val, i: u32, v: Val) -> Val {
        self.b_mut().set_lane(e, a, i, v)
    }
    fn splat(&mut self, e: Width, v: Val) -> Val {
        self.b_mut().splat(e, v)
    }
    fn vun(&mut self, op: VUnOp, e: Width, a: Val) -> Val {
        self.b_mut().eval(EvalOp::VUn { op, e }, 128, [a, N, N])
    }
    fn vbin(&mut self, op: VBinOp, e: Width, a: Val, b: Val) -> Val {
        if !self.jit.cfg.features.contains(HostFeatures::SHA)
            && let Some(v) = self.b_mut().expand_hash(op, a, b)
        {
            return v;
        }
        self.b_mut().eval(EvalOp::VBin { op, e }, 128, [a, b, N])
    }
    fn vtern(&mut self, op: VTernOp, e: Width, a: Val, b: Val, c: Val) -> Val {
        if !self.jit.cfg.features.contains(HostFeatures::SHA) {
            return match op {
                VTernOp::Sha256Rounds => self.b_mut().expand_sha256_rounds(a, b, c),
            };
        }
        self.b_mut().eval(EvalOp::VTern { op, e }, 128, [a, b, c])
    }
    fn vshift(&mut self, op: VShiftOp, e: Width, a: Val, amount: u32) -> Val {
        self.b_mut().eval(EvalOp::VShift { op, e, amount }, 128, [a, N, N])
    }
    fn shuffle(&mut self, a: Val, b: Val, idx: [u8; 16]) -> Val {
        self.b_mut().shuffle(a, b, idx)
    }

    fn fp_un(&mut self, op: FpUnOp, fmt: FpFmt, lanes: u32, a: Val) -> Val {
        self.b_mut().eval(EvalOp::FpUn { op, fmt, lanes }, Self::fp_width(fmt, lanes), [a, N, N])
    }
    fn fp_bin(&mut self, op: FpBinOp, fmt: FpFmt, lanes: u32, a: Val, b: Val) -> Val {
        self.b_mut().eval(EvalOp::FpBin { op, fmt, lanes }, Self::fp_width(fmt, lanes), [a, b, N])
    }
    fn fp_fma(&mut self, fmt: FpFmt, lanes: u32, addend: Val, x: Val, y: Val) -> Val {
        self.b_mut().fma(fmt, lanes, Self::fp_width(fmt, lanes), addend, x, y)
    }
    fn fp_cmp(&mut self, op: FpCmpOp, fmt: FpFmt, lanes: u32, a: Val, b: Val) -> Val {
        self.b_mut().eval(EvalOp::FpCmp { op, fmt, lanes }, Self::fp_width(fmt, lanes), [a, b, N])
    }
    fn fp_cmp_flags(&mut self, fmt: FpFmt, signaling: bool, a: Val, b: Val) -> Val {
        self.b_mut().eval(EvalOp::FpCmpFlags { fmt, signaling }, FLAGS, [a, b, N])
    }
    fn fp_convert(&mut self, from: FpFmt, to: FpFmt, rounding: Rounding, a: Val) -> Val {
        self.b_mut().eval(EvalOp::FpConvert { from, to, rounding }, to.width(), [a, N, N])
    }
    fn fp_to_int(&mut self, fmt: FpFmt, n: Width, signed: bool, fbits: u32, rounding: Rounding, a: Val) -> Val {
        self.b_mut().eval(EvalOp::FpToInt { fmt, n, signed, fbits, rounding }, n, [a, N, N])
    }
    fn int_to_fp(&mut self, n: Width, signed: bool, fbits: u32, fmt: FpFmt, a: Val) -> Val {
        self.b_mut().eval(EvalOp::IntToFp { n, signed, fbits, fmt }, fmt.width(), [a, N, N])
    }

    fn load(&mut self, n: Width, addr: Val, acc: Access) -> Result<Val, Stop> {
        let op = Op::new(Code::Load, container(n)).aux(acc.bits()).a(addr).imm(u64::from(storage(n)));
        Ok(self.b_mut().access(op))
    }
    fn store(&mut self, n: Width, addr: Val, v: Val, acc: Access) -> Result<(), Stop> {
        let op = Op::new(Code::Store, u32::from(NO_RESULT)).aux(acc.bits()).ab(addr, v).imm(u64::from(storage(n)));
        self.b_mut().access(op);
        Ok(())
    }
    fn atomic(&mut self, op: AtomicOp, n: Width, addr: Val, v: Val, acc: Access) -> Result<Val, Stop> {
        let imm = u64::from(storage(n)) | (op as u64) << 8;
        let op = Op::new(Code::Atomic, container(n)).aux((acc | Access::ATOMIC).bits()).ab(addr, v).imm(imm);
        self.b_mut().accesses += 1;
        Ok(self.b_mut().push(op))
    }
    fn cas(&mut self, n: Width, addr: Val, expected: Val, new: Val, acc: Access) -> Result<Val, Stop> {
        let op = Op::new(Code::Cas, container(n)).aux((acc | Access::ATOMIC).bits());
        self.b_mut().accesses += 1;
        let v = self.b_mut().push(op.abc(addr, expected, new).imm(u64::from(storage(n))));
        Ok(v)
    }
    fn fence(&mut self) {
        self.b_mut().push(Op::new(Code::Fence, u32::from(NO_RESULT)));
    }

    fn call(&mut self, helper: HelperId, args: &[Val]) -> Result<Option<Val>, Stop> {
        let Some(decl) = self.helper(helper) else { return Err(Stop) };
        let this = self.b_mut();
        let start = this.ir.args.len() as u32;
        this.ir.args.extend(args.iter().map(|v| v.0));
        let mut op = Op::new(Code::Call, decl.result.map_or(u32::from(NO_RESULT), container)).aux(helper.0);
        op.a = start;
        op.b = args.len() as u32;
        let v = this.push(op);
        if let (Some(n @ 1..64), true) = (decl.result, decl.result.is_some()) {
            this.ir.sig[v.index()] = n as u8;
        }
        if !decl.pure_ {
            this.forget_state();
        }
        if decl.never {
            this.path_ends();
            return Err(Stop);
        }
        Ok(decl.result.map(|_| v))
    }

    fn branch(&mut self, target: Val, kind: BranchKind) -> Result<(), Stop> {
        let this = self.b_mut();
        let none = u32::from(NO_RESULT);
        let arrival = match kind {
            BranchKind::Resume => super::ir::ANEW,
            _ => kind.arrival().map_or(0, |i| i as u16 + 1),
        };
        if this.end_block {
            this.push(Op::new(Code::Leave, none).a(target));
        } else if let Some(pc) = this.konst(target) {
            this.push(Op::new(Code::Goto, none).aux(arrival).imm(pc));
            this.target = (arrival == 0 && this.depth == 0).then_some(pc);
        } else {
            this.push(Op::new(Code::GotoInd, none).aux(arrival).a(target));
        }
        this.has_branch |= this.depth > this.base;
        this.calls |= matches!(kind, BranchKind::Call | BranchKind::IndirectCall);
        this.path_ends();
        Err(Stop)
    }
    fn end_block(&mut self) {
        self.b_mut().end_block = true;
    }

    fn branch_on<const K: usize>(
        &mut self,
        c: Val,
        widths: [Width; K],
        then: impl FnOnce(&mut Self) -> Result<[Val; K], Stop>,
        otherwise: impl FnOnce(&mut Self) -> Result<[Val; K], Stop>,
    ) -> Result<[Val; K], Stop> {
        match self.b().konst(c) {
            Some(0) => return otherwise(self),
            Some(_) => return then(self),
            None => {}
        }
        let mut arms = self.b_mut().open_arms(c);
        let mut first = then(self);
        let out = self.b_mut().first_arm_ends(&mut arms, first.is_err());
        if out {
            return otherwise(self).inspect_err(|_| self.b_mut().path_ends());
        }
        let second = otherwise(self);
        if self.b_mut().second_arm_ends(&mut arms, first.is_err(), second.is_err()) {
            if let (Ok(a), Ok(b)) = (&mut first, &second) {
                self.b_mut().join(&arms, &widths, a, b);
            }
            return first;
        }
        second
    }
}
