//! The machine: everything that exists once per virtual machine, and its vCPUs.

use crate::board::Board;
use crate::clock::Clock;
use crate::code_cache::{CodeCache, Key};
use crate::filled::Filled;
use crate::hostmmu::{HostMmu, NO_SITE};
use crate::jump_keys::JumpKeys;
use crate::platform::Platform;
use crate::ram::Ram;
use crate::services::Mappings;
use crate::shared::{Control, MAGIC, VERSION, option};
use alloc::alloc::{alloc_zeroed, handle_alloc_error};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};
use x86_backend::emit::HelperRet;
use x86_backend::eval::entry::eval_entry;
use x86_backend::guest::{Guest, Services};
use x86_backend::jit::{self, HostFeatures, Jit, JitConfig};
use x86_backend::runtime::{FpEnv, MMU_MODES, SPANS, SlowPaths, Span, TlbEntry, Vcpu};

/// What all vCPUs share.
pub struct Shared<'c, P> {
    pub control: &'c Control,
    pub platform: &'c P,
    pub ram: Ram,
    pub board: Board,
    pub clock: Clock,
    pub cache: CodeCache,
    pub jit: Jit,
}

/// The engine's side of one vCPU.
pub struct Cpu<'c, G: Guest, P: Platform> {
    pub(crate) index: u32,
    /// The block translated code works on. Owned; freed with this value.
    pub(crate) vcpu: *mut Vcpu<G::State>,
    /// Outlives this value: both are fields of one [`Machine`].
    pub(crate) shared: *mut Shared<'c, P>,
    pub(crate) keys: JumpKeys,
    /// The current address space's number.
    pub(crate) space: u64,
    /// MMU modes in which code was fetched from pages with a part in the context: their branches of
    /// [`x86_backend::emit::BranchKind::ARRIVALS`] have keys of their own, made with these numbers, which are hard to guess.
    pub(crate) arrivals_matter: [bool; MMU_MODES],
    pub(crate) arrival_salts: [u64; 3],
    /// The last exit's [`x86_backend::runtime::Runtime::exit_arrival`], until its target has been found.
    pub(crate) arrival: usize,
    /// How often something was translated.
    pub(crate) runs: u64,
    /// Fetch translations: `(page ^ jump key, physical page, context of the page)`.
    pub(crate) fetches: Vec<(u64, u64, u64)>,
    /// Mappings that fetches went through since their jump keys were last retired: those that hold in every address space,
    /// and those of one.
    pub(crate) global_fetches: Mappings,
    pub(crate) private_fetches: Mappings,
    /// Mappings larger than a page that the software TLB was filled from since it was last emptied.
    pub(crate) data_mappings: Mappings,
    /// The software TLB's places that may be in use, per mode.
    pub(crate) filled: [Filled; MMU_MODES],
    /// How many of `Runtime::region_keys` belong to a region.
    pub(crate) region_keys_used: u32,
    /// Paths that were given up because they went where the guest seldom goes.
    pub(crate) strays: u32,
    /// Hot blocks, and their address spaces, that are no regions as there was nothing to join them with.
    pub(crate) lone: Vec<(u64, Key)>,
    /// Undefined instructions that the log has.
    pub(crate) undefined: Vec<u64>,
    /// `None`: the software TLB does it all.
    pub(crate) host: Option<HostMmu>,
    /// `Some` once the guest or the launcher ended the run: a [`crate::shared::stopped`] code.
    pub(crate) stop: Option<u32>,
}

/// A virtual machine with a guest of architecture `G`.
pub struct Machine<'c, G: Guest, P: Platform> {
    // Each behind a stable address: its vCPU block points to it.
    #[allow(clippy::vec_box)]
    cpus: Vec<Box<Cpu<'c, G, P>>>,
    /// Behind a stable address, since the vCPUs point to it.
    _shared: Box<Shared<'c, P>>,
    _guest: PhantomData<G>,
}

