//! The interface between launcher and engine: one block of memory that both see.
//!
//! The launcher fills the boot part before the engine starts and never changes it afterwards. The running part consists of
//! atomics and single-producer single-consumer rings; nobody interrupts anybody ([`Control::events_word`]).
//! In hosted mode both sides live in one process and "engine address" is an ordinary pointer; in a virtual machine the engine
//! has its own address space, laid out as [`layout`] says.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use x86_backend::jit::Mechanisms;

/// `Control::magic`.
pub const MAGIC: u64 = 0x4b54_4244_6c72_7443;
/// Changes when the layout of [`Control`] does; the two sides are built together, so a difference is a build error.
pub const VERSION: u32 = 1;
pub const MAX_RAM: usize = 4;
pub const MAX_DEVICES: usize = 96;
pub const MAX_VCPUS: usize = 8;
pub const RING_BYTES: usize = 65536;
pub const LOG_BYTES: usize = 65536;

/// The engine's address space inside a virtual machine: 47-bit lower half, ring 3.
pub mod layout {
    /// The `dbt-kernel` image (its ELF segments), as linked; mapped user, read/write/execute as the segments say.
    pub const IMAGE: u64 = 0x0000_0000_0020_0000;
    /// The nucleus (ring 0, supervisor only): GDT, IDT, TSS, stacks, stubs.
    pub const NUCLEUS: u64 = 0x0000_0000_0010_0000;
    /// The [`super::Control`] block.
    pub const CONTROL: u64 = 0x0000_0010_0000_0000;
    /// Engine heap.
    pub const HEAP: u64 = 0x0000_0020_0000_0000;
    /// Code cache (read, write, execute).
    pub const CODE: u64 = 0x0000_0030_0000_0000;
    /// Engine stack (grows down from `STACK + STACK_SIZE`); the page below `STACK` is not mapped.
    pub const STACK: u64 = 0x0000_0040_0000_0000;
    pub const STACK_SIZE: u64 = 1 << 20;
    /// The page tables' own pages, so that the engine can edit them.
    pub const PAGE_TABLES: u64 = 0x0000_0050_0000_0000;
    /// A page that no memory slot backs: touching it exits to the launcher.
    pub const DOORBELL: u64 = 0x0000_0060_0000_0000;
    /// Read-only view of the nucleus's stack page: the last exception's frame ends at its end.
    pub const FAULT_FRAME: u64 = 0x0000_0070_0000_0000;
    /// Guest RAM: guest-physical address `a` is at `PHYSMAP + a`.
    pub const PHYSMAP: u64 = 0x0000_0100_0000_0000;
    /// Windows of the guest's virtual address space ([`crate::hostmmu`]): 512 GiB each, with as much between them.
    pub const WINDOWS: u64 = 0x0000_2080_0000_0000;
    pub const WINDOW_COUNT: usize = 95;
}

/// What stands where in the nucleus, and how ring 3 calls it (`int3` with the service in EAX).
pub mod nucleus {
    use super::layout::NUCLEUS;
    /// Exception stubs, [`STUB_BYTES`] apart.
    pub const STUBS: u64 = NUCLEUS;
    pub const STUB_BYTES: u64 = 16;
    pub const VECTORS: u64 = 32;
    pub const GDT: u64 = NUCLEUS + 0x1000;
    pub const GDT_LIMIT: u16 = 0x47;
    pub const TSS: u64 = NUCLEUS + 0x1080;
    pub const TSS_LIMIT: u32 = 0x67;
    pub const IDT: u64 = NUCLEUS + 0x1100;
    pub const IDT_LIMIT: u16 = (VECTORS * 16 - 1) as u16;
    /// The stack page (IST 1).
    pub const STACK: u64 = NUCLEUS + 0x2000;
    pub const STACK_END: u64 = NUCLEUS + 0x3000;

    pub const KERNEL_CODE: u16 = 0x10;
    pub const KERNEL_DATA: u16 = 0x18;
    pub const USER_DATA: u16 = 0x2b;
    pub const USER_CODE: u16 = 0x33;
    pub const TASK: u16 = 0x38;

