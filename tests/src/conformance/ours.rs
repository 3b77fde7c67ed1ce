//! Cases executed by the interpreter and by translated code, without the engine: memory is two pages, the slow paths of translated
//! code are functions over them.

use super::{CODE, Case, End, FPSR_MASK, MEMORY, MEMORY_SIZE, Outcome, SLOT_BYTES, SLOTS, memory_hash, pattern};
use armv8_guest::isa::{self, Cpu, State};
use armv8_guest::mmu::sctlr;
use armv8_guest::{Armv8, context, helpers};
use std::mem::offset_of;
use x86_backend::emit::{Access, AtomicOp, BinOp, BranchKind, CmpOp, Emit, HelperRet, Slot, Stop, flags};
use x86_backend::eval;
use x86_backend::eval::entry::eval_entry;
use x86_backend::guest::{BusError, Guest, Services, SystemEvent};
use x86_backend::interp::{self, EngineMemory};
use x86_backend::jit::{BlockContext, Builder, HostFeatures, Jit, JitConfig, Mechanisms, RegionContext, Windows};
use x86_backend::runtime::{MMU_MODES, MemDesc, Runtime, SlowPaths, TLB_ENTRIES, TlbEntry, event, exit};

/// The guest's memory, and the engine behind the slow paths.
#[repr(align(4096))]
struct Memory {
    words: [u64; (MEMORY_SIZE / 8) as usize],
    faulted: bool,
    foreign: bool,
}

/// Where the oracle's program is: its image and its heap, and the code of the cases.
const FOREIGN: [std::ops::Range<u64>; 2] = [0x40_0000..0x200_0000, CODE..CODE + SLOTS * SLOT_BYTES];

impl Memory {
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: plain integers, as bytes, for as long as the borrow lasts.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), MEMORY_SIZE as usize) }
    }

    /// The bytes of an access. The top byte of an address is a tag.
    fn access(&mut self, cpu: &Cpu, va: u64, desc: MemDesc) -> Result<&mut [u8], Stop> {
        let size = desc.size();
        let aligned = va & u64::from(size - 1) == 0;
        let access = desc.access();
        if !aligned && access.contains(Access::ALIGNED) && !Armv8::tolerates_unaligned(cpu, va, size, access) {
            self.faulted = true;
            // The oracle checks the alignment of other instructions than we do.
            self.foreign = true;
            return Err(Stop);
        }
        self.foreign |= FOREIGN.iter().any(|r| r.contains(&(va << 8 >> 8)));
        let at = (va << 8 >> 8).wrapping_sub(MEMORY) as usize;
        if at.checked_add(size as usize).is_none_or(|end| end > MEMORY_SIZE as usize) {
            self.faulted = true;
            return Err(Stop);
        }
        Ok(&mut self.bytes()[at..at + size as usize])
    }
}

/// There is nothing but the two pages: helpers that ask the engine for more are told so.
struct Alone;

impl Services for Alone {
    fn ram(&mut self, _: u64, _: u64) -> Option<*mut u8> {
        None
    }
    fn phys_read(&mut self, _: u64, _: u32) -> Result<u64, BusError> {
        Err(BusError)
    }
    fn phys_write(&mut self, _: u64, _: u32, _: u64) -> Result<(), BusError> {
        Err(BusError)
    }
    fn invalidate_code(&mut self, _: u64, _: u64) {}
    fn fetch_mapping_changed(&mut self, _: Option<u64>) {}
    fn tlb_flush(&mut self, _: Option<u64>) {}
    fn address_space_changed(&mut self, _: u64) {}
    fn forget_address_space(&mut self, _: u64) {}
    fn ticks(&mut self) -> u64 {
        0
    }
    fn tick_hz(&self) -> u64 {
        1
    }
    fn set_deadline(&mut self, _: u64) {}
    fn set_private_irq(&mut self, _: u32, _: bool) {}
    fn irq_asserted(&mut self) -> bool {
        false
    }
    fn wait_for_event(&mut self) {}
    fn system_event(&mut self, _: SystemEvent) {}
    fn log(&mut self, _: std::fmt::Arguments<'_>) {}
}

fn value(bytes: &[u8]) -> u128 {
    bytes.iter().rev().fold(0, |v, b| v << 8 | u128::from(*b))
}

fn store_value(bytes: &mut [u8], v: u128) {
    let len = bytes.len();
    bytes.copy_from_slice(&v.to_le_bytes()[..len]);
}

/// The vCPU and its memory from what translated code passes.
fn parts<'a>(vcpu: *mut u8) -> (&'a mut Cpu, &'a mut Memory) {
    // SAFETY: callers pass the vCPU of a `Machine`, whose engine pointer leads to its memory; nothing else uses either
    // while a slow path runs.
    unsafe {
        let cpu = &mut *vcpu.cast::<Cpu>();
        let memory = &mut *cpu.rt.engine.cast::<Memory>();
        (cpu, memory)
    }
}

