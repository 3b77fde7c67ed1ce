//! What translated code and the engine share at run time: the vCPU block.
//!
//! Translated code reaches everything through one pinned register that holds `vcpu + STATE_BIAS`, so that the
//! first 256 bytes of the guest's state are one-byte displacements away. `Vcpu` is `repr(C)`: its offsets are part of
//! the emitted code.

use crate::emit::HelperRet;
use crate::guest::Services;
use core::sync::atomic::AtomicU32;

/// The pinned register points this many bytes into the vCPU block.
pub const STATE_BIAS: i32 = 128;

/// Software TLB entries per MMU mode. A power of two; they reach 256 MiB, so that the heaps of a few threads, which begin at multiples
/// of 64 MiB, have places of their own.
pub const TLB_ENTRIES: usize = 65536;
/// MMU modes: translation regimes times rights that a guest can be in ([`crate::guest::Guest::mmu_mode`]).
pub const MMU_MODES: usize = 4;
/// Entries of the jump cache. A power of two; a kernel and its programs have tens of thousands of jump targets in use.
pub const JUMP_ENTRIES: usize = 32768;
/// By how many entries the jump cache is shifted from one kind of branch to the next, so that a function that is reached in several
/// ways has an entry for each.
pub const ARRIVAL_STRIDE: usize = 64;
/// Counters of block entries. A power of two; blocks whose addresses collide share one, which does no harm.
pub const HEAT_ENTRIES: usize = 16384;
/// Regions that span pages have a key each, see [`Runtime::region_keys`].
pub const REGION_KEYS: usize = 8192;
/// Guest pages are looked up in the TLB in units of 4 KiB whatever the guest's granule is.
pub const PAGE_BITS: u32 = 12;

/// One software TLB entry: 32 bytes, so that the index is one shift and one mask.
///
/// A tag is the guest virtual page address (low 12 bits zero) for which the access hits; [`TlbEntry::INVALID`] never
/// matches. Pages that need the slow path (devices, pages with translated code for writes) have invalid tags.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub struct TlbEntry {
    pub read: u64,
    pub write: u64,
    /// Host address minus guest virtual address of the page.
    pub addend: u64,
    /// Guest-physical page address: for code invalidation and fetch; bit 0: valid for fetch.
    pub phys: u64,
}

impl TlbEntry {
    /// A tag no access compares equal to (its low bits are set).
    pub const INVALID: u64 = u64::MAX;
    /// Added to a tag: the page is a device's. No access compares equal, as of the low bits only those below an access's size
    /// take part, but the engine needs no walk to find it.
    pub const DEVICE: u64 = 0x800;
    pub const EMPTY: Self = Self { read: Self::INVALID, write: Self::INVALID, addend: 0, phys: 0 };
}

/// Size of the spans of guest virtual addresses that the host's MMU translates as a whole: one entry of the topmost of
/// x86's four levels of page tables.
pub const SPAN_BITS: u32 = 39;
/// Spans that translated code can reach through the host's MMU at a time, per MMU mode.
pub const SPANS: usize = 8;
/// Entries of [`Runtime::patience`]. A power of two.
pub const PATIENCE: usize = 4096;

/// A span whose pages the host's MMU translates: the guest virtual address `va` is at host address `va + addend` if
/// `va >> SPAN_BITS` is `key`. What isn't mapped there faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Span {
    pub key: u64,
    pub addend: u64,
}

impl Span {
    /// Holds no address.
    pub const NONE: Self = Self { key: u64::MAX, addend: 0 };
}

/// One jump cache entry: where execution goes on for a guest virtual address.
///
/// `tag` is the target's address XOR [`Runtime::jump_key`]; retiring a key retires all entries made under it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct JumpEntry {
    pub tag: u64,
    /// Host address of the translated block.
    pub code: u64,
}

impl JumpEntry {
    /// Found by no jump but one to an address that equals a key, which are hard to guess.
    pub const EMPTY: Self = Self { tag: 0, code: 0 };
}

/// The guest's floating-point environment as the host needs it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct FpEnv {
    /// MXCSR to run translated code with (all exceptions masked, rounding and flushing as the guest's, sticky flags).
    pub mxcsr: u32,
    /// Control bits, see [`FpEnv`]'s constants.
    pub control: u32,
    /// Cumulative exceptions found by the software implementation, not yet in the guest's status register.
    pub raised: u32,
    pub reserved: u32,
}