    /// Loads CR3 from RDI.
    pub const SET_ROOT: u32 = 0x4e55_4300;
    /// INVLPG of every page from RDI up to RSI (exclusive, at least one page); changes RDI.
    pub const INVALIDATE: u32 = 0x4e55_4301;
    /// Drops every translation that is not global; changes RAX.
    pub const FLUSH: u32 = 0x4e55_4302;

    /// One exception, as the stubs leave it at the end of the stack page.
    #[derive(Clone, Copy, Debug, Default)]
    #[repr(C)]
    pub struct Frame {
        pub cr2: u64,
        pub rax: u64,
        pub vector: u64,
        pub error: u64,
        pub rip: u64,
        pub cs: u64,
        pub rflags: u64,
        pub rsp: u64,
        pub ss: u64,
    }
}

/// What the engine writes to the doorbell (a 32-bit store at offset 0) to make the launcher act.
pub mod doorbell {
    /// Wait until an event is pending or [`super::Control::deadline`] has passed.
    pub const WAIT: u32 = 1;
    /// The output ring or the log is full or urgent: drain it.
    pub const DRAIN: u32 = 2;
    /// The engine stopped; `Control::stopped` says why.
    pub const STOP: u32 = 3;
    /// The engine's image runs; `Control::tsc_probe` was just written. The launcher sets the clock's origin.
    pub const READY: u32 = 4;
    /// An exception struck while the engine was reporting another one.
    pub const DOUBLE_FAULT: u32 = 5;
}

/// A region of guest RAM.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct RamRegion {
    pub guest_phys: u64,
    pub size: u64,
    /// Where the engine sees it.
    pub engine_addr: u64,
    /// Where it is in the virtual machine's physical memory.
    pub vm_phys: u64,
}

/// Device models the engine can put on the bus, as found in the device tree by `compatible`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DeviceKind {
    None = 0,
    /// `arm,pl011`
    Pl011 = 1,
    /// `arm,pl031`
    Pl031 = 2,
    /// `arm,cortex-a15-gic`, `arm,gic-400`: `base` distributor, `base2` CPU interface.
    GicV2 = 3,
    /// `virtio,mmio` with no device behind it.
    VirtioEmpty = 4,
    /// `arm,pl061`
    Pl061 = 5,
    /// A known node without a model: reads as zero, ignores writes.
    RazWi = 6,
    /// Reads as all ones, ignores writes (empty PCI configuration space).
    ReadsOnes = 7,
    /// `qemu,fw-cfg-mmio`
    FwCfg = 8,
    /// `arm,gic-v2m-frame`
    V2mFrame = 9,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DeviceDesc {
    pub kind: DeviceKind,
    /// Shared peripheral interrupt, counted from 0; `u32::MAX`: none.
    pub spi: u32,
    pub base: u64,
    pub size: u64,
    pub base2: u64,
    pub size2: u64,
}

impl DeviceDesc {
    pub const NONE: Self = Self { kind: DeviceKind::None, spi: u32::MAX, base: 0, size: 0, base2: 0, size2: 0 };
}

/// Bits of `Control::options`.
pub mod option {
    /// Count blocks and instructions (`--stats`).
    pub const COUNT: u64 = 1;
    /// A guest reset ends the run instead of rebooting.
    pub const NO_REBOOT: u64 = 2;
    /// The host's MMU maps guest memory: all of it, or where it pays. Neither: the software TLB does it all.
    pub const HOST_MMU: u64 = 4;
    pub const HOST_MMU_ON_DEMAND: u64 = 8;
}