fn answer(cpu: &mut Cpu, result: Result<u128, Stop>) -> HelperRet {
    match result {
        Ok(v) => {
            cpu.rt.scratch[0] = v;
            HelperRet { value: v as u64, status: 0 }
        }
        Err(Stop) => HelperRet { value: 0, status: 1 },
    }
}

extern "sysv64" fn slow_load(vcpu: *mut u8, va: u64, desc: u32) -> HelperRet {
    let (cpu, memory) = parts(vcpu);
    let result = memory.access(cpu, va, MemDesc(desc)).map(|b| value(b));
    answer(cpu, result)
}
extern "sysv64" fn slow_store(vcpu: *mut u8, va: u64, desc: u32, v: u64) -> HelperRet {
    let (cpu, memory) = parts(vcpu);
    let v = if MemDesc(desc).size() == 16 { cpu.rt.scratch[0] } else { v.into() };
    let result = memory.access(cpu, va, MemDesc(desc)).map(|b| {
        store_value(b, v);
        0
    });
    answer(cpu, result)
}
extern "sysv64" fn slow_atomic(vcpu: *mut u8, va: u64, desc: u32, operand: u64) -> HelperRet {
    use AtomicOp::{Add, Clear, Or, SMax, SMin, Swap, UMax, UMin, Xor};
    const OPERATIONS: [AtomicOp; 9] = [Swap, Add, Clear, Xor, Or, SMax, SMin, UMax, UMin];
    let (cpu, memory) = parts(vcpu);
    let desc = MemDesc(desc).and(Access::ATOMIC);
    let operation = OPERATIONS.into_iter().find(|o| *o as u32 == desc.atomic_bits()).expect("an operation");
    let result = memory.access(cpu, va, desc).map(|b| {
        let old = value(b);
        store_value(b, eval::atomic(operation, 8 * desc.size(), old, operand.into()));
        old
    });
    answer(cpu, result)
}
extern "sysv64" fn slow_cas(vcpu: *mut u8, va: u64, desc: u32, expected: u64, new: u64) -> HelperRet {
    let (cpu, memory) = parts(vcpu);
    let desc = MemDesc(desc).and(Access::ATOMIC);
    let wide = desc.size() == 16;
    let mask = eval::mask(8 * desc.size());
    let expected = if wide { cpu.rt.scratch[0] } else { expected.into() } & mask;
    let new = if wide { cpu.rt.scratch[1] } else { new.into() };
    let result = memory.access(cpu, va, desc).map(|b| {
        let old = value(b);
        if old == expected {
            store_value(b, new);
        }
        old
    });
    answer(cpu, result)
}

/// x86-64-v2.
pub const BASELINE: HostFeatures =
    HostFeatures::SSE41.union(HostFeatures::SSE42).union(HostFeatures::SSSE3).union(HostFeatures::POPCNT);