/// Why a machine can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadControl {
    /// Launcher and engine were not built together.
    Version,
    /// No RAM, or no code cache.
    Memory,
}

impl core::fmt::Display for BadControl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            BadControl::Version => "launcher and engine were not built together",
            BadControl::Memory => "the launcher gave the engine no memory to work with",
        })
    }
}

impl<'c, G: Guest, P: Platform> Machine<'c, G, P> {
    /// Sets the machine up as `control` says, ready to run from the guest's entry point.
    ///
    /// # Errors
    /// See [`BadControl`].
    ///
    /// # Safety
    /// The memory that `control` describes (RAM, code cache) is mapped as [`crate::shared`] says, is used by nothing
    /// else in this address space, and outlives the machine.
    pub unsafe fn new(control: &'c Control, platform: &'c P) -> Result<Self, BadControl> {
        if control.magic != MAGIC || control.version != VERSION {
            return Err(BadControl::Version);
        }
        if control.ram[0].size == 0 || control.code_size < 1 << 16 {
            return Err(BadControl::Memory);
        }
        // SAFETY: the caller vouches for the memory that the control block describes.
        let host = if platform.host_mmu() { unsafe { HostMmu::new(control, platform.tsc()) } } else { None };
        control.stats.host_mmu.store(host.is_some().into(), Ordering::Relaxed);
        let config = JitConfig {
            rt_offset: offset_of!(Vcpu<G::State>, rt) as u32,
            state_size: size_of::<G::State>() as u32,
            pc_offset: G::PC_OFFSET,
            insn_bytes: G::INSN_BYTES,
            features: HostFeatures::from_bits_truncate(control.host_features),
            count: control.options & option::COUNT != 0,
            // Devices don't access guest memory.
            parallel: control.vcpus > 1,
            without: control.without(),
            windows: host.as_ref().map_or(jit::Windows::Never, HostMmu::users),
            helpers: G::HELPERS,
            layout: G::LAYOUT,
        };
        // SAFETY: the caller vouches for the code cache's memory.
        let jit = unsafe { Jit::new(config, control.code_base as *mut u8, control.code_size as usize) };
        // SAFETY: the caller vouches for the RAM regions.
        let ram = unsafe { Ram::new(&control.ram) };
        let mut shared = Box::new(Shared {
            control,
            platform,
            ram,
            board: Board::new(control),
            clock: Clock::new(control.tsc_origin, control.tsc_hz),
            cache: CodeCache::new(),
            jit,
        });
        let shared_ptr: *mut Shared<'c, P> = &raw mut *shared;
        let cpus = alloc::vec![Cpu::new(0, shared_ptr, control, platform.tsc(), host)];
        Ok(Self { cpus, _shared: shared, _guest: PhantomData })
    }

    /// Runs the guest until it or the launcher ends the run; gives a [`crate::shared::stopped`] code.
    pub fn run(&mut self) -> u32 {
        self.cpus[0].run()
    }
}