/// Bits of `Control::host_features`: what translated code may use.
pub mod host_feature {
    pub const SSE41: u64 = 1 << 0;
    pub const SSE42: u64 = 1 << 1;
    pub const POPCNT: u64 = 1 << 2;
    pub const AVX: u64 = 1 << 3;
    pub const AVX2: u64 = 1 << 4;
    pub const BMI1: u64 = 1 << 5;
    pub const BMI2: u64 = 1 << 6;
    pub const LZCNT: u64 = 1 << 7;
    pub const FMA: u64 = 1 << 8;
    pub const AES: u64 = 1 << 9;
    pub const PCLMUL: u64 = 1 << 10;
    pub const SHA: u64 = 1 << 11;
    pub const F16C: u64 = 1 << 12;
    pub const CX16: u64 = 1 << 13;
    pub const MOVBE: u64 = 1 << 14;
    pub const SSSE3: u64 = 1 << 15;
    pub const GFNI: u64 = 1 << 16;
    pub const RDRAND: u64 = 1 << 17;
}

/// Why the engine stopped (`Control::stopped`).
pub mod stopped {
    pub const RUNNING: u32 = 0;
    pub const POWER_OFF: u32 = 1;
    /// The guest asked for a reset and [`super::option::NO_REBOOT`] is set.
    pub const RESET: u32 = 2;
    /// The launcher asked for it.
    pub const REQUESTED: u32 = 3;
    /// A bug in the engine; the report is in the log ring.
    pub const ENGINE_BUG: u32 = 4;
    /// The guest asked for a reset: the launcher reloads kernel, initrd and DTB into RAM and starts the engine again.
    pub const REBOOT: u32 = 5;
}

/// A byte queue with one producer and one consumer. Indices run freely; their difference is the fill.
#[repr(C, align(64))]
pub struct Ring<const N: usize> {
    head: AtomicU32,
    _pad0: [u32; 15],
    tail: AtomicU32,
    _pad1: [u32; 15],
    bytes: [core::sync::atomic::AtomicU8; N],
}

impl<const N: usize> Ring<N> {
    const fn new() -> Self {
        assert!(N.is_power_of_two());
        Self {
            head: AtomicU32::new(0),
            _pad0: [0; 15],
            tail: AtomicU32::new(0),
            _pad1: [0; 15],
            bytes: [const { core::sync::atomic::AtomicU8::new(0) }; N],
        }
    }

    /// Appends one byte; `false` when full. Producer only.
    pub fn push(&self, byte: u8) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        if head.wrapping_sub(self.tail.load(Ordering::Acquire)) as usize >= N {
            return false;
        }
        self.bytes[head as usize & (N - 1)].store(byte, Ordering::Relaxed);
        self.head.store(head.wrapping_add(1), Ordering::Release);
        true
    }

    /// Takes the oldest byte. Consumer only.
    pub fn pop(&self) -> Option<u8> {
        let tail = self.tail.load(Ordering::Relaxed);
        if tail == self.head.load(Ordering::Acquire) {
            return None;
        }
        let byte = self.bytes[tail as usize & (N - 1)].load(Ordering::Relaxed);
        self.tail.store(tail.wrapping_add(1), Ordering::Release);
        Some(byte)
    }

    /// How many bytes are queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.load(Ordering::Acquire).wrapping_sub(self.tail.load(Ordering::Acquire)) as usize
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tail.load(Ordering::Relaxed) == self.head.load(Ordering::Acquire)
    }
}