/// What this host has.
#[must_use]
pub fn host_features() -> HostFeatures {
    let mut f = BASELINE;
    for (have, bit) in [
        (is_x86_feature_detected!("bmi1"), HostFeatures::BMI1),
        (is_x86_feature_detected!("bmi2"), HostFeatures::BMI2),
        (is_x86_feature_detected!("lzcnt"), HostFeatures::LZCNT),
        (is_x86_feature_detected!("avx"), HostFeatures::AVX),
        (is_x86_feature_detected!("avx2"), HostFeatures::AVX2),
        (is_x86_feature_detected!("fma"), HostFeatures::FMA),
        (is_x86_feature_detected!("f16c"), HostFeatures::F16C),
        (is_x86_feature_detected!("aes"), HostFeatures::AES),
        (is_x86_feature_detected!("pclmulqdq"), HostFeatures::PCLMUL),
        (is_x86_feature_detected!("sha"), HostFeatures::SHA),
        (is_x86_feature_detected!("movbe"), HostFeatures::MOVBE),
        (is_x86_feature_detected!("cmpxchg16b"), HostFeatures::CX16),
        (is_x86_feature_detected!("gfni"), HostFeatures::GFNI),
    ] {
        f.set(bit, have);
    }
    f
}

/// A compiler with executable memory of its own.
///
/// # Panics
/// The host gives no executable memory.
#[must_use]
pub fn compiler(features: HostFeatures) -> Jit {
    const SIZE: usize = 1 << 20;
    // SAFETY: an anonymous mapping, never unmapped.
    let code = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            SIZE,
            libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(code, libc::MAP_FAILED, "executable memory");
    let config = JitConfig {
        rt_offset: offset_of!(Cpu, rt) as u32,
        state_size: size_of::<State>() as u32,
        pc_offset: Armv8::PC_OFFSET,
        insn_bytes: 4,
        features,
        count: false,
        parallel: false,
        windows: Windows::Never,
        without: Mechanisms::empty(),
        helpers: isa::HELPERS,
        layout: isa::LAYOUT,
    };
    // SAFETY: the mapping is used by nothing else.
    unsafe { Jit::new(config, code.cast(), SIZE) }
}

/// The code of a block with one instruction, at EL1 with floating point and pointer authentication enabled: what runs and what is out of
/// line, with the distance from the first.
///
/// # Panics
/// The block is larger than the code memory.
pub fn host_block(jit: &mut Jit, word: u32) -> [(u64, Vec<u8>); 2] {
    let mut state = Armv8::reset_state();
    state.cpacr_el1 = 3 << 20;
    state.sctlr_el1 |= sctlr::EN_IA | sctlr::EN_IB | sctlr::EN_DA | sctlr::EN_DB;
    // 48 bits in both halves.
    state.tcr_el1 = 16 | 16 << 16 | 1 << 37;
    context::update(&mut state);
    jit.reset();
    let mut builder = begin(jit, CODE, state.context(), None);
    builder.begin_insn(CODE);
    let _ = isa::translate(&mut builder, word, CODE, state.context());
    let block = builder.finish(CODE + 4).expect("there is room");
    let [hot, cold] = jit.code(&block).map(<[u8]>::to_vec);
    [(0, hot), (block.cold - block.entry, cold)]
}

fn begin(jit: &mut Jit, pc: u64, context: u64, region: Option<RegionContext>) -> Builder<'_> {
    jit.begin(BlockContext {
        pc,
        mmu_mode: Armv8::mmu_mode(context, false) as u32,
        unpriv_mode: Armv8::mmu_mode(context, true) as u32,
        fp_inline: Armv8::fp_inline(context),
        fp_flush: Armv8::fp_flush(context),
        strict_align: Armv8::strict_alignment(context),
        region,
        ..BlockContext::default()
    })
}

