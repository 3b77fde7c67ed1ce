//! The x86-64 emitter: writes one instruction at a time straight into the code buffer.
//!
//! An instruction is described by an [`Opc`] (prefix, opcode map, opcode byte) and one generic function lays out
//! prefixes, REX, ModRM, SIB and displacement; [`insns`] and [`vector`] are short names for rows of that table. A full
//! buffer is not an error at each call: emission goes on into nothing and [`Asm::full`] is looked at once, at the end.

mod insns;
mod operands;
mod vector;

use operands::NO_INDEX;
pub use operands::*;

/// Where a rel32 field stands that is filled in later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixup(pub u32);

/// Writes into a buffer it does not own; whoever made it guarantees `cap` writable bytes at `base`. The buffer may have two parts, of
/// which one is written at a time.
pub struct Asm {
    base: *mut u8,
    cap: usize,
    /// Where the next instruction goes, and where the part ends.
    pos: usize,
    end: usize,
    /// The same of the other part.
    other: Part,
    full: bool,
}

/// Where a part of the buffer goes on, and where it ends.
#[derive(Clone, Copy)]
struct Part {
    pos: usize,
    end: usize,
}

/// How far both parts of a buffer are used.
#[derive(Clone, Copy)]
pub struct Mark([usize; 2]);

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
        Self { base, cap, pos: 0, end: cap, other: Part { pos: cap, end: cap }, full: false }
    }
    /// From `at` on the buffer is another part.
    pub fn split(&mut self, at: usize) {
        let at = at.clamp(self.pos, self.cap);
        (self.end, self.other) = (at, Part { pos: at, end: self.cap });
    }
    /// What follows goes into the other part.
    pub fn change_part(&mut self) {
        let Part { pos, end } = core::mem::replace(&mut self.other, Part { pos: self.pos, end: self.end });
        (self.pos, self.end) = (pos, end);
    }
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark([self.pos, self.other.pos])
    }
    /// Forgets what was written since `mark` was taken, of the same part.
    pub fn rewind(&mut self, Mark([pos, other]): Mark) {
        (self.pos, self.other.pos, self.full) = (pos, other, false);
    }
    /// Bytes that both parts have left.
    #[must_use]
    pub fn room(&self) -> usize {
        (self.end - self.pos).min(self.other.end - self.other.pos)
    }
    #[must_use]
    pub fn pos(&self) -> usize {
        self.pos
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
        let to = to.min(self.cap);
        let from = from.min(to);
        // SAFETY: inside the buffer, whose bytes all have values.
        unsafe { core::slice::from_raw_parts(self.base.add(from), to - from) }
    }

    /// Where the next instruction goes. `None`: the buffer is full.
    #[inline(always)]
    fn cursor(&mut self) -> Option<Cursor> {
        self.cursor_for(ROOM)
    }
    #[inline(always)]
    fn cursor_for(&mut self, room: usize) -> Option<Cursor> {
        if self.pos + room > self.end {
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
        for pos in [self.pos, self.other.pos] {
            for line in 2..6 {
                let at = pos + line * LINE;
                if at < self.cap {
                    // SAFETY: a prefetch changes nothing, and the address is inside the buffer.
                    unsafe {
                        core::arch::asm!("prefetchw [{}]", in(reg) self.base.add(at), options(nostack, preserves_flags))
                    };
                }
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
}