impl FpEnv {
    /// Bits 0-1 of `control`: rounding mode (0 nearest, 1 up, 2 down, 3 zero).
    pub const ROUNDING: u32 = 3;
    /// Flush denormals to zero (single and double).
    pub const FLUSH: u32 = 4;
    /// Every NaN result is the default NaN.
    pub const DEFAULT_NAN: u32 = 8;
    /// Flush denormal half-precision values.
    pub const FLUSH16: u32 = 16;
    /// Alternative half-precision format.
    pub const ALT_HALF: u32 = 32;
    /// Round to odd, and to infinity on overflow: within an operation that asks for it, never in the guest's environment.
    pub const TO_ODD: u32 = 64;

    /// Bits of `raised`.
    pub const INVALID: u32 = 1;
    pub const DIV_BY_ZERO: u32 = 2;
    pub const OVERFLOW: u32 = 4;
    pub const UNDERFLOW: u32 = 8;
    pub const INEXACT: u32 = 16;
    pub const INPUT_DENORMAL: u32 = 128;
}

/// Why translated code returned to the dispatcher (`Runtime::exit_reason`).
pub mod exit {
    /// `exit_pc` is set; look the next block up, then patch the direct jump at host address `exit_site`.
    pub const CHAIN: u32 = 0;
    /// `exit_pc` is set; look the next block up (indirect branch, cross-page branch: fill the jump cache).
    pub const LOOKUP: u32 = 1;
    /// A block entry saw pending events; `exit_pc` is set.
    pub const EVENTS: u32 = 2;
    /// The guest state says where to continue: an exception was taken or the block ended on a context change.
    pub const STATE: u32 = 3;
    /// The block at `exit_pc` has been entered often: its counter ran out.
    pub const HOT: u32 = 4;
    /// The region at `exit_pc` was made under another jump key: whether it still holds must be found out.
    pub const RECHECK: u32 = 5;
}

/// Bits of `Runtime::events`.
pub mod event {
    /// The guest's interrupt inputs, or their masks, may have changed.
    pub const INTERRUPT: u32 = 1;
    /// The launcher wants the engine's attention (timer deadline, console input, shutdown...).
    pub const HOST: u32 = 2;
    /// Another part of the engine asked to leave translated code.
    pub const LEAVE: u32 = 4;
    /// Software floating point that flushes denormals has raised Inexact: the guest may want another context.
    pub const INEXACT: u32 = 8;
}

/// Entry points of the engine that translated code's slow paths call. All `extern "sysv64"`.
///
/// `desc` is a [`MemDesc`]. For 128-bit data, values travel in `Runtime::scratch[0]` (and `[1]`: a CAS's expected
/// value is `scratch[0]`, its new value `scratch[1]`); results in `scratch[0]`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct SlowPaths {
    /// `(vcpu, va, desc)`
    pub load: extern "sysv64" fn(*mut u8, u64, u32) -> HelperRet,
    /// `(vcpu, va, desc, value)`
    pub store: extern "sysv64" fn(*mut u8, u64, u32, u64) -> HelperRet,
    /// `(vcpu, va, desc, operand)`; the atomic operation is in `desc`
    pub atomic: extern "sysv64" fn(*mut u8, u64, u32, u64) -> HelperRet,
    /// `(vcpu, va, desc, expected, new)`
    pub cas: extern "sysv64" fn(*mut u8, u64, u32, u64, u64) -> HelperRet,
    /// Performs one operation of [`crate::emit::Emit`] in software: [`crate::eval::entry::eval_entry`].
    ///
    /// `(runtime, op)`: a pointer to this vCPU's [`Runtime`] (not to the vCPU), and the operation as packed by
    /// [`crate::eval::entry::EvalOp::pack`]. Operands are zero-extended in `Runtime::scratch[0..3]`, in the order of
    /// the trait's arguments (`shuffle`'s indices, byte 0 lowest, are the third); flags travel as N:Z:C:V in the low
    /// four bits. The result is in `scratch[0]`, its low 64 bits in `HelperRet::value` too; `status` is 0.
    pub eval: extern "sysv64" fn(*mut Runtime, u64) -> HelperRet,
}

/// Describes one memory access to the slow path: bits 0-2 log2 of the size in bytes, bits 4-6 the MMU mode,
/// bits 8-15 [`crate::emit::Access`] bits, bits 16-19 the [`crate::emit::AtomicOp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemDesc(pub u32);

impl MemDesc {
    /// Where the MMU mode is.
    pub const MMU_MODE: u32 = 7 << 4;