/// A vCPU at EL0 with its memory.
pub struct Machine {
    cpu: Box<Cpu>,
    memory: Box<Memory>,
    pattern: Vec<u64>,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    #[must_use]
    pub fn new() -> Self {
        let mut memory = Box::new(Memory { words: [0; _], faulted: false, foreign: false });
        let mut cpu = Box::<Cpu>::new_uninit();
        // SAFETY: what is not written is valid when zero.
        let mut cpu = unsafe {
            cpu.as_mut_ptr().cast::<u8>().write_bytes(0, size_of::<Cpu>());
            (&raw mut (*cpu.as_mut_ptr()).state).write(Armv8::reset_state());
            let rt: *mut Runtime = &raw mut (*cpu.as_mut_ptr()).rt;
            let slow =
                SlowPaths { load: slow_load, store: slow_store, atomic: slow_atomic, cas: slow_cas, eval: eval_entry };
            (&raw mut (*rt).slow).write(slow);
            // Nothing to own and nothing to free.
            let services: &'static mut Alone = Box::leak(Box::new(Alone));
            (&raw mut (*rt).services).write(Some(services));
            cpu.assume_init()
        };
        cpu.rt.engine = (&raw mut *memory).cast();
        cpu.rt.fp.mxcsr = 0x1f80;
        cpu.rt.tlb_flush_all();
        // No target matches an unused entry of the jump cache.
        cpu.rt.jump_key = 0x5a5a_a5a5_0123_4567;
        cpu.rt.arrival_keys = [cpu.rt.jump_key; 3];
        Self { cpu, memory, pattern: pattern() }
    }

    fn prepare(&mut self, case: &Case, fpsr: u64, fill_tlb: bool) {
        let cpu = &mut self.cpu;
        self.memory.words.copy_from_slice(&self.pattern);
        self.memory.faulted = false;
        self.memory.foreign = false;
        let state = &mut cpu.state;
        state.el = 0;
        state.spsel = 0;
        state.esr_el1 = 0;
        state.cpacr_el1 = 3 << 20;
        // The top byte of addresses in the lower half is a tag.
        state.tcr_el1 = 1 << 37;
        state.v = case.v;
        state.x = case.x;
        state.sp_el0 = case.sp;
        state.pc = case.pc();
        state.nzcv = flags::from_nzcv((case.nzcv >> 28) as u8);
        state.excl_valid = 0;
        *cpu.rt.events.get_mut() = 0;
        helpers::fpsr_written(cpu, fpsr);
        helpers::fpcr_written(cpu, case.fpcr.into());
        context::update(&mut cpu.state);
        // Nothing else enters translations.
        let addend = (&raw const *self.memory as u64).wrapping_sub(MEMORY);
        for mode in 0..MMU_MODES {
            for page in [MEMORY, MEMORY + 0x1000] {
                cpu.rt.tlb[mode][(page >> 12) as usize & (TLB_ENTRIES - 1)] =
                    if fill_tlb { TlbEntry { read: page, write: page, addend, phys: 0 } } else { TlbEntry::EMPTY };
            }
        }
    }

    fn outcome(&mut self) -> Outcome {
        const EC_UNKNOWN: u64 = 0;
        const EC_DATA_ABORT: u64 = 0x24;
        let raised = self.cpu.state.el != 0;
        let end = match self.cpu.state.esr_el1 >> 26 {
            _ if self.memory.foreign => End::Foreign,
            _ if self.memory.faulted => End::Fault,
            _ if !raised => End::Ran,
            EC_UNKNOWN => End::Undefined,
            EC_DATA_ABORT => End::Fault,
            _ => End::Other(self.cpu.state.esr_el1),
        };
        let pc = if raised { self.cpu.state.elr_el1 } else { self.cpu.state.pc };
        let nzcv = if raised {
            self.cpu.state.spsr_el1 & 0xf000_0000
        } else {
            u64::from(flags::to_nzcv(self.cpu.state.nzcv)) << 28
        };
        // The program counter holds no tag.
        let untagged = if pc >> 55 & 1 == 0 { pc << 8 >> 8 } else { pc };
        Outcome {
            end,
            pc: untagged,
            nzcv,
            fpsr: helpers::fpsr_read(&mut self.cpu) & FPSR_MASK,
            sp: self.cpu.state.sp_el0,
            memory: memory_hash(&self.memory.words, &self.pattern),
            x: self.cpu.state.x,
            v: self.cpu.state.v,
        }
    }

