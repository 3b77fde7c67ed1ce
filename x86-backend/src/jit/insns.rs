//! The instructions translated code is made of: short names for rows of the emitter's table.

use super::asm::{Alu, Asm, Bytes, Cc, F7, Fixup, Gpr, Mem, Opc, Rm, Sh, Xmm};

impl Asm {
    // Moves.

    pub fn mov_rr(&mut self, w: bool, d: Gpr, s: Gpr) {
        self.ins(Opc::one(0x8b), w, d.0, s, 0, 0);
    }
    /// Sets a register without touching the flags, in the shortest form.
    pub fn mov_ri(&mut self, d: Gpr, v: u64) {
        let mut b = Bytes::new();
        if let Ok(v) = u32::try_from(v) {
            if d.0 >= 8 {
                b.put(0x41);
            }
            b.put(0xb8 | (d.0 & 7));
            b.imm(u64::from(v), 4);
        } else if v as i64 == i64::from(v as i32) {
            b.put(0x48 | d.0 >> 3);
            b.put(0xc7);
            b.put(0xc0 | (d.0 & 7));
            b.imm(v, 4);
        } else {
            b.put(0x48 | d.0 >> 3);
            b.put(0xb8 | (d.0 & 7));
            b.imm(v, 8);
        }
        self.flush(&b);
    }
    /// Zero-extending load of `size` bytes.
    pub fn load(&mut self, size: u32, d: Gpr, m: Mem) {
        match size {
            1 => self.ins(Opc::two(0xb6), false, d.0, m, 0, 0),
            2 => self.ins(Opc::two(0xb7), false, d.0, m, 0, 0),
            4 => self.ins(Opc::one(0x8b), false, d.0, m, 0, 0),
            _ => self.ins(Opc::one(0x8b), true, d.0, m, 0, 0),
        }
    }
    pub fn store(&mut self, size: u32, m: Mem, s: Gpr) {
        match size {
            1 => self.ins(Opc::one(0x88).byte_reg(), false, s.0, m, 0, 0),
            2 => self.ins(Opc::new(0x66, 0, 0x89), false, s.0, m, 0, 0),
            4 => self.ins(Opc::one(0x89), false, s.0, m, 0, 0),
            _ => self.ins(Opc::one(0x89), true, s.0, m, 0, 0),
        }
    }
    /// Stores a constant (sign-extended to 64 bits when `size` is 8).
    pub fn store_imm(&mut self, size: u32, m: Mem, v: i32) {
        let imm = u64::from(v as u32);
        match size {
            1 => self.ins(Opc::one(0xc6), false, 0, m, imm, 1),
            2 => self.ins(Opc::new(0x66, 0, 0xc7), false, 0, m, imm, 2),
            4 => self.ins(Opc::one(0xc7), false, 0, m, imm, 4),
            _ => self.ins(Opc::one(0xc7), true, 0, m, imm, 4),
        }
    }
    /// Zero-extends the low `bits` (8, 16, 32).
    pub fn movzx(&mut self, bits: u32, d: Gpr, s: Gpr) {
        match bits {
            8 => self.ins(Opc::two(0xb6).byte_rm(), false, d.0, s, 0, 0),
            16 => self.ins(Opc::two(0xb7), false, d.0, s, 0, 0),
            _ => self.mov_rr(false, d, s),
        }
    }
    /// Sign-extends the low `bits` (8, 16, 32) to 32 or 64 bits.
    pub fn movsx(&mut self, bits: u32, w: bool, d: Gpr, s: impl Into<Rm>) {
        match bits {
            8 => self.ins(Opc::two(0xbe).byte_rm(), w, d.0, s, 0, 0),
            16 => self.ins(Opc::two(0xbf), w, d.0, s, 0, 0),
            _ => self.ins(Opc::one(0x63), w, d.0, s, 0, 0),
        }
    }
    pub fn lea(&mut self, w: bool, d: Gpr, m: Mem) {
        self.ins(Opc::one(0x8d), w, d.0, m, 0, 0);
    }
    pub fn xchg_rr(&mut self, w: bool, a: Gpr, b: Gpr) {
        self.ins(Opc::one(0x87), w, a.0, b, 0, 0);
    }
    pub fn push(&mut self, r: Gpr) {
        if r.0 >= 8 { self.raw(&[0x41, 0x50 | (r.0 & 7)]) } else { self.raw(&[0x50 | r.0]) }
    }
    pub fn pop(&mut self, r: Gpr) {
        if r.0 >= 8 { self.raw(&[0x41, 0x58 | (r.0 & 7)]) } else { self.raw(&[0x58 | r.0]) }
    }

    // Arithmetic and logic.