    #[must_use]
    pub const fn new(size_bytes: u32, mmu_mode: u32, access: crate::emit::Access) -> Self {
        Self(size_bytes.trailing_zeros() | (mmu_mode << 4) | ((access.bits() as u32) << 8))
    }
    #[must_use]
    pub const fn with_atomic(self, op: crate::emit::AtomicOp) -> Self {
        Self(self.0 | ((op as u32) << 16))
    }
    #[must_use]
    pub const fn and(self, access: crate::emit::Access) -> Self {
        Self(self.0 | ((access.bits() as u32) << 8))
    }
    #[must_use]
    pub const fn size(self) -> u32 {
        1 << (self.0 & 7)
    }
    #[must_use]
    pub const fn mmu_mode(self) -> usize {
        ((self.0 & Self::MMU_MODE) >> 4) as usize
    }
    #[must_use]
    pub const fn access(self) -> crate::emit::Access {
        crate::emit::Access::from_bits_truncate((self.0 >> 8 & 0xff) as u16)
    }
    #[must_use]
    pub const fn atomic_bits(self) -> u32 {
        self.0 >> 16 & 15
    }
}

/// The engine's half of a vCPU, as far as translated code and helpers touch it.
#[repr(C, align(64))]
pub struct Runtime {
    /// Pending events, see [`event`]; set by anyone, polled at block entries.
    pub events: AtomicU32,
    pub exit_reason: u32,
    pub exit_pc: u64,
    pub exit_site: u64,
    /// XORed into jump cache tags: names the current context word and address space.
    pub jump_key: u64,
    /// The same for branches of [`crate::emit::BranchKind::ARRIVALS`]. Their entries are as many times [`ARRIVAL_STRIDE`] behind those
    /// of other branches as their index there says, plus one.
    pub arrival_keys: [u64; 3],
    /// For [`exit::LOOKUP`]: one more than the index in [`crate::emit::BranchKind::ARRIVALS`] of the branch; 0: another.
    pub exit_arrival: u32,
    /// Stack pointer to return to the dispatcher with.
    pub host_sp: u64,
    pub fp: FpEnv,
    pub slow: SlowPaths,
    /// Blocks entered, their instructions, and these's accesses to guest memory, when counting is compiled into blocks. Of a
    /// block that is left before its end all count.
    pub blocks_run: u64,
    pub insns_run: u64,
    pub accesses_run: u64,
    /// 128-bit arguments and results.
    pub scratch: [u128; 8],
    /// The engine's services for helpers; set by the engine before anything runs.
    pub services: Option<*mut dyn Services>,
    /// The engine's own object for this vCPU, for its slow paths.
    pub engine: *mut (),
    /// By MMU mode, for translated code that uses the host's MMU. The last one of each mode stays [`Span::NONE`]: accesses
    /// that the host's MMU can't make look there.
    pub spans: [[Span; SPANS + 1]; MMU_MODES],
    /// The access ([`crate::jit::Jit::aim`]) that calls a slow path, and whether a page fault brought it there.
    pub site: u32,
    pub faulted: u32,
    /// How often an access (by its number, modulo the size) may yet find its span to be another one before it calls its slow
    /// path, which can point it at the right one.
    pub patience: [i32; PATIENCE],
    pub jump: [JumpEntry; JUMP_ENTRIES + 3 * ARRIVAL_STRIDE],
    /// How many more entries a block (by its address) has before it counts as hot.
    pub heat: [i32; HEAT_ENTRIES],
    /// The jump key under which each region that spans pages is known to be valid.
    pub region_keys: [u64; REGION_KEYS],
    pub tlb: [[TlbEntry; TLB_ENTRIES]; MMU_MODES],
}

impl Runtime {
    /// Forgets every translation of the software TLB.
    pub fn tlb_flush_all(&mut self) {
        for mode in &mut self.tlb {
            mode.fill(TlbEntry::EMPTY);
        }
    }

    /// Forgets every translation of one MMU mode.
    pub fn tlb_flush_mode(&mut self, mode: usize) {
        self.tlb[mode].fill(TlbEntry::EMPTY);
    }

    /// Forgets the translation of the page that holds `va` in every mode, whatever its tag's top byte is.
    pub fn tlb_flush_page(&mut self, va: u64) {
        let index = (va >> PAGE_BITS) as usize & (TLB_ENTRIES - 1);
        for mode in &mut self.tlb {
            mode[index] = TlbEntry::EMPTY;
        }
    }
}

/// A virtual CPU: the guest's architectural state, then the engine's part.
#[repr(C, align(4096))]
pub struct Vcpu<S> {
    pub state: S,
    pub rt: Runtime,
}

impl<S> Vcpu<S> {
    /// The engine's services.
    ///
    /// # Panics
    /// When the engine has not attached itself: a bug of the engine.
    pub fn services(&mut self) -> &mut dyn Services {
        let services = self.rt.services.expect("engine services are attached before anything runs");
        // SAFETY: the engine owns the object, outlives every call into translated code or helpers, runs one vCPU's
        // code on one thread at a time, and never holds another reference to it across such a call.
        unsafe { &mut *services }
    }
}
