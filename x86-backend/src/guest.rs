//! What the engine needs to know about a guest architecture, and what a guest may ask of the engine.
//!
//! Nothing here, in this crate or in the engine names a concept of one architecture.

use crate::emit::{BranchKind, Emit, HelperDecl, Stop};
use crate::runtime::Vcpu;

/// The three kinds of access an address translation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessKind {
    Read,
    Write,
    Fetch,
}

/// A successful address translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Guest-physical address of the byte asked for.
    pub phys: u64,
    /// log2 of the size of the guest's mapping (12 for a 4 KiB page, 21 for a 2 MiB block...).
    pub size_bits: u32,
    /// What else the same mapping permits without another walk (in the MMU mode asked for).
    pub read: bool,
    pub write: bool,
    pub fetch: bool,
    /// Memory where every access must be made as written: unaligned accesses fault ([`Guest::Fault`] alignment).
    pub device: bool,
    /// The same translation holds in every address space.
    pub global: bool,
    /// Elements of the context word that hold for code on this page, whatever the state is.
    pub code_context: u64,
}

/// What stands at a guest-physical address that is not RAM, or isn't there at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusError;

/// What the machine should do after the guest asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemEvent {
    PowerOff,
    Reset,
}

/// What the engine offers to a guest's helpers and walkers.
pub trait Services {
    /// Host pointer to `len` bytes of guest RAM at guest-physical `phys`, if all of it is RAM.
    fn ram(&mut self, phys: u64, len: u64) -> Option<*mut u8>;
    /// Reads 1, 2, 4 or 8 bytes at a guest-physical address: RAM or a device.
    ///
    /// # Errors
    /// Nothing answers there.
    fn phys_read(&mut self, phys: u64, size: u32) -> Result<u64, BusError>;
    /// # Errors
    /// Nothing answers there.
    fn phys_write(&mut self, phys: u64, size: u32, value: u64) -> Result<(), BusError>;
    /// Guest RAM in `phys..phys+len` changed or may have changed: translations of it are dropped.
    fn invalidate_code(&mut self, phys: u64, len: u64);
    /// Virtual-to-physical mappings of instruction fetches changed: for one page, or all.
    fn fetch_mapping_changed(&mut self, va: Option<u64>);
    /// Drops all data translations of the page holding `va` from the software TLB (`None`: of every page).
    fn tlb_flush(&mut self, va: Option<u64>);
    /// The current address space changed to the one named `id` (an ASID, or any number that names it): translations
    /// that are not global must not be used any more.
    fn address_space_changed(&mut self, id: u64);
    /// Drops all translations of the address space `id` that are not global, for data and fetches.
    fn forget_address_space(&mut self, id: u64);
    /// The guest's time base: ticks since power-on, at [`Services::tick_hz`].
    fn ticks(&mut self) -> u64;
    fn tick_hz(&self) -> u64;
    /// The guest wants attention (an interrupt poll) when [`Services::ticks`] reaches this value; `u64::MAX`: never.
    fn set_deadline(&mut self, ticks: u64);
    /// Level of a private interrupt line of this vCPU into the interrupt controller (a timer's output).
    fn set_private_irq(&mut self, irq: u32, level: bool);
    /// Whether the interrupt controller asserts this vCPU's interrupt input.
    fn irq_asserted(&mut self) -> bool;
    /// The vCPU has nothing to do until an event; returns when there is one (or at once, at the engine's choice).
    fn wait_for_event(&mut self);
    fn system_event(&mut self, event: SystemEvent);
    /// 64 bits from the host's random number generator, if there is one and it has any.
    fn random(&mut self) -> Option<u64> {
        None
    }
    /// The guest's instruction `word` at `pc` is undefined and takes that exception: counted, and logged once per word.
    fn undefined_instruction(&mut self, _word: u64, _pc: u64) {}
    /// A line for the log: something a user debugging a guest wants to know.
    fn log(&mut self, message: core::fmt::Arguments<'_>);
}

/// Part of a guest's state: `count` elements of `size` bytes each, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elements {
    pub offset: u32,
    pub size: u32,
    pub count: u32,
}

