//! The x86-64 emitter: writes one instruction at a time straight into the code buffer.
//!
//! An instruction is described by an [`Opc`] (prefix, opcode map, opcode byte) and one generic function lays out
//! prefixes, REX, ModRM, SIB and displacement; everything else here is a short name for a row of that table. A full
//! buffer is not an error at each call: emission goes on into nothing and [`Asm::full`] is looked at once, at the end.

/// A general-purpose register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gpr(pub u8);

pub const RAX: Gpr = Gpr(0);
pub const RCX: Gpr = Gpr(1);
pub const RDX: Gpr = Gpr(2);
pub const RBX: Gpr = Gpr(3);
pub const RSP: Gpr = Gpr(4);
pub const RBP: Gpr = Gpr(5);
pub const RSI: Gpr = Gpr(6);
pub const RDI: Gpr = Gpr(7);
pub const R8: Gpr = Gpr(8);
pub const R9: Gpr = Gpr(9);
pub const R10: Gpr = Gpr(10);
pub const R11: Gpr = Gpr(11);
pub const R12: Gpr = Gpr(12);
pub const R13: Gpr = Gpr(13);
pub const R14: Gpr = Gpr(14);
pub const R15: Gpr = Gpr(15);

/// A vector register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Xmm(pub u8);

const NO_INDEX: u8 = 0xff;

/// A memory operand: `base + index << scale + disp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mem {
    pub base: Gpr,
    index: u8,
    scale: u8,
    pub disp: i32,
}

impl Mem {
    #[must_use]
    pub const fn new(base: Gpr, disp: i32) -> Self {
        Self { base, index: NO_INDEX, scale: 0, disp }
    }
    #[must_use]
    pub const fn offset(self, by: i32) -> Self {
        Self { disp: self.disp + by, ..self }
    }
    /// `index` must not be RSP.
    #[must_use]
    pub const fn indexed(base: Gpr, index: Gpr, scale: u8, disp: i32) -> Self {
        Self { base, index: index.0, scale, disp }
    }
}

/// The operand that ModRM's r/m field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rm {
    Reg(u8),
    Mem(Mem),
    /// RIP-relative; the displacement is bound later ([`Asm::last_rip`]).
    Rip,
}

impl From<Gpr> for Rm {
    fn from(r: Gpr) -> Self {
        Rm::Reg(r.0)
    }
}
impl From<Xmm> for Rm {
    fn from(r: Xmm) -> Self {
        Rm::Reg(r.0)
    }
}
impl From<Mem> for Rm {
    fn from(m: Mem) -> Self {
        Rm::Mem(m)
    }
}

/// Mandatory prefix, opcode map (0 one byte, 1 `0f`, 2 `0f 38`, 3 `0f 3a`), opcode byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opc(pub(super) u32);

impl Opc {
    #[must_use]
    pub const fn new(prefix: u8, map: u8, byte: u8) -> Self {
        Self((prefix as u32) << 16 | (map as u32) << 8 | byte as u32)
    }
    pub(super) const fn one(byte: u8) -> Self {
        Self::new(0, 0, byte)
    }
    pub(super) const fn two(byte: u8) -> Self {
        Self::new(0, 1, byte)
    }
    /// The `reg` operand is an 8-bit register: SPL..DIL need a REX prefix.
    pub(super) const fn byte_reg(self) -> Self {
        Self(self.0 | 1 << 24)
    }
    /// The `r/m` operand, if a register, is an 8-bit one.
    pub(super) const fn byte_rm(self) -> Self {
        Self(self.0 | 1 << 25)
    }
}

/// Condition codes as in `jcc`; the complement is `cc ^ 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cc(pub u8);

impl Cc {
    pub const O: Self = Self(0);
    pub const NO: Self = Self(1);
    pub const B: Self = Self(2);
    pub const AE: Self = Self(3);
    pub const E: Self = Self(4);
    pub const NE: Self = Self(5);
    pub const BE: Self = Self(6);
    pub const A: Self = Self(7);
    pub const S: Self = Self(8);
    pub const NS: Self = Self(9);
    pub const P: Self = Self(10);
    pub const NP: Self = Self(11);
    pub const L: Self = Self(12);
    pub const GE: Self = Self(13);
    pub const LE: Self = Self(14);
    pub const G: Self = Self(15);

