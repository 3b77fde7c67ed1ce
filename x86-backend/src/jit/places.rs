//! Where values are: the allocation state that control flow saves and restores, and the layout of the frame.

use super::asm::{Gpr, RBP, RSP, Xmm};
use super::ir::Val;
use alloc::vec::Vec;

pub(super) const NONE: u32 = u32::MAX;
pub(super) const NO_REG: u8 = 0xff;
const NO_FRAME: u16 = 0xffff;
/// All but the stack pointer and the pinned register.
const ALL_GPRS: u16 = !(1 << RSP.0 | 1 << RBP.0);
pub(super) const ALL_XMMS: u16 = 0xffff;

/// Where a value is. It travels as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub(super) struct Loc {
    pub gpr: u8,
    pub xmm: u8,
    pub frame: u16,
    pub home: bool,
    pub lazy: bool,
    /// Nothing.
    rest: u16,
}

impl Loc {
    pub const NOWHERE: Self = Self { gpr: NO_REG, xmm: NO_REG, frame: NO_FRAME, home: false, lazy: false, rest: 0 };
    pub fn gpr(&self) -> Option<Gpr> {
        if self.gpr == NO_REG { None } else { Some(Gpr(self.gpr)) }
    }
    pub fn xmm(&self) -> Option<Xmm> {
        if self.xmm == NO_REG { None } else { Some(Xmm(self.xmm)) }
    }
    pub fn frame(&self) -> Option<u16> {
        if self.frame == NO_FRAME { None } else { Some(self.frame) }
    }
}

/// A guest state slot that will hold a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub offset: u32,
    pub size: u32,
    pub val: u32,
}

/// Everything that control flow must save and restore.
pub(super) struct Place {
    pub locs: Vec<Loc>,
    pub gprs: [u32; 16],
    pub xmms: [u32; 16],
    /// Those that may be used and have nothing in them, a bit each.
    pub free_gprs: u16,
    pub free_xmms: u16,
    pub frame: Vec<u32>,
    pub pending: Vec<Pending>,
    /// Values whose home is valid.
    pub homes: Vec<Pending>,
    /// Values that may be lazy.
    pub lazies: Vec<u32>,
}

impl Place {
    /// Becomes a copy, in the memory it has.
    pub fn copy_from(&mut self, other: &Self) {
        self.locs.clone_from(&other.locs);
        self.gprs = other.gprs;
        self.xmms = other.xmms;
        self.free_gprs = other.free_gprs;
        self.free_xmms = other.free_xmms;
        self.frame.clone_from(&other.frame);
        self.pending.clone_from(&other.pending);
        self.homes.clone_from(&other.homes);
        self.lazies.clone_from(&other.lazies);
    }

    /// Every value that is anywhere, once.
    pub fn values(&self) -> Vec<u32> {
        let mut seen = Vec::new();
        let registers = self.gprs.iter().chain(&self.xmms);
        seen.extend(registers.chain(&self.frame).chain(&self.lazies).copied().filter(|v| *v != NONE));
        seen.extend(self.homes.iter().map(|h| h.val));
        seen.sort_unstable();
        seen.dedup();
        seen
    }

    /// The value's homes are none any more.
    #[inline(never)]
    pub fn drop_home(&mut self, v: Val) {
        self.homes.retain(|h| h.val != v.0);
    }

    /// Notes what is in a register, or that nothing is.
    pub fn set_gpr(&mut self, r: Gpr, v: u32) {
        self.gprs[usize::from(r.0 & 15)] = v;
        let bit = 1 << (r.0 & 15);
        self.free_gprs = if v == NONE { self.free_gprs | bit } else { self.free_gprs & !bit };
    }
    pub fn set_xmm(&mut self, x: Xmm, v: u32) {
        self.xmms[usize::from(x.0 & 15)] = v;
        let bit = 1 << (x.0 & 15);
        self.free_xmms = if v == NONE { self.free_xmms | bit } else { self.free_xmms & !bit };
    }
    /// Empties all registers.
    pub fn clear_registers(&mut self) {
        self.gprs = [NONE; 16];
        self.xmms = [NONE; 16];
        self.free_gprs = ALL_GPRS;
        self.free_xmms = ALL_XMMS;
    }

    pub fn new() -> Self {
        Self {
            locs: Vec::new(),
            gprs: [NONE; 16],
            xmms: [NONE; 16],
            free_gprs: ALL_GPRS,
            free_xmms: ALL_XMMS,
            frame: Vec::new(),
            pending: Vec::new(),
            homes: Vec::new(),
            lazies: Vec::new(),
        }
    }
}

/// Frame layout, as offsets from RSP in translated code.
pub(super) mod frame {
    /// Outgoing stack arguments stand at 0; then the operands of slow paths.
    pub const ARGS: i32 = 64;
    pub const TEMPS: i32 = 96;
    pub const GPR_SAVE: i32 = 128;
    pub const XMM_SAVE: i32 = 208;
    pub const HOST_MXCSR: i32 = 464;
    pub const SPILL: i32 = 512;
    pub const SLOTS: usize = 512;
    pub const SIZE: i32 = SPILL + SLOTS as i32 * 16;
}
