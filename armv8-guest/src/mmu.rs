//! Stage 1 address translation of the EL1&0 regime (VMSAv8-64): the page table walk.
//!
//! The walk reads guest memory and registers only; what it finds is cached by the engine, so nothing here is on a hot path.
//! Contiguous hints and cacheability are ignored: they don't change what a translation gives. Access flags are software's
//! business (no hardware update).

use crate::bti;
use crate::isa::{State, features};
use x86_backend::guest::{AccessKind, Mapping, Services};

/// Whose rights an access has. The discriminants are the engine's MMU modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Mode {
    /// EL0, and EL1's unprivileged accesses.
    User = 0,
    Kernel = 1,
    /// EL1 with PSTATE.PAN: data that EL0 can access is out of reach.
    KernelPan = 2,
}

impl Mode {
    #[must_use]
    pub const fn from_index(index: usize) -> Self {
        match index {
            0 => Mode::User,
            1 => Mode::Kernel,
            _ => Mode::KernelPan,
        }
    }
}

/// Why an access failed, as the syndrome reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A table walk or its result; the level is 0 to 3.
    AddressSize(u8),
    Translation(u8),
    AccessFlag(u8),
    Permission(u8),
    /// Nothing answers at the address; or at that of a descriptor of a level.
    External,
    ExternalOnWalk(u8),
    Alignment,
    /// An instruction fetch from an address that isn't a multiple of 4.
    PcAlignment,
}

impl Fault {
    /// Fault status code (DFSC, IFSC, FST).
    #[must_use]
    pub const fn status(self) -> u32 {
        match self {
            Fault::AddressSize(level) => level as u32,
            Fault::Translation(level) => 0x04 | level as u32,
            Fault::AccessFlag(level) => 0x08 | level as u32,
            Fault::Permission(level) => 0x0c | level as u32,
            Fault::External => 0x10,
            Fault::ExternalOnWalk(level) => 0x14 | level as u32,
            Fault::Alignment | Fault::PcAlignment => 0x21,
        }
    }
}

/// SCTLR_EL1 bits.
pub mod sctlr {
    pub const M: u64 = 1 << 0;
    pub const A: u64 = 1 << 1;
    pub const SA: u64 = 1 << 3;
    pub const SA0: u64 = 1 << 4;
    pub const WXN: u64 = 1 << 19;
    pub const SPAN: u64 = 1 << 23;
    pub const NAA: u64 = 1 << 6;
    pub const EN_DB: u64 = 1 << 13;
    pub const EN_DA: u64 = 1 << 27;
    pub const EN_IB: u64 = 1 << 30;
    pub const EN_IA: u64 = 1 << 31;
    pub const BT0: u64 = 1 << 35;
    pub const BT1: u64 = 1 << 36;
    pub const DSSBS: u64 = 1 << 44;
}

/// Physical address bits this machine has.
const PA_BITS: u32 = 48;

/// Descriptor bits.
mod desc {
    pub const VALID: u64 = 1 << 0;
    /// Table (levels 0 to 2) or page (level 3).
    pub const TABLE: u64 = 1 << 1;
    pub const AP_EL0: u64 = 1 << 6;
    pub const AP_READ_ONLY: u64 = 1 << 7;
    pub const AF: u64 = 1 << 10;
    pub const NG: u64 = 1 << 11;
    /// Guarded: indirect branches lead to landing pads only (FEAT_BTI).
    pub const GP: u64 = 1 << 50;
    pub const PXN: u64 = 1 << 53;
    pub const UXN: u64 = 1 << 54;
    pub const PXN_TABLE: u64 = 1 << 59;
    pub const UXN_TABLE: u64 = 1 << 60;
    pub const AP_TABLE_NO_EL0: u64 = 1 << 61;
    pub const AP_TABLE_READ_ONLY: u64 = 1 << 62;
}

/// The registers that control translation.
#[derive(Clone, Copy, Debug)]
pub struct Regime {
    pub sctlr: u64,
    pub tcr: u64,
    pub ttbr0: u64,
    pub ttbr1: u64,
    pub mair: u64,
}

/// A translation with the memory attributes that address translation instructions report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    pub mapping: Mapping,
    /// The MAIR byte, and the shareability field.
    pub attributes: u8,
    pub shareability: u8,
}

/// How one half of the address space is translated.
struct Half {
    table: u64,
    /// log2 of the granule.
    granule: u32,
    /// Bits of input address.
    input_bits: u32,
    /// No walks: every access faults.
    disabled: bool,
    top_byte_ignored: bool,
    hierarchical: bool,
    /// E0PD: unprivileged accesses fault without a walk.
    hidden_from_user: bool,
}

impl Regime {
    #[must_use]
    pub fn of(state: &State) -> Self {
        Self {
            sctlr: state.sctlr_el1,
            tcr: state.tcr_el1,
            ttbr0: state.ttbr0_el1,
            ttbr1: state.ttbr1_el1,
            mair: state.mair_el1,
        }
    }