    /// The word at the program counter while it is in the case's code and nothing was raised.
    fn next(&self, case: &Case) -> Option<u32> {
        let pc = self.cpu.state.pc;
        let goes_on = !self.memory.faulted && self.cpu.state.el == 0 && pc & 3 == 0 && case.holds(pc);
        if goes_on { case.word(pc) } else { None }
    }

    /// Interprets a case.
    pub fn interpret(&mut self, case: &Case) -> Outcome {
        self.prepare(case, 0, false);
        for _ in 0..SLOT_BYTES {
            let Some(word) = self.next(case) else { break };
            let mut memory = EngineMemory::of_context::<Armv8>(self.cpu.state.context());
            interp::step::<Armv8, _>(&mut self.cpu, &mut memory, word);
        }
        self.outcome()
    }

    /// Translates a case and runs it; `fill_tlb`: accesses hit inline.
    ///
    /// # Panics
    /// A block is larger than the code memory.
    pub fn translate(&mut self, jit: &mut Jit, case: &Case, fill_tlb: bool) -> Outcome {
        self.flushed_too(case, |machine, fpsr| machine.translate_from(jit, case, fpsr, fill_tlb))
    }

    /// Runs a case and, if it flushes denormals, once more with Inexact set already: the host's unit flushes only then. All else
    /// is the same.
    fn flushed_too(&mut self, case: &Case, mut run: impl FnMut(&mut Self, u64) -> Outcome) -> Outcome {
        let outcome = run(self, 0);
        let sees_flags = case.words.iter().any(|word| word >> 22 == 0xd500_0000 >> 22);
        if u64::from(case.fpcr) & context::fpcr::FZ == 0 || sees_flags {
            return outcome;
        }
        let mut flushed = run(self, context::FPSR_IXC);
        flushed.fpsr &= outcome.fpsr | !context::FPSR_IXC;
        flushed
    }

    fn translate_from(&mut self, jit: &mut Jit, case: &Case, fpsr: u64, fill_tlb: bool) -> Outcome {
        self.prepare(case, fpsr, fill_tlb);
        let end = case.pc() + 4 * case.turns * case.words.len() as u64;
        for _ in 0..SLOT_BYTES {
            if self.next(case).is_none() {
                break;
            }
            self.run_block(jit, case, end);
        }
        self.outcome()
    }

    /// Translates the block at the program counter, which ends at `end` at the latest, and runs it.
    fn run_block(&mut self, jit: &mut Jit, case: &Case, end: u64) {
        make_room(jit);
        let (start, context) = (self.cpu.state.pc, self.cpu.state.context());
        let mut builder = begin(jit, start, context, None);
        let mut pc = start;
        while let Some(word) = case.word(pc).filter(|_| pc < end) {
            builder.begin_insn(pc);
            let left = isa::translate(&mut builder, word, pc, context).is_err();
            pc += 4;
            if left || builder.ended() || builder.has_branch() {
                break;
            }
        }
        let block = builder.finish(pc).expect("there is room");
        self.enter(jit, block.entry);
    }

    fn enter(&mut self, jit: &Jit, entry: u64) {
        self.cpu.rt.exit_reason = exit::STATE;
        jit.enter((&raw mut *self.cpu).cast(), entry);
        if self.cpu.rt.exit_reason != exit::STATE {
            self.cpu.state.pc = self.cpu.rt.exit_pc;
        }
        if std::mem::take(self.cpu.rt.events.get_mut()) & event::INEXACT != 0 {
            helpers::note_inexact(&mut self.cpu);
        }
    }

    /// Translates a case as a region and runs it: every instruction is a block of its own, and turns are a loop. Where the region is left
    /// before its end, blocks go on.
    ///
    /// # Panics
    /// The region is larger than the code memory.
    pub fn translate_region(&mut self, jit: &mut Jit, case: &Case, fill_tlb: bool) -> Outcome {
        self.flushed_too(case, |machine, fpsr| machine.translate_region_from(jit, case, fpsr, fill_tlb))
    }