/// Adds to a counter of [`Stats`]. Only the engine's thread writes them, and a locked addition takes as long as a good part of
/// an instruction's translation, or of a slow path.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// Counters the engine keeps (relaxed; read by the launcher for `--stats`).
#[derive(Default)]
#[repr(C)]
pub struct Stats {
    pub blocks_translated: AtomicU64,
    pub insns_translated: AtomicU64,
    pub code_bytes: AtomicU64,
    pub translate_cycles: AtomicU64,
    /// Of them, by phase, if blocks count themselves: recording (decoder, generated code, builder), optimisation, allocation and
    /// emission, code out of line. The rest is the engine's bookkeeping.
    pub translate_record_cycles: AtomicU64,
    pub translate_optimise_cycles: AtomicU64,
    pub translate_emit_cycles: AtomicU64,
    pub translate_cold_cycles: AtomicU64,
    pub cache_flushes: AtomicU64,
    pub pages_invalidated: AtomicU64,
    pub dispatches: AtomicU64,
    pub lookups: AtomicU64,
    /// Returns from translated code: for a target not in the jump cache, for events, for a new context, for a direct jump to
    /// be patched, for a block that became hot, for a region to be looked at again.
    pub lookup_exits: AtomicU64,
    pub event_exits: AtomicU64,
    pub state_exits: AtomicU64,
    pub chain_exits: AtomicU64,
    pub hot_exits: AtomicU64,
    pub recheck_exits: AtomicU64,
    pub chains: AtomicU64,
    /// Regions made, their guest instructions (a loop's twice) and host bytes, time spent; looked at again; given up.
    pub regions: AtomicU64,
    pub region_insns: AtomicU64,
    pub region_bytes: AtomicU64,
    pub region_cycles: AtomicU64,
    pub region_rechecks: AtomicU64,
    /// Branches added to regions.
    pub regions_grown: AtomicU64,
    pub regions_dropped: AtomicU64,
    pub regions_remade: AtomicU64,
    /// Walks of the guest's tables for accesses, each of which fills the software TLB, unless it found a device.
    pub tlb_misses: AtomicU64,
    /// The software TLB: emptied, rid of one address space's entries, of one address's.
    pub tlb_flushes: AtomicU64,
    pub tlb_space_flushes: AtomicU64,
    pub tlb_page_flushes: AtomicU64,
    /// Accesses that translated code could not make itself.
    pub slow_accesses: AtomicU64,
    pub device_accesses: AtomicU64,
    /// Exceptions that are undefined instructions.
    pub undefined_insns: AtomicU64,
    /// Exceptions that the guest's accesses and fetches raised: its tables don't map or permit the load, the store, the
    /// fetch; the address is not aligned as it must be; nothing is there.
    pub faults_load: AtomicU64,
    pub faults_store: AtomicU64,
    pub faults_fetch: AtomicU64,
    pub faults_alignment: AtomicU64,
    pub faults_bus: AtomicU64,
    pub interrupts: AtomicU64,
    /// Nonzero: guest memory is mapped by the host's MMU. What follows is zero otherwise, but for the cost of a fault.
    pub host_mmu: AtomicU64,
    /// Processor cycles from a page fault in ring 3 to its handler there and back, measured at start; of a call of the
    /// nucleus that makes the processor forget everything.
    pub fault_cost: AtomicU64,
    pub nucleus_cost: AtomicU64,
    /// Page faults of accesses through windows: all, those on devices, those of stores to pages with translated code, those
    /// that turned out to be the guest's own. The others found a page to be mapped.
    pub window_faults: AtomicU64,
    pub window_faults_device: AtomicU64,
    pub window_faults_code: AtomicU64,
    pub window_faults_guest: AtomicU64,
    /// Mappings made: of pages, of large pages.
    pub window_fills: AtomicU64,
    pub window_fills_large: AtomicU64,
    /// Translations that the processor had to forget, because the guest invalidated them, because another mapping took their
    /// place, because code was translated from the page. Each is a call of the nucleus.
    pub window_drops: AtomicU64,
    pub window_replacements: AtomicU64,
    pub window_protections: AtomicU64,
    /// Calls of the nucleus to forget everything.
    pub window_flushes: AtomicU64,
    pub windows_made: AtomicU64,
    pub windows_opened: AtomicU64,
    pub windows_closed: AtomicU64,
    pub windows_evicted: AtomicU64,
    /// At the end of the run.
    pub windows_in_use: AtomicU64,
    pub window_tables: AtomicU64,
    pub sites_aimed: AtomicU64,
    pub waits: AtomicU64,
    pub wait_cycles: AtomicU64,
    pub run_cycles: AtomicU64,
    /// Exits of the virtual machine to the launcher: to wait, to have rings drained, for anything else.
    pub vm_exits_wait: AtomicU64,
    pub vm_exits_drain: AtomicU64,
    pub vm_exits_other: AtomicU64,
    /// See `x86_backend::runtime::Runtime`.
    pub blocks_run: AtomicU64,
    pub insns_run: AtomicU64,
    pub accesses_run: AtomicU64,
    pub heap_used: AtomicU64,
}