    fn tcr_bit(&self, bit: u32) -> bool {
        self.tcr >> bit & 1 != 0
    }

    /// The ASID in use: 8 or 16 bits of TTBR0 or TTBR1.
    #[must_use]
    pub fn asid(&self) -> u16 {
        self.asid_in(if self.tcr_bit(22) { self.ttbr1 } else { self.ttbr0 })
    }

    /// The ASID in bits 63:48 of a table base or of a TLB maintenance operand.
    #[must_use]
    pub fn asid_in(&self, operand: u64) -> u16 {
        let asid = (operand >> 48) as u16;
        if self.tcr_bit(36) { asid } else { asid & 0xff }
    }

    /// Whether the top byte of pointers of a half is ignored, for data or for instruction addresses (TBI and TBID).
    #[must_use]
    pub fn tag_ignored(&self, upper: bool, data: bool) -> bool {
        let (tbi, tbid) = if upper { (38, 52) } else { (37, 51) };
        self.tcr_bit(tbi) && (data || !self.tcr_bit(tbid))
    }

    /// Address bits of a half; above them are the bits that translation wants to be all alike.
    #[must_use]
    pub fn input_bits(&self, upper: bool) -> u32 {
        let size_field = if upper { self.tcr >> 16 & 63 } else { self.tcr & 63 } as u32;
        // Values out of range act as the nearest one in it.
        64 - size_field.clamp(16, 39)
    }

    /// `target` as a branch puts it into the PC: without tag.
    #[must_use]
    pub fn branch_address(&self, target: u64) -> u64 {
        let tagged = self.tag_ignored(target >> 55 & 1 != 0, false);
        if tagged { ((target << 8) as i64 >> 8) as u64 } else { target }
    }

    fn half(&self, upper: bool) -> Half {
        let granule_field = if upper { self.tcr >> 30 & 3 } else { self.tcr >> 14 & 3 };
        // The two halves encode the granule differently; reserved values act as 4 KiB.
        let granule = match (upper, granule_field) {
            (false, 1) | (true, 3) => 16,
            (false, 2) | (true, 1) => 14,
            _ => 12,
        };
        Half {
            table: if upper { self.ttbr1 } else { self.ttbr0 },
            granule,
            input_bits: self.input_bits(upper),
            disabled: self.tcr_bit(if upper { 23 } else { 7 }),
            top_byte_ignored: self.tcr_bit(if upper { 38 } else { 37 }),
            hierarchical: !self.tcr_bit(if upper { 42 } else { 41 }),
            hidden_from_user: self.tcr_bit(if upper { 56 } else { 55 }),
        }
    }

    /// Output address bits: what TCR_EL1.IPS allows, at most what the machine has.
    fn output_bits(&self) -> u32 {
        match self.tcr >> 32 & 7 {
            0 => 32,
            1 => 36,
            2 => 40,
            3 => 42,
            4 => 44,
            _ => PA_BITS,
        }
    }

    /// With the MMU off addresses are physical and everything is allowed. Real hardware treats data as device memory then;
    /// here unaligned accesses work, as on other emulators.
    fn flat(&self, va: u64) -> Result<Translation, Fault> {
        let address = if self.tag_ignored(va >> 55 & 1 != 0, true) { va & !(0xff << 56) } else { va };
        if address >> PA_BITS != 0 {
            return Err(Fault::AddressSize(0));
        }
        let mapping = Mapping {
            phys: address,
            size_bits: 21,
            read: true,
            write: true,
            fetch: true,
            device: false,
            global: true,
            code_context: 0,
        };
        Ok(Translation { mapping, attributes: 0, shareability: 2 })
    }

    /// Translates `va` for an access of `kind` in `mode`.
    ///
    /// # Errors
    /// The fault that the access has.
    pub fn translate(
        &self,
        memory: &mut dyn Services,
        va: u64,
        kind: AccessKind,
        mode: Mode,
    ) -> Result<Translation, Fault> {
        if kind == AccessKind::Fetch && va & 3 != 0 {
            return Err(Fault::PcAlignment);
        }
        if self.sctlr & sctlr::M == 0 {
            return self.flat(va);
        }
        let (leaf, translation) = self.walk(memory, va, mode)?;
        let allowed = match kind {
            AccessKind::Read => translation.mapping.read,
            AccessKind::Write => translation.mapping.write,
            AccessKind::Fetch => translation.mapping.fetch,
        };
        if allowed { Ok(translation) } else { Err(Fault::Permission(leaf)) }
    }