    pub fn alu(&mut self, op: Alu, w: bool, d: Gpr, s: impl Into<Rm>) {
        self.ins(Opc::one((op as u8) << 3 | 3), w, d.0, s, 0, 0);
    }
    pub fn alu_i(&mut self, op: Alu, w: bool, d: impl Into<Rm>, v: i32) {
        if v == i32::from(v as i8) {
            self.ins(Opc::one(0x83), w, op as u8, d, v as u64, 1);
        } else {
            self.ins(Opc::one(0x81), w, op as u8, d, v as u64, 4);
        }
    }
    /// `op dword [m], v` with a one-byte constant.
    pub fn alu_i_mem32(&mut self, op: Alu, m: Mem, v: i8) {
        self.ins(Opc::one(0x83), false, op as u8, m, v as u64, 1);
    }
    /// With 8- or 16-bit operands (for flags).
    pub fn alu_n(&mut self, op: Alu, bits: u32, d: Gpr, s: Gpr) {
        match bits {
            8 => self.ins(Opc::one((op as u8) << 3 | 2).byte_reg().byte_rm(), false, d.0, s, 0, 0),
            16 => self.ins(Opc::new(0x66, 0, (op as u8) << 3 | 3), false, d.0, s, 0, 0),
            n => self.alu(op, n == 64, d, s),
        }
    }
    /// `op dword/qword [m], s`
    pub fn alu_mr(&mut self, op: Alu, w: bool, m: Mem, s: Gpr) {
        self.ins(Opc::one((op as u8) << 3 | 1), w, s.0, m, 0, 0);
    }
    pub fn test_rr(&mut self, w: bool, a: Gpr, b: Gpr) {
        self.ins(Opc::one(0x85), w, b.0, a, 0, 0);
    }
    pub fn test_n(&mut self, bits: u32, a: Gpr) {
        match bits {
            8 => self.ins(Opc::one(0x84).byte_reg().byte_rm(), false, a.0, a, 0, 0),
            16 => self.ins(Opc::new(0x66, 0, 0x85), false, a.0, a, 0, 0),
            n => self.test_rr(n == 64, a, a),
        }
    }
    pub fn test_ri(&mut self, w: bool, a: Gpr, v: i32) {
        if (0..128).contains(&v) {
            self.ins(Opc::one(0xf6).byte_rm(), false, 0, a, v as u64, 1);
        } else {
            self.ins(Opc::one(0xf7), w, 0, a, u64::from(v as u32), 4);
        }
    }
    pub fn test_mi8(&mut self, m: Mem, v: u8) {
        self.ins(Opc::one(0xf6), false, 0, m, u64::from(v), 1);
    }
    pub fn f7(&mut self, op: F7, w: bool, r: impl Into<Rm>) {
        self.ins(Opc::one(0xf7), w, op as u8, r, 0, 0);
    }
    pub fn imul(&mut self, w: bool, d: Gpr, s: impl Into<Rm>) {
        self.ins(Opc::two(0xaf), w, d.0, s, 0, 0);
    }
    pub fn imul_i(&mut self, w: bool, d: Gpr, s: impl Into<Rm>, v: i32) {
        if v == i32::from(v as i8) {
            self.ins(Opc::one(0x6b), w, d.0, s, v as u64, 1);
        } else {
            self.ins(Opc::one(0x69), w, d.0, s, v as u64, 4);
        }
    }
    /// CDQ or CQO: sign of (E/R)AX into (E/R)DX.
    pub fn sign_rdx(&mut self, w: bool) {
        if w { self.raw(&[0x48, 0x99]) } else { self.raw(&[0x99]) }
    }
    pub fn shift_i(&mut self, op: Sh, w: bool, d: Gpr, n: u8) {
        if n == 1 {
            self.ins(Opc::one(0xd1), w, op as u8, d, 0, 0);
        } else {
            self.ins(Opc::one(0xc1), w, op as u8, d, u64::from(n), 1);
        }
    }
    pub fn shift_cl(&mut self, op: Sh, w: bool, d: Gpr) {
        self.ins(Opc::one(0xd3), w, op as u8, d, 0, 0);
    }
    /// SHLX, SHRX, SARX (BMI2).
    pub fn shiftx(&mut self, op: Sh, w: bool, d: Gpr, s: impl Into<Rm>, n: Gpr) {
        let prefix = match op {
            Sh::Shl => 0x66,
            Sh::Shr => 0xf2,
            _ => 0xf3,
        };
        self.vex(Opc::new(prefix, 2, 0xf7), w, d.0, n.0, s, None);
    }
    /// RORX (BMI2).
    pub fn rorx(&mut self, w: bool, d: Gpr, s: impl Into<Rm>, n: u8) {
        self.vex(Opc::new(0xf2, 3, 0xf0), w, d.0, 0, s, Some(n));
    }
    /// MULX (BMI2): `hi:lo = RDX * s`.
    pub fn mulx(&mut self, w: bool, hi: Gpr, lo: Gpr, s: impl Into<Rm>) {
        self.vex(Opc::new(0xf2, 2, 0xf6), w, hi.0, lo.0, s, None);
    }
    /// ANDN (BMI1): `d = !a & b`.
    pub fn andn(&mut self, w: bool, d: Gpr, a: Gpr, b: impl Into<Rm>) {
        self.vex(Opc::new(0, 2, 0xf2), w, d.0, a.0, b, None);
    }
    /// `d = d >> n` with bits of `s` shifted in from above.
    pub fn shrd(&mut self, w: bool, d: Gpr, s: Gpr, n: u8) {
        self.ins(Opc::two(0xac), w, s.0, d, u64::from(n), 1);
    }
    pub fn bswap(&mut self, w: bool, r: Gpr) {
        let rex = 0x40 | u8::from(w) << 3 | r.0 >> 3;
        self.raw(&[rex, 0x0f, 0xc8 | (r.0 & 7)]);
    }
    pub fn lzcnt(&mut self, w: bool, d: Gpr, s: Gpr) {
        self.ins(Opc::new(0xf3, 1, 0xbd), w, d.0, s, 0, 0);
    }
    pub fn tzcnt(&mut self, w: bool, d: Gpr, s: Gpr) {
        self.ins(Opc::new(0xf3, 1, 0xbc), w, d.0, s, 0, 0);
    }
    pub fn popcnt(&mut self, w: bool, d: Gpr, s: Gpr) {
        self.ins(Opc::new(0xf3, 1, 0xb8), w, d.0, s, 0, 0);
    }
    pub fn bsr(&mut self, w: bool, d: Gpr, s: Gpr) {
        self.ins(Opc::two(0xbd), w, d.0, s, 0, 0);
    }
    pub fn bsf(&mut self, w: bool, d: Gpr, s: Gpr) {
        self.ins(Opc::two(0xbc), w, d.0, s, 0, 0);
    }
    /// Bit `n` to the carry flag.
    pub fn bt_i(&mut self, w: bool, r: Gpr, n: u8) {
        self.ins(Opc::two(0xba), w, 4, r, u64::from(n), 1);
    }