    #[must_use]
    pub const fn not(self) -> Self {
        Self(self.0 ^ 1)
    }
    /// The condition that holds for (b, a) when this one holds for (a, b), for comparisons.
    #[must_use]
    pub const fn swapped(self) -> Self {
        match self {
            Self::B => Self::A,
            Self::A => Self::B,
            Self::AE => Self::BE,
            Self::BE => Self::AE,
            Self::L => Self::G,
            Self::G => Self::L,
            Self::GE => Self::LE,
            Self::LE => Self::GE,
            other => other,
        }
    }
}

/// The eight classic two-operand instructions, by their opcode row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Alu {
    Add = 0,
    Or = 1,
    Adc = 2,
    Sbb = 3,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts and rotates, by their ModRM extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sh {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// The `f7` group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum F7 {
    Not = 2,
    Neg = 3,
    Mul = 4,
    Imul = 5,
    Div = 6,
    Idiv = 7,
}

/// Where a rel32 field stands that is filled in later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixup(pub u32);

/// Writes into a buffer it does not own; whoever made it guarantees `cap` writable bytes at `base`.
pub struct Asm {
    base: *mut u8,
    pos: usize,
    cap: usize,
    full: bool,
}

pub(super) struct Bytes {
    buf: [u8; 16],
    len: usize,
}

impl Bytes {
    #[inline]
    pub(super) fn new() -> Self {
        Self { buf: [0; 16], len: 0 }
    }
    #[inline]
    pub(super) fn put(&mut self, b: u8) {
        self.buf[self.len & 15] = b;
        self.len += 1;
    }
    #[inline]
    pub(super) fn imm(&mut self, v: u64, n: usize) {
        for i in 0..n {
            self.put((v >> (8 * i)) as u8);
        }
    }
}

