//! Vector values: constants, lanes, bitwise operations. Arithmetic is in [`super::simd`] and [`super::fp`].
//!
//! To add a lowering: ask for operands with `use_xmm`, for the result with `def_xmm` or `def_xmm_from` (which reuses the
//! register of an operand that dies), emit. Whatever returns `false` is done by a call to the reference semantics.

use super::asm::{Opc, Xmm};
use super::ir::{Code, Op, Val};
use super::regs::Gen;
use crate::eval::entry::EvalOp;

const fn p66(byte: u8) -> Opc {
    Opc::new(0x66, 1, byte)
}
const fn p38(byte: u8) -> Opc {
    Opc::new(0x66, 2, byte)
}
const fn p3a(byte: u8) -> Opc {
    Opc::new(0x66, 3, byte)
}

pub(super) const PXOR: Opc = p66(0xef);
const PUNPCKLQDQ: Opc = p66(0x6c);
const PSHUFD: Opc = p66(0x70);
const PSHUFB: Opc = p38(0x00);
const POR: Opc = p66(0xeb);

impl Gen {
    /// A 128-bit constant in a register.
    pub fn load_const128(&mut self, d: Xmm, k: u128) {
        match k {
            0 => self.asm.sse(PXOR, d, d),
            u128::MAX => self.asm.sse(p66(0x76), d, d),
            _ => {
                let f = self.asm.movups_rip(d);
                self.constants.push((f, k));
            }
        }
    }

    /// Lowers a vector operation; false when it is none.
    pub fn lower_vector(&mut self, v: Val, op: Op) -> bool {
        let (a, b) = (op.va(), op.vb());
        let (e, i) = (u32::from(op.aux >> 8), u32::from(op.aux & 255));
        match op.code {
            Code::And | Code::Or | Code::Xor if op.is_vector() => {
                let opc = match op.code {
                    Code::And => p66(0xdb),
                    Code::Or => POR,
                    _ => PXOR,
                };
                let member = self.sign_member(v, op);
                self.commutative_xmm(v, opc, a, b);
                if let (Some((f, shape)), Some(d)) = (member, self.loc(v).xmm()) {
                    self.wait_for_check(v, op, d, f, shape, false);
                }
            }
            Code::Not if op.is_vector() => {
                let x = self.use_xmm(a);
                let d = self.def_xmm(v);
                self.load_const128(d, u128::MAX);
                self.asm.sse(PXOR, d, x);
            }
            Code::ZextV => {
                let d = if let Some(x) = self.loc(a).xmm() {
                    self.pin_xmm(x);
                    let d = self.def_xmm(v);
                    self.zext_xmm(u32::from(self.op(a).w), d, x);
                    d
                } else {
                    let d = self.scratch_xmm();
                    self.copy_to_xmm(d, a);
                    // Making a small value may have put it into `d`'s class only through a general register.
                    self.assign_xmm(v, d);
                    d
                };
                let _ = d;
            }
            Code::Pair => {
                let y = self.xmm_operand(b, 64);
                let d = self.def_xmm_from_wide(v, a, 64);
                self.asm.sse(PUNPCKLQDQ, d, y);
            }
            Code::Lane => self.lower_lane(v, a, e, i),
            Code::SetLane => self.lower_set_lane(v, a, b, e, i),
            Code::Splat => {
                let d = self.def_xmm_from_wide(v, a, e);
                match e {
                    64 => self.asm.sse(PUNPCKLQDQ, d, d),
                    32 => self.asm.sse_i(PSHUFD, d, d, 0),
                    16 => {
                        self.asm.sse_i(Opc::new(0xf2, 1, 0x70), d, d, 0);
                        self.asm.sse(PUNPCKLQDQ, d, d);
                    }
                    _ => {
                        let z = self.scratch_xmm();
                        self.load_const128(z, 0);
                        self.asm.sse(PSHUFB, d, z);
                    }
                }
            }
            Code::Select if op.is_vector() => {
                let x = self.use_xmm(b);
                let d = self.def_xmm_from(v, op.vc());
                let cc = self.condition(a);
                let skip = self.asm.jcc(cc.not());
                self.asm.movaps(d, x);
                self.asm.bind(skip);
            }
            Code::Eval => {
                let Some(eval) = EvalOp::unpack(op.imm) else { return false };
                return self.lower_simd(v, op, eval) || (self.shared.fp_inline && self.lower_fp(v, op, eval));
            }
            _ => return false,
        }
        true
    }

    /// An operand in a vector register, with at least `width` (32 or 64) bits defined: values in a container of 32 bits
    /// leave the rest of their register undefined.
    pub fn xmm_operand(&mut self, v: Val, width: u32) -> Xmm {
        let x = self.use_xmm(v);
        if u32::from(self.op(v).w) >= width {
            return x;
        }
        let t = self.scratch_xmm();
        self.asm.sse_i(p3a(0x21), t, x, 0x0e);
        t
    }