    // Flags and conditions.

    pub fn lahf(&mut self) {
        self.raw(&[0x9f]);
    }
    pub fn sahf(&mut self) {
        self.raw(&[0x9e]);
    }
    pub fn cmc(&mut self) {
        self.raw(&[0xf5]);
    }
    pub fn stc(&mut self) {
        self.raw(&[0xf9]);
    }
    pub fn setcc(&mut self, cc: Cc, r: Gpr) {
        self.ins(Opc::two(0x90 | cc.0).byte_rm(), false, 0, r, 0, 0);
    }
    pub fn cmov(&mut self, cc: Cc, w: bool, d: Gpr, s: impl Into<Rm>) {
        self.ins(Opc::two(0x40 | cc.0), w, d.0, s, 0, 0);
    }
    /// `al += 0x7f`: the overflow flag becomes bit 0 of AL.
    pub fn add_al(&mut self, v: u8) {
        self.raw(&[0x04, v]);
    }

    // Control.

    pub fn jcc(&mut self, cc: Cc) -> Fixup {
        self.raw(&[0x0f, 0x80 | cc.0, 0, 0, 0, 0]);
        Fixup((self.pos().max(4) - 4) as u32)
    }
    pub fn jmp(&mut self) -> Fixup {
        self.raw(&[0xe9, 0, 0, 0, 0]);
        Fixup((self.pos().max(4) - 4) as u32)
    }
    pub fn call(&mut self) -> Fixup {
        self.raw(&[0xe8, 0, 0, 0, 0]);
        Fixup((self.pos().max(4) - 4) as u32)
    }
    pub fn jmp_to(&mut self, target: usize) {
        let f = self.jmp();
        self.bind_to(f, target);
    }
    pub fn jcc_to(&mut self, cc: Cc, target: usize) {
        let f = self.jcc(cc);
        self.bind_to(f, target);
    }
    pub fn call_to(&mut self, target: usize) {
        let f = self.call();
        self.bind_to(f, target);
    }
    pub fn jmp_rm(&mut self, rm: impl Into<Rm>) {
        self.ins(Opc::one(0xff), false, 4, rm, 0, 0);
    }
    pub fn call_rm(&mut self, rm: impl Into<Rm>) {
        self.ins(Opc::one(0xff), false, 2, rm, 0, 0);
    }
    pub fn ret(&mut self) {
        self.raw(&[0xc3]);
    }
    /// `lea d, [rip + x]` with x to be bound.
    pub fn lea_rip(&mut self, d: Gpr) -> Fixup {
        self.raw(&[0x48 | (d.0 >> 3) << 2, 0x8d, (d.0 & 7) << 3 | 5, 0, 0, 0, 0]);
        Fixup((self.pos().max(4) - 4) as u32)
    }
    /// Fills up to a multiple of `n` with `int3`.
    pub fn align(&mut self, n: usize) {
        while !self.pos().is_multiple_of(n) && !self.full() {
            self.raw(&[0xcc]);
        }
    }