/// A guest architecture.
pub trait Guest: Sized + 'static {
    /// Architectural state, `repr(C)`; slots are offsets into it.
    type State: 'static;
    /// Why a translation or an access failed; enough to report it precisely.
    type Fault: Copy;

    /// Size of one fetch unit in bytes, and the alignment of instructions.
    const INSN_BYTES: u32;
    /// The functions the description declares `extern`.
    const HELPERS: &'static [HelperDecl];
    /// Byte offset of the program counter (64 bits) in the state.
    const PC_OFFSET: u32;
    /// The elements of the state.
    const LAYOUT: &'static [Elements];

    /// The state at power-on.
    fn reset_state() -> Self::State;
    /// Prepares a reset state for the boot protocol: where to start, and the one argument (a device tree's address).
    fn set_entry(state: &mut Self::State, pc: u64, argument: u64);
    /// Everything translation may specialise on; a block is valid for one context word only.
    fn context(state: &Self::State) -> u64;
    /// The context word without what [`Guest::arrive`] put into it.
    fn settled_context(context: u64) -> u64 {
        context
    }
    /// A branch of that kind, one of [`BranchKind::ARRIVALS`], led to the state's PC: to the instruction `word` on a page with that
    /// [`Mapping::code_context`], which isn't zero; or to where nothing can be fetched (`None`). The guest may put into the context
    /// that this arrival must not go on as usual. What it lets pass is not asked again as long as mappings and context stay.
    fn arrive(_cpu: &mut Vcpu<Self::State>, _kind: BranchKind, _word: Option<u32>, _code_context: u64) {}
    /// The MMU mode (below [`crate::runtime::MMU_MODES`]) of ordinary accesses in that context, and of unprivileged ones.
    fn mmu_mode(context: u64, unprivileged: bool) -> usize;
    /// Whether floating-point operations may be done by the host's unit under `FpEnv::mxcsr` in that context
    /// (otherwise each is a call to the software implementation).
    fn fp_inline(context: u64) -> bool;
    /// Whether, in a context with [`Guest::fp_inline`], denormal operands and results count as zeros. `FpEnv::mxcsr` then says so
    /// too, and the guest's cumulative Inexact is set already: the host raises it when it flushes a result, the guest may not.
    /// [`crate::runtime::event::INEXACT`] tells when that may have changed.
    fn fp_flush(_context: u64) -> bool {
        false
    }
    /// Whether an access of `size` bytes that is not aligned must take the slow path, in that context.
    fn strict_alignment(context: u64) -> bool;

    /// Whether an access that is marked as one that must be aligned ([`crate::emit::Access::ALIGNED`]) is permitted although it
    /// is not.
    fn tolerates_unaligned(_cpu: &Vcpu<Self::State>, _va: u64, _size: u32, _access: crate::emit::Access) -> bool {
        false
    }

    /// Emits the semantics of the instruction `word` at `pc`. An encoding that does not exist emits the guest's
    /// undefined-instruction exception.
    fn translate<B: Emit>(b: &mut B, word: u32, pc: u64, context: u64) -> Result<(), Stop>;

    /// Translates `va` for an access in `mode`. Pure but for access-flag style updates of the guest's tables.
    ///
    /// # Errors
    /// The fault to report; the state is untouched.
    fn walk(cpu: &mut Vcpu<Self::State>, va: u64, kind: AccessKind, mode: usize) -> Result<Mapping, Self::Fault>;
    /// The fault for an access that no RAM or device answers, and for one that is not aligned as it must be.
    fn bus_fault(kind: AccessKind) -> Self::Fault;
    fn alignment_fault(kind: AccessKind) -> Self::Fault;
    /// Takes the exception for a failed data access at `va`, or a failed fetch, of the instruction at the state's PC.
    fn raise(cpu: &mut Vcpu<Self::State>, fault: Self::Fault, va: u64, kind: AccessKind, access: crate::emit::Access);
    /// Called when events are pending: takes an interrupt exception if one is asserted and unmasked, brings the context up to
    /// date. Returns whether the state changed.
    fn poll_events(cpu: &mut Vcpu<Self::State>) -> bool;
    /// Disassembles one instruction into `out`.
    fn disassemble(word: u32, pc: u64, out: &mut dyn core::fmt::Write) -> core::fmt::Result;
}