impl Asm {
    /// # Safety
    /// `base` must point to `cap` bytes that stay writable and unshared for the emitter's life.
    #[must_use]
    pub unsafe fn new(base: *mut u8, cap: usize) -> Self {
        Self { base, pos: 0, cap, full: false }
    }
    #[must_use]
    pub fn pos(&self) -> usize {
        self.pos
    }
    pub fn set_pos(&mut self, pos: usize) {
        self.pos = pos.min(self.cap);
        self.full = false;
    }
    #[must_use]
    pub fn full(&self) -> bool {
        self.full
    }
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.cap
    }
    /// Host address of a buffer offset.
    #[must_use]
    pub fn addr(&self, pos: usize) -> u64 {
        self.base as u64 + pos as u64
    }
    /// The bytes emitted in a range, for printing.
    #[must_use]
    pub fn bytes(&self, from: usize, to: usize) -> &[u8] {
        let to = to.min(self.pos);
        let from = from.min(to);
        // SAFETY: `from..to` lies below `pos`, all of it inside the buffer and written.
        unsafe { core::slice::from_raw_parts(self.base.add(from), to - from) }
    }

    #[inline]
    pub(super) fn flush(&mut self, b: &Bytes) {
        if self.pos + 16 > self.cap {
            self.full = true;
            return;
        }
        // SAFETY: 16 bytes at `pos` are inside the buffer (checked above).
        unsafe { core::ptr::copy_nonoverlapping(b.buf.as_ptr(), self.base.add(self.pos), 16) };
        self.pos += b.len;
    }

    /// Overwrites four bytes at a buffer offset.
    pub fn patch32(&mut self, at: usize, v: u32) {
        if at + 4 <= self.cap {
            // SAFETY: the four bytes are inside the buffer.
            unsafe { self.base.add(at).cast::<u32>().write_unaligned(v) };
        }
    }
    #[must_use]
    pub fn read32(&self, at: usize) -> u32 {
        if at + 4 > self.cap {
            return 0;
        }
        // SAFETY: the four bytes are inside the buffer.
        unsafe { self.base.add(at).cast::<u32>().read_unaligned() }
    }
    /// The displacement of the instruction just emitted, which has an [`Rm::Rip`] operand and no immediate.
    #[must_use]
    pub fn last_rip(&self) -> Fixup {
        Fixup((self.pos.max(4) - 4) as u32)
    }
    /// Makes the rel32 field lead to `target` (buffer offset).
    pub fn bind_to(&mut self, f: Fixup, target: usize) {
        if !self.full {
            self.patch32(f.0 as usize, (target as i64 - (i64::from(f.0) + 4)) as u32);
        }
    }
    /// Makes the rel32 field lead here.
    pub fn bind(&mut self, f: Fixup) {
        self.bind_to(f, self.pos);
    }

    #[inline]
    fn modrm(b: &mut Bytes, reg: u8, rm: Rm) {
        let reg = (reg & 7) << 3;
        match rm {
            Rm::Reg(r) => b.put(0xc0 | reg | (r & 7)),
            Rm::Rip => {
                b.put(reg | 5);
                b.imm(0, 4);
            }
            Rm::Mem(m) => {
                let small = m.disp == i32::from(m.disp as i8);
                let md = if m.disp == 0 && m.base.0 & 7 != 5 {
                    0
                } else if small {
                    0x40
                } else {
                    0x80
                };
                if m.index != NO_INDEX {
                    b.put(md | reg | 4);
                    b.put(m.scale << 6 | (m.index & 7) << 3 | (m.base.0 & 7));
                } else if m.base.0 & 7 == 4 {
                    b.put(md | reg | 4);
                    b.put(0x24);
                } else {
                    b.put(md | reg | (m.base.0 & 7));
                }
                match md {
                    0x40 => b.put(m.disp as u8),
                    0x80 => b.imm(u64::from(m.disp as u32), 4),
                    _ => {}
                }
            }
        }
    }

    /// The generic instruction: `imm_len` bytes of `imm` follow.
    #[inline]
    pub fn ins(&mut self, op: Opc, w: bool, reg: u8, rm: impl Into<Rm>, imm: u64, imm_len: usize) {
        let rm = rm.into();
        let mut b = Bytes::new();
        let prefix = (op.0 >> 16) as u8;
        if prefix != 0 {
            b.put(prefix);
        }
        let (x, base) = match rm {
            Rm::Reg(r) => (0, r),
            Rm::Rip => (0, 0),
            Rm::Mem(m) => (if m.index == NO_INDEX { 0 } else { m.index >> 3 }, m.base.0),
        };
        let rex = u8::from(w) << 3 | (reg >> 3) << 2 | x << 1 | base >> 3;
        let force =
            (op.0 & 1 << 24 != 0 && (4..8).contains(&reg)) || (op.0 & 1 << 25 != 0 && matches!(rm, Rm::Reg(4..=7)));
        if rex != 0 || force {
            b.put(0x40 | rex);
        }
        match (op.0 >> 8) as u8 {
            0 => {}
            1 => b.put(0x0f),
            2 => {
                b.put(0x0f);
                b.put(0x38);
            }
            _ => {
                b.put(0x0f);
                b.put(0x3a);
            }
        }
        b.put(op.0 as u8);
        Self::modrm(&mut b, reg, rm);
        b.imm(imm, imm_len);
        self.flush(&b);
    }

    /// The generic VEX instruction (128-bit or scalar): `reg`, `vvvv`, `rm`.
    #[inline]
    pub fn vex(&mut self, op: Opc, w: bool, reg: u8, vvvv: u8, rm: impl Into<Rm>, imm: Option<u8>) {
        let rm = rm.into();
        let mut b = Bytes::new();
        let (x, base) = match rm {
            Rm::Reg(r) => (0, r),
            Rm::Rip => (0, 0),
            Rm::Mem(m) => (if m.index == NO_INDEX { 0 } else { m.index >> 3 }, m.base.0),
        };
        let pp = match (op.0 >> 16) as u8 {
            0x66 => 1,
            0xf3 => 2,
            0xf2 => 3,
            _ => 0,
        };
        let map = (op.0 >> 8) as u8;
        b.put(0xc4);
        b.put(((reg >> 3) ^ 1) << 7 | (x ^ 1) << 6 | ((base >> 3) ^ 1) << 5 | map);
        b.put(u8::from(w) << 7 | (vvvv ^ 15) << 3 | pp);
        b.put(op.0 as u8);
        Self::modrm(&mut b, reg, rm);
        if let Some(i) = imm {
            b.put(i);
        }
        self.flush(&b);
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        let mut b = Bytes::new();
        for &x in bytes {
            b.put(x);
        }
        self.flush(&b);
    }

    /// Replaces the instruction at `at` by a jump.
    pub fn retire_head(&mut self, at: usize, target: usize) {
        let rel = (target as i64 - (at as i64 + 5)) as u32;
        let word = u64::from(rel) << 8 | 0xe9;
        self.patch32(at, word as u32);
        if at + 5 <= self.cap {
            // SAFETY: the fifth byte of the jump is inside the buffer.
            unsafe { self.base.add(at + 4).write((word >> 32) as u8) };
        }
    }
}