    /// The walk proper: gives the level of the leaf and the translation with all its rights.
    fn walk(&self, memory: &mut dyn Services, va: u64, mode: Mode) -> Result<(u8, Translation), Fault> {
        let upper = va >> 55 & 1 != 0;
        let half = self.half(upper);
        // Above the input address all bits are alike; the tag does not count.
        let checked = if half.top_byte_ignored { ((va << 8) as i64) >> 8 } else { va as i64 };
        let sign = checked >> half.input_bits;
        let out_of_reach = mode == Mode::User && half.hidden_from_user;
        if half.disabled || out_of_reach || sign != if upper { -1 } else { 0 } {
            return Err(Fault::Translation(0));
        }
        let input = va & ((1u64 << half.input_bits) - 1);
        let stride = half.granule - 3;
        let levels = (half.input_bits - half.granule).div_ceil(stride);
        let mut level = 4 - levels;
        let output_bits = self.output_bits();
        let too_large = |address: u64| address >> output_bits != 0;

        // The first table may be smaller than a granule; its base is aligned to its size, at least 64 bytes.
        let first_index_bits = half.input_bits - half.granule - (levels - 1) * stride;
        let table_bits = (first_index_bits + 3).max(6);
        let mut table = half.table & ((1 << 48) - 1) & !((1u64 << table_bits) - 1);
        if too_large(table) {
            return Err(Fault::AddressSize(0));
        }
        let mut index_bits = first_index_bits;
        let (mut no_el0, mut read_only, mut no_el1_exec, mut no_el0_exec) = (false, false, false, false);
        loop {
            let shift = half.granule + (3 - level) * stride;
            let index = input >> shift & ((1 << index_bits) - 1);
            let descriptor = read_descriptor(memory, table + index * 8).ok_or(Fault::ExternalOnWalk(level as u8))?;
            let is_table = descriptor & desc::TABLE != 0;
            let leaf_allowed = match (level, half.granule) {
                (3, _) => is_table,
                (1, 12) | (2, _) => true,
                _ => is_table,
            };
            if descriptor & desc::VALID == 0 || !leaf_allowed {
                return Err(Fault::Translation(level as u8));
            }
            if level < 3 && is_table {
                table = descriptor & ((1 << 48) - 1) & !((1u64 << half.granule) - 1);
                if too_large(table) {
                    return Err(Fault::AddressSize(level as u8));
                }
                if half.hierarchical {
                    no_el0 |= descriptor & desc::AP_TABLE_NO_EL0 != 0;
                    read_only |= descriptor & desc::AP_TABLE_READ_ONLY != 0;
                    no_el1_exec |= descriptor & desc::PXN_TABLE != 0;
                    no_el0_exec |= descriptor & desc::UXN_TABLE != 0;
                }
                level += 1;
                index_bits = stride;
                continue;
            }
            let base = descriptor & ((1 << 48) - 1) & !((1u64 << shift) - 1);
            if too_large(base) {
                return Err(Fault::AddressSize(level as u8));
            }
            if descriptor & desc::AF == 0 {
                return Err(Fault::AccessFlag(level as u8));
            }
            let rights = Rights {
                el0: descriptor & desc::AP_EL0 != 0 && !no_el0,
                writable: descriptor & desc::AP_READ_ONLY == 0 && !read_only,
                el1_exec: descriptor & desc::PXN == 0 && !no_el1_exec,
                el0_exec: descriptor & desc::UXN == 0 && !no_el0_exec,
                wxn: self.sctlr & sctlr::WXN != 0,
            };
            let (read, write, fetch) = rights.of(mode);
            let attributes = (self.mair >> (8 * (descriptor >> 2 & 7))) as u8;
            let mapping = Mapping {
                phys: base | (input & ((1u64 << shift) - 1)),
                size_bits: shift,
                read,
                write,
                fetch,
                device: attributes & 0xf0 == 0,
                global: descriptor & desc::NG == 0,
                code_context: if descriptor & desc::GP != 0 && features::FEAT_BTI { bti::GUARDED } else { 0 },
            };
            return Ok((level as u8, Translation { mapping, attributes, shareability: (descriptor >> 8 & 3) as u8 }));
        }
    }
}

/// What a leaf descriptor and the tables above it permit.
struct Rights {
    el0: bool,
    writable: bool,
    el1_exec: bool,
    el0_exec: bool,
    /// Writable implies not executable.
    wxn: bool,
}

impl Rights {
    /// (read, write, fetch)
    fn of(&self, mode: Mode) -> (bool, bool, bool) {
        let el0_write = self.el0 && self.writable;
        match mode {
            Mode::User => (self.el0, el0_write, self.el0_exec && !(self.wxn && el0_write)),
            Mode::Kernel | Mode::KernelPan => {
                let data = mode == Mode::Kernel || !self.el0;
                // What EL0 can write, EL1 never executes.
                let fetch = self.el1_exec && !el0_write && !(self.wxn && self.writable);
                (data, data && self.writable, fetch)
            }
        }
    }
}

fn read_descriptor(memory: &mut dyn Services, phys: u64) -> Option<u64> {
    memory.phys_read(phys, 8).ok()
}

#[cfg(test)]
mod tests;
