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

/// No index is written like RSP, which can be none.
const NO_INDEX: u8 = RSP.0;

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
    /// It is `base + disp`, for that base: one comparison.
    #[inline(always)]
    const fn is_at(self, base: Gpr) -> bool {
        u16::from_le_bytes([self.base.0, self.index]) == u16::from_le_bytes([base.0, NO_INDEX])
    }
    /// The displacement fits one byte.
    #[inline(always)]
    const fn is_near(self) -> bool {
        self.disp == self.disp as i8 as i32
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
pub struct Opc(u32);

impl Opc {
    #[must_use]
    pub const fn new(prefix: u8, map: u8, byte: u8) -> Self {
        Self((prefix as u32) << 16 | (map as u32) << 8 | byte as u32)
    }
    const fn one(byte: u8) -> Self {
        Self::new(0, 0, byte)
    }
    const fn two(byte: u8) -> Self {
        Self::new(0, 1, byte)
    }
    /// The `reg` operand is an 8-bit register: SPL..DIL need a REX prefix.
    const fn byte_reg(self) -> Self {
        Self(self.0 | 1 << 24)
    }
    /// The `r/m` operand, if a register, is an 8-bit one.
    const fn byte_rm(self) -> Self {
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

/// All of an instruction but its mandatory prefix, its operand in a register or memory and the constant's value, packed so that it travels in
/// a register: the REX prefix's bits (0x40 if it is needed in any case) and the opcode bytes, the first lowest (32 bits); how many with the
/// prefix (4 bits); bytes of the constant (4 bits); ModRM's middle field in its place (from bit 48).
#[derive(Clone, Copy)]
struct Form(u64);

impl Form {
    const fn modrm(self) -> u64 {
        self.0 >> 48
    }
    const fn imm_len(self) -> usize {
        (self.0 >> 36 & 15) as usize
    }
    /// All before ModRM, and how many bytes that is; `xb` are X and B of the REX prefix.
    #[inline(always)]
    const fn head(self, xb: u8) -> (u64, usize) {
        let bytes = self.0 | xb as u64;
        let none = bytes as u8 == 0;
        ((bytes | 0x40) >> (none as u32 * 8), (self.0 >> 32 & 15) as usize - none as usize)
    }
}

/// Longest instruction, and what has to be free for one to be written: all stores are of eight bytes.
const ROOM: usize = 32;
/// The same for the instructions of one [`Asm::tlb_probe`].
const PROBE_ROOM: usize = 96;

/// The parts of a look into the software TLB; offsets are from RBP.
#[derive(Clone, Copy)]
pub(super) struct TlbProbe<'a> {
    pub va: Gpr,
    /// The entry's byte offset, then its addend.
    pub t: Gpr,
    /// What the tag must be.
    pub u: Gpr,
    /// Whether there is RORX.
    pub rorx: bool,
    /// Right shift from address to byte offset, and which bits of it count.
    pub shift: u8,
    pub mask: u32,
    /// From `va` to the byte whose page must be the entry's, at most 127; the bits of its address that must be the tag's.
    pub last: u8,
    pub tag_bits: i32,
    /// Offsets of the tags to compare with, and of the addend, in the first entry.
    pub tags: &'a [i32],
    pub addend: i32,
}

/// Where the bytes of one instruction go, inside the buffer. At most as many bytes may be touched as it was made with.
struct Cursor(*mut u8);

impl Cursor {
    /// Writes eight bytes of which the lowest `n` count.
    #[inline(always)]
    fn put(&mut self, v: u64, n: usize) {
        // SAFETY: a cursor is made with enough bytes free for what is written through it, eight more than count included.
        unsafe {
            self.0.cast::<u64>().write_unaligned(v.to_le());
            self.0 = self.0.add(n);
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

    /// Where the next instruction goes. `None`: the buffer is full.
    #[inline(always)]
    fn cursor(&mut self) -> Option<Cursor> {
        self.cursor_for(ROOM)
    }
    #[inline(always)]
    fn cursor_for(&mut self, room: usize) -> Option<Cursor> {
        if self.pos + room > self.cap {
            self.full = true;
            return None;
        }
        // SAFETY: `pos` is inside the buffer.
        Some(Cursor(unsafe { self.base.add(self.pos) }))
    }
    #[inline(always)]
    fn advance(&mut self, to: &Cursor) {
        self.pos = to.0 as usize - self.base as usize;
    }
    /// At most eight bytes, the lowest first.
    #[inline(always)]
    fn word(&mut self, v: u64, n: usize) {
        if let Some(mut at) = self.cursor() {
            at.put(v, n);
            self.advance(&at);
        }
    }

    /// Tells the processor that the lines of which a block of usual size is the next to take some will be written: code memory is fresh,
    /// and each line would have to be waited for.
    pub fn prefetch(&self) {
        const LINE: usize = 64;
        // Those before were announced by the block before.
        for line in 4..12 {
            let at = self.pos + line * LINE;
            if at < self.cap {
                // SAFETY: a prefetch changes nothing, and the address is inside the buffer.
                unsafe {
                    core::arch::asm!("prefetchw [{}]", in(reg) self.base.add(at), options(nostack, preserves_flags))
                };
            }
        }
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

    /// ModRM for a memory operand, SIB and displacement, and how many bytes they are. `reg` is ModRM's middle field in its place. Made of
    /// choices, not of branches: operands differ too much from one to the next for these to be foreseen.
    #[inline(always)]
    fn operand(reg: u64, m: Mem) -> (u64, usize) {
        if m.is_at(RBP) {
            // But guest state and the runtime, which most of them are.
            let (md, len) = if m.is_near() { (0x40, 2) } else { (0x80, 5) };
            return (md | reg | 5 | u64::from(m.disp as u32) << 8, len);
        }
        let base = u64::from(m.base.0 & 7);
        // RBP and R13 have no form without displacement, RSP and R12 none without SIB.
        let some = usize::from(m.disp != 0 || base == 5);
        let (md, len) = if m.is_near() { ((some as u64) << 6, some) } else { (0x80, 4) };
        let sib = usize::from(m.index != NO_INDEX || base == 4);
        let scaled = u64::from(m.scale) << 6 | u64::from(m.index & 7) << 3 | base;
        let rm = if sib != 0 { 4 | scaled << 8 } else { base };
        (md | reg | rm | u64::from(m.disp as u32) << (8 + 8 * sib), 1 + sib + len)
    }

    /// The generic instruction: `imm_len` bytes of `imm` follow.
    #[inline(always)]
    pub fn ins(&mut self, op: Opc, w: bool, reg: u8, rm: impl Into<Rm>, imm: u64, imm_len: usize) {
        let rm = rm.into();
        let force =
            (op.0 & 1 << 24 != 0 && (4..8).contains(&reg)) || (op.0 & 1 << 25 != 0 && matches!(rm, Rm::Reg(4..=7)));
        let byte = op.0 & 0xff;
        let (opcode, len) = match (op.0 >> 8) as u8 {
            0 => (byte, 2),
            1 => (0x0f | byte << 8, 3),
            2 => (0x380f | byte << 16, 4),
            _ => (0x3a0f | byte << 16, 4),
        };
        let rex = u64::from(w) << 3 | u64::from(reg >> 3) << 2 | u64::from(force) << 6;
        let form = Form(rex | u64::from(opcode) << 8 | len << 32 | (imm_len as u64) << 36 | u64::from(reg & 7) << 51);
        let prefix = (op.0 >> 16) as u8;
        if prefix != 0 {
            self.prefix(prefix);
        }
        match rm {
            Rm::Reg(r) => self.encode_reg(form, r, imm),
            Rm::Mem(m) => self.encode_mem(form, m, imm),
            Rm::Rip => self.encode_rip(form, imm),
        }
    }

    #[inline(never)]
    fn prefix(&mut self, byte: u8) {
        self.word(byte.into(), 1);
    }

    #[inline(never)]
    fn encode_reg(&mut self, form: Form, rm: u8, imm: u64) {
        let Some(mut at) = self.cursor() else { return };
        let (head, len) = form.head(rm >> 3);
        at.put(head, len);
        at.put(0xc0 | form.modrm() | u64::from(rm & 7) | imm << 8, 1 + form.imm_len());
        self.advance(&at);
    }

    #[inline(never)]
    fn encode_mem(&mut self, form: Form, m: Mem, imm: u64) {
        let Some(mut at) = self.cursor() else { return };
        let (head, len) = form.head(Self::rex_xb(m));
        at.put(head, len);
        let (operand, len) = Self::operand(form.modrm(), m);
        at.put(operand, len);
        at.put(imm, form.imm_len());
        self.advance(&at);
    }

    #[inline(never)]
    fn encode_rip(&mut self, form: Form, imm: u64) {
        let Some(mut at) = self.cursor() else { return };
        let (head, len) = form.head(0);
        at.put(head, len);
        at.put(form.modrm() | 5, 5);
        at.put(imm, form.imm_len());
        self.advance(&at);
    }

    /// X and B of the REX prefix.
    #[inline(always)]
    fn rex_xb(m: Mem) -> u8 {
        m.index >> 3 << 1 | m.base.0 >> 3
    }

    /// The generic VEX instruction (128-bit or scalar): `reg`, `vvvv`, `rm`.
    #[inline]
    pub fn vex(&mut self, op: Opc, w: bool, reg: u8, vvvv: u8, rm: impl Into<Rm>, imm: Option<u8>) {
        let rm = rm.into();
        let pp = match (op.0 >> 16) as u8 {
            0x66 => 1,
            0xf3 => 2,
            0xf2 => 3,
            _ => 0,
        };
        let map = (op.0 >> 8) as u8;
        let xb = match rm {
            Rm::Reg(r) => r >> 3,
            Rm::Rip => 0,
            Rm::Mem(m) => Self::rex_xb(m),
        };
        let second = (((reg >> 3) << 2 | xb) ^ 7) << 5 | map;
        let third = u8::from(w) << 7 | (vvvv ^ 15) << 3 | pp;
        let Some(mut at) = self.cursor() else { return };
        at.put(0xc4 | u64::from(second) << 8 | u64::from(third) << 16 | u64::from(op.0 & 0xff) << 24, 4);
        let middle = u64::from(reg & 7) << 3;
        match rm {
            Rm::Reg(r) => at.put(0xc0 | middle | u64::from(r & 7), 1),
            Rm::Rip => at.put(middle | 5, 5),
            Rm::Mem(m) => {
                let (operand, len) = Self::operand(middle, m);
                at.put(operand, len);
            }
        }
        if let Some(imm) = imm {
            at.put(imm.into(), 1);
        }
        self.advance(&at);
    }

    /// Emits a look into the software TLB, and gives the jumps away. It stands in front of most accesses: its instructions are laid out here,
    /// as [`Asm::ins`] would, since that takes several times as long.
    pub(super) fn tlb_probe(&mut self, p: &TlbProbe<'_>) -> [Option<Fixup>; 3] {
        let mut misses = [None; 3];
        debug_assert!(p.tags.len() <= 2 && p.last < 128 && p.tags.iter().chain([&p.addend]).all(|d| *d > 127));
        debug_assert!(p.mask > 127 && p.tag_bits < -128);
        let base = self.base as usize;
        let Some(mut at) = self.cursor_for(PROBE_ROOM) else { return [Some(Fixup(0)), None, None] };
        let low = |r: Gpr| u64::from(r.0 & 7);
        let high = |r: Gpr| u64::from(r.0 >> 3);
        let (va, t, u) = (p.va, p.t, p.u);
        let shift = u64::from(p.shift);
        if p.rorx {
            let second = (high(t) << 7 | high(va) << 5) ^ 0xe3;
            let modrm = 0xc0 | low(t) << 3 | low(va);
            at.put(0xc4 | second << 8 | 0xf0fb << 16 | modrm << 32 | shift << 40, 6);
        } else {
            at.put((0x48 | high(t) << 2 | high(va)) | 0x8b << 8 | (0xc0 | low(t) << 3 | low(va)) << 16, 3);
            at.put((0x48 | high(t)) | 0xc1 << 8 | (0xe8 | low(t)) << 16 | shift << 24, 4);
        }
        // AND t, mask
        if t.0 >= 8 {
            at.put(0x41, 1);
        }
        at.put(0x81 | (0xe0 | low(t)) << 8 | u64::from(p.mask) << 16, 6);
        let rex = 0x48 | high(u) << 2 | high(va);
        if p.last == 0 {
            at.put(rex | 0x8b << 8 | (0xc0 | low(u) << 3 | low(va)) << 16, 3);
        } else {
            at.put(rex | 0x8d << 8 | (0x40 | low(u) << 3 | low(va)) << 16, 3);
            if low(va) == 4 {
                at.put(0x24, 1);
            }
            at.put(u64::from(p.last), 1);
        }
        at.put((0x48 | high(u)) | 0x81 << 8 | (0xe0 | low(u)) << 16 | u64::from(p.tag_bits as u32) << 24, 7);
        let sib = low(t) << 3 | 5;
        let table = |opcode: u64, reg: Gpr| {
            (0x48 | high(reg) << 2 | high(t) << 1) | opcode << 8 | (0x84 | low(reg) << 3) << 16 | sib << 24
        };
        for (miss, tag) in misses.iter_mut().zip(p.tags) {
            at.put(table(0x3b, u) | u64::from(*tag as u32) << 32, 8);
            at.put(0x850f, 6);
            *miss = Some(Fixup((at.0 as usize - base - 4) as u32));
        }
        at.put(table(0x8b, t) | u64::from(p.addend as u32) << 32, 8);
        self.advance(&at);
        misses
    }

    /// At most 16 bytes.
    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        let Some(mut at) = self.cursor() else { return };
        for &x in bytes {
            at.put(x.into(), 1);
        }
        self.advance(&at);
    }

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