/// The block shared by launcher and engine.
#[repr(C, align(4096))]
pub struct Control {
    // Boot part.
    pub magic: u64,
    pub version: u32,
    pub vcpus: u32,
    pub options: u64,
    /// Entries after which a block counts as hot and is translated again as part of a region; 0: never.
    pub hot_after: u32,
    /// Bits of the [`Mechanisms`] that are left out.
    pub without: u64,
    pub host_features: u64,
    pub ram: [RamRegion; MAX_RAM],
    pub devices: [DeviceDesc; MAX_DEVICES],
    /// Engine addresses.
    pub heap_base: u64,
    pub heap_size: u64,
    pub code_base: u64,
    pub code_size: u64,
    /// Guest state at start: first instruction and first argument (the DTB's address).
    pub guest_entry: u64,
    pub guest_arg0: u64,
    /// Host TSC frequency, TSC at machine power-on, and the time of day then.
    pub tsc_hz: u64,
    pub tsc_origin: u64,
    pub unix_origin: u64,
    /// The page tables' memory inside a virtual machine: VM-physical address of [`layout::PAGE_TABLES`], its size, bytes
    /// already used, and the root. All zero in hosted mode.
    pub page_tables_phys: u64,
    pub page_tables_size: u64,
    pub page_tables_used: u64,
    pub page_tables_root: u64,
    // Running part.
    /// The engine's TSC at [`doorbell::READY`].
    pub tsc_probe: AtomicU64,
    /// Engine addresses of each vCPU's events word (`Runtime::events`), published by the engine; 0: not yet. The launcher ORs
    /// bits of [`x86_backend::runtime::event`] into the word after having made its news visible here.
    pub events_word: [AtomicU64; MAX_VCPUS],
    /// TSC value at which the launcher must set `event::HOST`; `u64::MAX`: never.
    pub deadline: [AtomicU64; MAX_VCPUS],
    /// TSC value at which the engine wants to hear from the launcher although nothing happened, if its vCPU runs; `u64::MAX`:
    /// never. The launcher takes the wish.
    pub look: AtomicU64,
    /// Nonzero while the vCPU waits in the launcher.
    pub waiting: [AtomicU32; MAX_VCPUS],
    /// The launcher wants the engine to stop.
    pub stop_request: AtomicU32,
    pub stopped: AtomicU32,
    pub stats: Stats,
    /// Guest to user, user to guest, and the engine's log (text lines).
    pub console_out: Ring<RING_BYTES>,
    pub console_in: Ring<RING_BYTES>,
    pub log: Ring<LOG_BYTES>,
}

impl Control {
    pub(crate) fn without(&self) -> Mechanisms {
        Mechanisms::from_bits_truncate(self.without)
    }

    /// Whether a mechanism is not left out.
    pub(crate) fn uses(&self, mechanism: Mechanisms) -> bool {
        !self.without().intersects(mechanism)
    }