    fn translate_region_from(&mut self, jit: &mut Jit, case: &Case, fpsr: u64, fill_tlb: bool) -> Outcome {
        self.prepare(case, fpsr, fill_tlb);
        let start = case.pc();
        let end = start + 4 * case.words.len() as u64;
        self.cpu.state.cntv_ctl = case.turns;
        // A branch may lead back.
        for _ in 0..SLOT_BYTES {
            if self.cpu.state.cntv_ctl == 0 {
                break;
            }
            match self.next(case) {
                Some(_) if self.cpu.state.pc == start => self.run_region(jit, case, end),
                Some(_) if self.cpu.state.pc < end => self.run_block(jit, case, end),
                _ if self.cpu.state.pc != end || self.cpu.state.el != 0 || self.memory.faulted => break,
                _ => {
                    self.cpu.state.cntv_ctl -= 1;
                    if self.cpu.state.cntv_ctl != 0 {
                        self.cpu.state.pc = start;
                    }
                }
            }
        }
        let turns = case.turns - self.cpu.state.cntv_ctl;
        self.cpu.state.cntv_ctl = 0;
        let mut outcome = self.outcome();
        // The oracle has the turns one behind the other.
        if case.turns > 1 {
            let before = if outcome.pc == end || turns == case.turns { turns.saturating_sub(1) } else { turns };
            outcome.pc += before * (end - start);
        }
        outcome
    }

    fn run_region(&mut self, jit: &mut Jit, case: &Case, end: u64) {
        make_room(jit);
        let (start, context) = (self.cpu.state.pc, self.cpu.state.context());
        let mut builder = begin(jit, start, context, Some(RegionContext::default()));
        let (mut pc, mut whole) = record_turn(&mut builder, case, context, end);
        if case.turns > 1 && whole {
            whole = count_turn(&mut builder, start, end);
            if whole {
                builder.begin_loop();
                (pc, whole) = record_turn(&mut builder, case, context, end);
                if whole && count_turn(&mut builder, start, end) {
                    let region = builder.end_loop(start).expect("there is room");
                    return self.enter(jit, region.entry);
                }
            }
        }
        let region = builder.finish(pc).expect("there is room");
        self.enter(jit, region.entry);
    }
}

fn make_room(jit: &mut Jit) {
    if jit.room() < 1 << 17 {
        jit.reset();
    }
}

/// Records a case's words, each as a block. Gives the address behind what was recorded, and whether that is all.
fn record_turn(builder: &mut Builder<'_>, case: &Case, context: u64, end: u64) -> (u64, bool) {
    let mut pc = case.pc();
    for &word in &case.words {
        builder.begin_block();
        builder.begin_insn(pc);
        let left = isa::translate(builder, word, pc, context).is_err();
        pc += 4;
        if left || (pc != end && !builder.follow(pc, pc)) {
            return (pc, false);
        }
    }
    let ended = builder.ended() || builder.has_branch();
    (pc, !ended)
}

/// The end of a turn: what a guest's loop with a counter does, where the counter is state that no case uses. False: the region ends here.
fn count_turn(builder: &mut Builder<'_>, start: u64, end: u64) -> bool {
    if !builder.follow(end, end) {
        return false;
    }
    builder.begin_block();
    builder.begin_insn(end);
    let counter = Slot { offset: offset_of!(State, cntv_ctl) as u32, width: 64, is_flags: false };
    let (left, one, zero) = (builder.get(counter), builder.konst(64, 1), builder.konst(64, 0));
    let left = builder.bin(BinOp::Sub, 64, left, one);
    builder.put(counter, left);
    let more = builder.cmp(CmpOp::Ne, 64, left, zero);
    let branch = |b: &mut Builder<'_>| {
        let target = b.konst(64, start.into());
        b.branch(target, BranchKind::Jump).map(|()| [])
    };
    builder.branch_on(more, [], branch, |_| Ok([])).is_ok() && builder.follow(start, end)
}

const _: () = assert!(CODE + SLOTS * SLOT_BYTES <= MEMORY);
