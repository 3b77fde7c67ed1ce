//! What instructions of x86-64 are about: registers, memory operands, opcodes, conditions, and rows of the opcode map.

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
pub(super) const NO_INDEX: u8 = RSP.0;

/// A memory operand: `base + index << scale + disp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mem {
    pub base: Gpr,
    pub(super) index: u8,
    pub(super) scale: u8,
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
    pub(super) const fn is_at(self, base: Gpr) -> bool {
        u16::from_le_bytes([self.base.0, self.index]) == u16::from_le_bytes([base.0, NO_INDEX])
    }
    /// The displacement fits one byte.
    #[inline(always)]
    pub(super) const fn is_near(self) -> bool {
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