    /// Like [`Gen::def_xmm_from`], with at least `width` bits defined.
    fn def_xmm_from_wide(&mut self, v: Val, from: Val, width: u32) -> Xmm {
        if u32::from(self.op(from).w) >= width {
            return self.def_xmm_from(v, from);
        }
        let d = self.xmm_operand(from, width);
        self.assign_xmm(v, d);
        d
    }

    /// `d = a op b` for an operation whose operands may be swapped.
    pub fn commutative_xmm(&mut self, v: Val, opc: Opc, a: Val, b: Val) {
        let (a, b) = if self.dies(b) && !self.dies(a) && self.loc(b).xmm().is_some() { (b, a) } else { (a, b) };
        let y = self.use_xmm(b);
        let d = self.def_xmm_from(v, a);
        self.asm.sse(opc, d, y);
    }

    /// The low 32 or 64 bits of `x`, zeros above.
    pub fn zext_xmm(&mut self, w: u32, d: Xmm, x: Xmm) {
        if w == 64 {
            self.asm.movq_xx(d, x);
        } else {
            // INSERTPS of lane 0 onto itself, zeroing the others.
            self.asm.sse_i(p3a(0x21), d, x, 0x0e);
        }
    }

    fn lower_lane(&mut self, v: Val, a: Val, e: u32, i: u32) {
        let loc = self.loc(a);
        let at = match (loc.xmm(), loc.frame(), self.home_of(a)) {
            (Some(_), ..) => None,
            (None, Some(s), _) => Some(Self::spill_slot(s)),
            (None, None, h) => h.map(|h| Self::state(h.offset)),
        };
        let wide = e >= 32;
        if let (Some(m), true) = (at, self.dies(a)) {
            let m = m.offset((e / 8 * i) as i32);
            if wide && self.wants_xmm[v.index()] {
                let d = self.def_xmm(v);
                self.asm.load_x(e / 8, d, m);
            } else {
                let d = self.def_gpr(v);
                self.asm.load(e / 8, d, m);
            }
            return;
        }
        if i == 0 && wide {
            self.def_xmm_from(v, a);
            return;
        }
        let x = self.use_xmm(a);
        if wide && self.wants_xmm[v.index()] {
            let d = self.def_xmm(v);
            self.asm.sse_i(PSHUFD, d, x, if e == 64 { 0xee } else { i as u8 });
            return;
        }
        let d = self.def_gpr(v);
        match e {
            64 => self.asm.ins(p3a(0x16), true, x.0, d, u64::from(i), 1),
            32 => self.asm.ins(p3a(0x16), false, x.0, d, u64::from(i), 1),
            16 => self.asm.ins(p66(0xc5), false, d.0, x, u64::from(i), 1),
            _ => self.asm.ins(p3a(0x14), false, x.0, d, u64::from(i), 1),
        }
    }

    fn lower_set_lane(&mut self, v: Val, a: Val, b: Val, e: u32, i: u32) {
        let in_xmm = self.loc(b).xmm().is_some();
        if in_xmm && e >= 32 && u32::from(self.op(b).w) >= e {
            let x = self.use_xmm(b);
            let d = self.def_xmm_from(v, a);
            match (e, i) {
                (64, 0) => self.asm.sse(Opc::new(0xf2, 1, 0x10), d, x),
                (64, _) => self.asm.sse(PUNPCKLQDQ, d, x),
                _ => self.asm.sse_i(p3a(0x21), d, x, (i << 4) as u8),
            }
            return;
        }
        let r = self.use_gpr(b);
        let d = self.def_xmm_from(v, a);
        match e {
            64 => self.asm.ins(p3a(0x22), true, d.0, r, u64::from(i), 1),
            32 => self.asm.ins(p3a(0x22), false, d.0, r, u64::from(i), 1),
            16 => self.asm.ins(p66(0xc4), false, d.0, r, u64::from(i), 1),
            _ => self.asm.ins(p3a(0x20), false, d.0, r, u64::from(i), 1),
        }
    }

    /// The constants that the block loads, behind its code.
    pub fn emit_constants(&mut self) {
        if self.constants.is_empty() {
            return;
        }
        self.asm.align(16);
        while let Some((_, k)) = self.constants.first().copied() {
            let at = self.asm.pos();
            self.asm.data(k);
            let mut j = 0;
            while j < self.constants.len() {
                if self.constants[j].1 == k {
                    let (f, _) = self.constants.swap_remove(j);
                    self.asm.bind_to(f, at);
                } else {
                    j += 1;
                }
            }
            if self.asm.full() {
                break;
            }
        }
        self.constants.clear();
    }
}