impl<'c, G: Guest, P: Platform> Cpu<'c, G, P> {
    fn new(index: u32, shared: *mut Shared<'c, P>, control: &'c Control, tsc: u64, host: Option<HostMmu>) -> Box<Self> {
        let layout = Layout::new::<Vcpu<G::State>>();
        // SAFETY: the layout is not zero-sized; every field is written below before the block is used as a value,
        // or is valid when zero (counters, scratch, jump cache entries: no target has an all-zero tag and code).
        let vcpu = unsafe { alloc_zeroed(layout) }.cast::<Vcpu<G::State>>();
        if vcpu.is_null() {
            handle_alloc_error(layout);
        }
        let mut keys = JumpKeys::new(tsc ^ control.tsc_origin.rotate_left(32) ^ shared as u64);
        let mut cpu = Box::new(Self {
            index,
            vcpu,
            shared,
            arrivals_matter: [false; MMU_MODES],
            arrival_salts: core::array::from_fn(|_| keys.number()),
            arrival: 0,
            runs: 0,
            keys,
            space: 0,
            fetches: alloc::vec![(u64::MAX, 0, 0); crate::translate::FETCHES],
            global_fetches: Mappings::default(),
            private_fetches: Mappings::default(),
            data_mappings: Mappings::default(),
            filled: Default::default(),
            region_keys_used: 0,
            strays: 0,
            lone: Vec::new(),
            undefined: Vec::new(),
            host,
            stop: None,
        });
        let engine: *mut Self = &raw mut *cpu;
        let services: *mut (dyn Services + 'c) = engine;
        // SAFETY: `vcpu` points to zeroed memory of the right layout that nobody else sees yet. The services pointer's
        // lifetime is erased; it is used only by helpers that run while this value lives.
        unsafe {
            (&raw mut (*vcpu).state).write(G::reset_state());
            G::set_entry(&mut (*vcpu).state, control.guest_entry, control.guest_arg0);
            let rt = &raw mut (*vcpu).rt;
            (&raw mut (*rt).events).write(AtomicU32::new(0));
            (&raw mut (*rt).fp).write(FpEnv { mxcsr: 0x1f80, ..FpEnv::default() });
            (&raw mut (*rt).slow).write(SlowPaths {
                load: crate::softmmu::load::<G, P>,
                store: crate::softmmu::store::<G, P>,
                atomic: crate::softmmu::atomic::<G, P>,
                cas: crate::softmmu::cas::<G, P>,
                eval: eval_entry as extern "sysv64" fn(*mut x86_backend::runtime::Runtime, u64) -> HelperRet,
            });
            (&raw mut (*rt).services)
                .write(Some(core::mem::transmute::<*mut (dyn Services + 'c), *mut (dyn Services + 'static)>(services)));
            (&raw mut (*rt).engine).write(engine.cast());
            (&raw mut (*rt).spans).write([[Span::NONE; SPANS + 1]; MMU_MODES]);
            (&raw mut (*rt).site).write(NO_SITE);
            for mode in 0..MMU_MODES {
                (&raw mut (*rt).tlb[mode]).cast::<TlbEntry>().write(TlbEntry::EMPTY);
                (*rt).tlb[mode].fill(TlbEntry::EMPTY);
            }
        }
        cpu.reset_heat();
        cpu.begin_windows();
        control.events_word[index as usize].store(cpu.events() as *const AtomicU32 as u64, Ordering::Release);
        cpu
    }

    /// The word that translated code polls.
    pub(crate) fn events(&self) -> &AtomicU32 {
        // SAFETY: the block lives as long as `self`; the field is atomic and initialised.
        unsafe { &(*self.vcpu).rt.events }
    }

    /// What the vCPUs share.
    #[allow(clippy::mut_from_ref)]
    pub(crate) fn shared(&self) -> &mut Shared<'c, P> {
        // SAFETY: the machine keeps it alive and in place; one vCPU runs at a time, and no reference obtained here is
        // held across a call that obtains another.
        unsafe { &mut *self.shared }
    }
}

impl<'c, G: Guest, P: Platform> Cpu<'c, G, P> {
    /// The host-MMU strategy, if it is in use, and what the vCPUs share.
    pub(crate) fn host_parts(&mut self) -> Option<(&mut HostMmu, &mut Shared<'c, P>)> {
        // SAFETY: as in `shared`; the strategy's state is not part of what is shared.
        let shared = unsafe { &mut *self.shared };
        self.host.as_mut().map(|host| (host, shared))
    }
}

impl<G: Guest, P: Platform> Drop for Cpu<'_, G, P> {
    fn drop(&mut self) {
        self.shared().control.events_word[self.index as usize].store(0, Ordering::Release);
        // SAFETY: allocated in `new` with this layout, initialised there, used by nobody after the drop.
        unsafe {
            core::ptr::drop_in_place(self.vcpu);
            alloc::alloc::dealloc(self.vcpu.cast(), Layout::new::<Vcpu<G::State>>());
        }
    }
}
