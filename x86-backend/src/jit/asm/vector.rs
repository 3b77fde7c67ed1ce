//! Instructions on vector registers, by their names.

use super::{Asm, Fixup, Gpr, Mem, Opc, Rm, Xmm};

impl Asm {
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
        Fixup((self.pos.max(4) - 4) as u32)
    }
    /// Sixteen bytes of data.
    pub fn data(&mut self, v: u128) {
        self.raw(&v.to_le_bytes());
    }
    /// Replaces bytes of finished code.
    pub fn rewrite(&mut self, at: usize, bytes: &[u8]) {
        if at + bytes.len() <= self.cap {
            // SAFETY: inside the buffer, which is this value's alone.
            unsafe { self.base.add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
    }
    /// Replaces the instruction at `at` by a jump.
    pub fn redirect_head(&mut self, at: usize, target: usize) {
        let rel = (target as i64 - (at as i64 + 5)) as u32;
        let word = u64::from(rel) << 8 | 0xe9;
        self.patch32(at, word as u32);
        if at + 5 <= self.cap {
            // SAFETY: the fifth byte of the jump is inside the buffer.
            unsafe { self.base.add(at + 4).write((word >> 32) as u8) };
        }
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