    /// A block with nothing in it, in place; large: build it in zeroed memory instead where the stack is small.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            vcpus: 1,
            options: 0,
            hot_after: crate::regions::HOT,
            without: 0,
            host_features: 0,
            ram: [RamRegion { guest_phys: 0, size: 0, engine_addr: 0, vm_phys: 0 }; MAX_RAM],
            devices: [DeviceDesc::NONE; MAX_DEVICES],
            heap_base: 0,
            heap_size: 0,
            code_base: 0,
            code_size: 0,
            guest_entry: 0,
            guest_arg0: 0,
            tsc_hz: 0,
            tsc_origin: 0,
            unix_origin: 0,
            page_tables_phys: 0,
            page_tables_size: 0,
            page_tables_used: 0,
            page_tables_root: 0,
            tsc_probe: AtomicU64::new(0),
            events_word: [const { AtomicU64::new(0) }; MAX_VCPUS],
            deadline: [const { AtomicU64::new(u64::MAX) }; MAX_VCPUS],
            look: AtomicU64::new(u64::MAX),
            waiting: [const { AtomicU32::new(0) }; MAX_VCPUS],
            stop_request: AtomicU32::new(0),
            stopped: AtomicU32::new(stopped::RUNNING),
            stats: Stats {
                blocks_translated: AtomicU64::new(0),
                insns_translated: AtomicU64::new(0),
                code_bytes: AtomicU64::new(0),
                translate_cycles: AtomicU64::new(0),
                translate_record_cycles: AtomicU64::new(0),
                translate_optimise_cycles: AtomicU64::new(0),
                translate_emit_cycles: AtomicU64::new(0),
                translate_cold_cycles: AtomicU64::new(0),
                cache_flushes: AtomicU64::new(0),
                pages_invalidated: AtomicU64::new(0),
                dispatches: AtomicU64::new(0),
                lookups: AtomicU64::new(0),
                lookup_exits: AtomicU64::new(0),
                event_exits: AtomicU64::new(0),
                state_exits: AtomicU64::new(0),
                chain_exits: AtomicU64::new(0),
                hot_exits: AtomicU64::new(0),
                recheck_exits: AtomicU64::new(0),
                chains: AtomicU64::new(0),
                regions: AtomicU64::new(0),
                region_insns: AtomicU64::new(0),
                region_bytes: AtomicU64::new(0),
                region_cycles: AtomicU64::new(0),
                region_rechecks: AtomicU64::new(0),
                regions_grown: AtomicU64::new(0),
                regions_dropped: AtomicU64::new(0),
                regions_remade: AtomicU64::new(0),
                tlb_misses: AtomicU64::new(0),
                tlb_flushes: AtomicU64::new(0),
                tlb_space_flushes: AtomicU64::new(0),
                tlb_page_flushes: AtomicU64::new(0),
                slow_accesses: AtomicU64::new(0),
                device_accesses: AtomicU64::new(0),
                undefined_insns: AtomicU64::new(0),
                faults_load: AtomicU64::new(0),
                faults_store: AtomicU64::new(0),
                faults_fetch: AtomicU64::new(0),
                faults_alignment: AtomicU64::new(0),
                faults_bus: AtomicU64::new(0),
                interrupts: AtomicU64::new(0),
                host_mmu: AtomicU64::new(0),
                fault_cost: AtomicU64::new(0),
                nucleus_cost: AtomicU64::new(0),
                window_faults: AtomicU64::new(0),
                window_faults_device: AtomicU64::new(0),
                window_faults_code: AtomicU64::new(0),
                window_faults_guest: AtomicU64::new(0),
                window_fills: AtomicU64::new(0),
                window_fills_large: AtomicU64::new(0),
                window_drops: AtomicU64::new(0),
                window_replacements: AtomicU64::new(0),
                window_protections: AtomicU64::new(0),
                window_flushes: AtomicU64::new(0),
                windows_made: AtomicU64::new(0),
                windows_opened: AtomicU64::new(0),
                windows_closed: AtomicU64::new(0),
                windows_evicted: AtomicU64::new(0),
                windows_in_use: AtomicU64::new(0),
                window_tables: AtomicU64::new(0),
                sites_aimed: AtomicU64::new(0),
                waits: AtomicU64::new(0),
                wait_cycles: AtomicU64::new(0),
                run_cycles: AtomicU64::new(0),
                vm_exits_wait: AtomicU64::new(0),
                vm_exits_drain: AtomicU64::new(0),
                vm_exits_other: AtomicU64::new(0),
                blocks_run: AtomicU64::new(0),
                insns_run: AtomicU64::new(0),
                accesses_run: AtomicU64::new(0),
                heap_used: AtomicU64::new(0),
            },
            console_out: Ring::new(),
            console_in: Ring::new(),
            log: Ring::new(),
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}
