//! Instructions on general registers, memory and flags, and those that change control, by their names.

use super::{Alu, Asm, Cc, F7, Fixup, Gpr, Mem, Opc, RBP, RSP, Rm, Sh};

impl Asm {
    // Moves.

    pub fn mov_rr(&mut self, w: bool, d: Gpr, s: Gpr) {
        self.ins(Opc::one(0x8b), w, d.0, s, 0, 0);
    }
    /// Sets a register without touching the flags, in the shortest form.
    pub fn mov_ri(&mut self, d: Gpr, v: u64) {
        let (low, high) = (u64::from(d.0 & 7), u64::from(d.0 >> 3));
        let Some(mut at) = self.cursor() else { return };
        if v >> 32 == 0 {
            if high != 0 {
                at.put(0x41, 1);
            }
            at.put(0xb8 | low | v << 8, 5);
        } else if v as i64 == i64::from(v as i32) {
            at.put(0x48 | high | 0xc7 << 8 | (0xc0 | low) << 16, 3);
            at.put(v, 4);
        } else {
            at.put(0x48 | high | (0xb8 | low) << 8, 2);
            at.put(v, 8);
        }
        self.advance(&at);
    }
    /// Zero-extending load of `size` bytes.
    pub fn load(&mut self, size: u32, d: Gpr, m: Mem) {
        match size {
            1 => self.ins(Opc::two(0xb6), false, d.0, m, 0, 0),
            2 => self.ins(Opc::two(0xb7), false, d.0, m, 0, 0),
            4 => self.ins(Opc::one(0x8b), false, d.0, m, 0, 0),
            _ => self.mov64(0x8b, d, m),
        }
    }
    pub fn store(&mut self, size: u32, m: Mem, s: Gpr) {
        match size {
            1 => self.ins(Opc::one(0x88).byte_reg(), false, s.0, m, 0, 0),
            2 => self.ins(Opc::new(0x66, 0, 0x89), false, s.0, m, 0, 0),
            4 => self.ins(Opc::one(0x89), false, s.0, m, 0, 0),
            _ => self.mov64(0x89, s, m),
        }
    }
    /// MOV of a 64-bit register to (0x89) or from (0x8b) memory. Guest state and the frame, which most of these are about, take one
    /// store to write.
    #[inline(never)]
    fn mov64(&mut self, opcode: u64, r: Gpr, m: Mem) {
        let disp = u64::from(m.disp as u32);
        if m.is_at(RBP) {
            let head = Self::HEADS[usize::from(r.0 & 15)] | opcode << 8 | 5 << 16 | disp << 24;
            if m.is_near() { self.word(head, 4) } else { self.word(head ^ 0xc0 << 16, 7) }
        } else if m.is_at(RSP) && m.disp != 0 {
            let head = Self::HEADS[usize::from(r.0 & 15)] | opcode << 8 | 0x24_04 << 16 | disp << 32;
            if m.is_near() { self.word(head, 5) } else { self.word(head ^ 0xc0 << 16, 8) }
        } else {
            self.ins(Opc::one(opcode as u8), true, r.0, m, 0, 0);
        }
    }
    /// By register: the REX prefix, and ModRM's middle field for a displacement of one byte.
    const HEADS: [u64; 16] = {
        let mut heads = [0; 16];
        let mut r = 0;
        while r < 16 {
            heads[r] = (0x48 | (r as u64 >> 3) << 2) | (0x40 | (r as u64 & 7) << 3) << 16;
            r += 1;
        }
        heads
    };
    /// Stores a constant (sign-extended to 64 bits when `size` is 8).
    #[inline(never)]
    pub fn store_imm(&mut self, size: u32, m: Mem, v: i32) {
        let imm = u64::from(v as u32);
        if size == 4 {
            // Most frequent, as with `mov64`.
            let disp = u64::from(m.disp as u32);
            if m.is_at(RBP) && m.is_near() {
                return self.word(0x45c7 | (disp & 0xff) << 16 | imm << 24, 7);
            }
            if m.is_at(RBP) {
                let Some(mut at) = self.cursor() else { return };
                at.put(0x85c7 | disp << 16, 6);
                at.put(imm, 4);
                return self.advance(&at);
            }
            if m.is_at(RSP) && m.is_near() && m.disp != 0 {
                return self.word(0x24_44c7 | (disp & 0xff) << 24 | imm << 32, 8);
            }
        }
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
    /// `op dword/qword [m], v` with a one-byte constant.
    pub fn alu_i_mem(&mut self, op: Alu, w: bool, m: Mem, v: i8) {
        if !m.is_at(RBP) {
            self.ins(Opc::one(0x83), w, op as u8, m, v as u64, 1);
            return;
        }
        // Every block begins with two of these.
        let (disp, v) = (u64::from(m.disp as u32), u64::from(v as u8));
        let head = 0x83 | (5 | (op as u64) << 3) << 8;
        let (insn, len) = if m.is_near() {
            (head | 0x40 << 8 | (disp & 0xff) << 16 | v << 24, 4)
        } else {
            (head | 0x80 << 8 | disp << 16 | v << 48, 7)
        };
        if w { self.word(0x48 | insn << 8, len + 1) } else { self.word(insn, len) }
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
        self.word(0x9f, 1);
    }
    pub fn sahf(&mut self) {
        self.raw(&[0x9e]);
    }
    pub fn cmc(&mut self) {
        self.word(0xf5, 1);
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
        self.word(0x800f | u64::from(cc.0) << 8, 6);
        Fixup((self.pos.max(4) - 4) as u32)
    }
    pub fn jmp(&mut self) -> Fixup {
        self.word(0xe9, 5);
        Fixup((self.pos.max(4) - 4) as u32)
    }
    pub fn call(&mut self) -> Fixup {
        self.word(0xe8, 5);
        Fixup((self.pos.max(4) - 4) as u32)
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
        self.word(u64::from(0x48 | (d.0 >> 3) << 2) | 0x8d00 | u64::from((d.0 & 7) << 3 | 5) << 16, 7);
        Fixup((self.pos.max(4) - 4) as u32)
    }
    /// Fills up to a multiple of `n`, at most 16, with `int3`.
    pub fn align(&mut self, n: usize) {
        let gap = self.pos.next_multiple_of(n) - self.pos;
        if gap != 0
            && let Some(mut at) = self.cursor()
        {
            const INT3: u64 = 0xcccc_cccc_cccc_cccc;
            at.put(INT3, gap.min(8));
            at.put(INT3, gap.saturating_sub(8));
            self.advance(&at);
        }
    }

    /// Goes on at the next line of the processor's caches, through instructions that do nothing, if that is at most `most` bytes away.
    pub fn skip_end_of_line(&mut self, most: usize) {
        const LINE: usize = 64;
        /// Of one to eight bytes, as processors' makers recommend them.
        const NOPS: [u64; 8] = [0x90, 0x9066, 0x1f_0f, 0x40_1f0f, 0x44_1f0f, 0x441f_0f66, 0x80_1f0f, 0x84_1f0f];
        let mut gap = self.pos.next_multiple_of(LINE) - self.pos;
        while gap != 0 && gap <= most {
            let size = gap.min(NOPS.len());
            self.word(NOPS[size - 1], size);
            gap -= size;
        }
    }

    // Atomics, ordering, control registers.

    pub fn lock(&mut self) {
        self.word(0xf0, 1);
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
}