    // Atomics, ordering, control registers.

    pub fn lock(&mut self) {
        self.raw(&[0xf0]);
    }
    fn sized(&mut self, size: u32, byte: Opc, wide: Opc, m: Mem, r: Gpr) {
        match size {
            1 => self.ins(byte.byte_reg(), false, r.0, m, 0, 0),
            2 => self.ins(Opc(wide.0 | 0x66 << 16), false, r.0, m, 0, 0),
            n => self.ins(wide, n == 8, r.0, m, 0, 0),
        }
    }
    pub fn xchg_m(&mut self, size: u32, m: Mem, r: Gpr) {
        self.sized(size, Opc::one(0x86), Opc::one(0x87), m, r);
    }
    /// Write the lock prefix first.
    pub fn xadd_m(&mut self, size: u32, m: Mem, r: Gpr) {
        self.sized(size, Opc::two(0xc0), Opc::two(0xc1), m, r);
    }
    pub fn cmpxchg_m(&mut self, size: u32, m: Mem, r: Gpr) {
        self.sized(size, Opc::two(0xb0), Opc::two(0xb1), m, r);
    }
    pub fn cmpxchg16b(&mut self, m: Mem) {
        self.ins(Opc::two(0xc7), true, 1, m, 0, 0);
    }
    pub fn ldmxcsr(&mut self, m: Mem) {
        self.ins(Opc::two(0xae), false, 2, m, 0, 0);
    }
    pub fn stmxcsr(&mut self, m: Mem) {
        self.ins(Opc::two(0xae), false, 3, m, 0, 0);
    }

    // Vectors.

    /// Any two-operand SSE instruction (`reg` is the destination, or the source of a store).
    pub fn sse(&mut self, op: Opc, reg: Xmm, rm: impl Into<Rm>) {
        self.ins(op, false, reg.0, rm, 0, 0);
    }
    pub fn sse_i(&mut self, op: Opc, reg: Xmm, rm: impl Into<Rm>, imm: u8) {
        self.ins(op, false, reg.0, rm, u64::from(imm), 1);
    }
    pub fn movaps(&mut self, d: Xmm, s: Xmm) {
        self.sse(Opc::two(0x28), d, s);
    }
    pub fn movups_load(&mut self, d: Xmm, m: Mem) {
        self.sse(Opc::two(0x10), d, m);
    }
    pub fn movups_store(&mut self, m: Mem, s: Xmm) {
        self.sse(Opc::two(0x11), s, m);
    }
    /// Loads 16 bytes from a place to be bound.
    pub fn movups_rip(&mut self, d: Xmm) -> Fixup {
        let reg = (d.0 & 7) << 3 | 5;
        if d.0 >= 8 {
            self.raw(&[0x44, 0x0f, 0x10, reg, 0, 0, 0, 0]);
        } else {
            self.raw(&[0x0f, 0x10, reg, 0, 0, 0, 0]);
        }
        Fixup((self.pos().max(4) - 4) as u32)
    }
    /// Sixteen bytes of data.
    pub fn data(&mut self, v: u128) {
        self.raw(&v.to_le_bytes());
    }
    /// General register to the low 32 or 64 bits; the rest becomes zero.
    pub fn mov_xr(&mut self, w: bool, d: Xmm, s: Gpr) {
        self.ins(Opc::new(0x66, 1, 0x6e), w, d.0, s, 0, 0);
    }
    pub fn mov_rx(&mut self, w: bool, d: Gpr, s: Xmm) {
        self.ins(Opc::new(0x66, 1, 0x7e), w, s.0, d, 0, 0);
    }
    /// Loads 4 or 8 bytes; the rest becomes zero.
    pub fn load_x(&mut self, size: u32, d: Xmm, m: Mem) {
        if size == 8 {
            self.sse(Opc::new(0xf3, 1, 0x7e), d, m);
        } else {
            self.sse(Opc::new(0x66, 1, 0x6e), d, m);
        }
    }
    pub fn store_x(&mut self, size: u32, m: Mem, s: Xmm) {
        if size == 8 {
            self.sse(Opc::new(0x66, 1, 0xd6), s, m);
        } else {
            self.sse(Opc::new(0x66, 1, 0x7e), s, m);
        }
    }
    /// Copies the low 64 bits; the upper become zero.
    pub fn movq_xx(&mut self, d: Xmm, s: Xmm) {
        self.sse(Opc::new(0xf3, 1, 0x7e), d, s);
    }
}
