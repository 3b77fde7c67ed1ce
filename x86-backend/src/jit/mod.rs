//! The just-in-time compiler: from generated semantics to x86-64 code in one fast pass per block.
//!
//! [`Builder`] (`build`, `simplify`, `emit_impl`) records a block's operations in the IR (`ir`), folding as it goes. When
//! the block is finished, `live` removes what is dead and counts uses, and one forward pass emits code while allocating
//! registers (`regs`): `int`, `flags`, `mem`, `control` and `vector` lower one operation each. `asm` encodes
//! instructions, `thunks` is the code around blocks.
//!
//! # Adding an inline lowering
//! Every operation without one is a call to its reference semantics ([`crate::eval`]), so lowerings are optional. One is a
//! method on `Gen` that is given the value to define and its operation: `use_gpr` / `use_xmm` give an operand in a
//! register (not to be changed), `def_gpr` / `def_xmm` a register for the result, `def_from` / `def_xmm_from` the same
//! starting out as a copy of an operand, `scratch` / `scratch_xmm` a temporary, `fixed` / `fixed_xmm` a particular register (ask
//! for fixed ones first: what was in it moves). All stay pinned until the operation's end, where `end_op` counts its operands
//! as used. `wants_xmm` tells whether a scalar result is better made in a vector register; scalars in vector registers
//! may have anything above their container.

mod arms;
pub mod asm;
mod build;
mod calls;
mod checks;
mod control;
mod denormals;
mod emit_impl;
mod estimates;
mod features;
mod flags;
mod fp;
mod hash;
mod int;
pub mod ir;
mod live;
mod loops;
mod mechanisms;
mod mem;
mod pairs;
mod places;
mod reach;
mod regions;
mod regs;
mod share;
mod simd;
mod simplify;
mod simplify_vec;
mod state;
mod stubs;
mod thunks;
mod vector;

pub use features::HostFeatures;
pub use mechanisms::Mechanisms;
pub use regions::{Arm, MAX_PAGES, RegionContext};

use crate::emit::{HelperDecl, HelperId};
use crate::runtime::{MMU_MODES, Runtime, SPANS};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use asm::{Alu, Asm, Cc, Mark, RAX, RCX};
use build::Build;
use core::mem::offset_of;
use ir::{Code, Ir, NO_RESULT, Op, Val};
use reach::Site;
use regs::Gen;
use thunks::Thunks;

/// Which code accesses memory through [`Runtime::spans`]; who sets those must send faults on as [`Jit::fault_target`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    Never,
    /// Regions of which [`RegionContext::windows`] says so.
    Regions,
    Always,
}

/// What is the same for all blocks.
#[derive(Clone, Copy)]
pub struct JitConfig {
    /// Byte offset of [`Runtime`] in the vCPU block.
    pub rt_offset: u32,
    /// Size of the guest's state.
    pub state_size: u32,
    /// Byte offset of the program counter in the state.
    pub pc_offset: u32,
    pub insn_bytes: u32,
    pub features: HostFeatures,
    /// Blocks count themselves and their instructions.
    pub count: bool,
    /// Others access guest memory at the same time, such as other vCPUs: atomic accesses are atomic for them, too, and barriers
    /// are ones.
    pub parallel: bool,
    pub windows: Windows,
    /// Those that code generation leaves out.
    pub without: Mechanisms,
    pub helpers: &'static [HelperDecl],
    /// How the guest's state divides into elements.
    pub layout: &'static [crate::guest::Elements],
}

/// What one block is specialised on, as far as code generation is concerned.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockContext {
    pub pc: u64,
    pub mmu_mode: u32,
    pub unpriv_mode: u32,
    pub fp_inline: bool,
    /// See [`crate::guest::Guest::fp_flush`].
    pub fp_flush: bool,
    pub strict_align: bool,
    /// Index into `Runtime::heat` of the block's counter, if its entries are counted.
    pub heat: Option<u32>,
    /// It is a region: several blocks.
    pub region: Option<RegionContext>,
}

/// A translated block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompiledBlock {
    /// Host address, and bytes there.
    pub entry: u64,
    pub code_len: u32,
    /// The same of what is out of line: slow paths and what else is seldom run.
    pub cold: u64,
    pub cold_len: u32,
    /// Guest instructions.
    pub insns: u32,
    pub end: BlockEnd,
    pub jumps: [Jump; 2],
}

/// A jump to an address in the guest that [`Jit::patch`] may make direct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jump {
    pub pc: u64,
    /// Host address for [`Jit::patch`]; 0: there is no such jump.
    pub site: u64,
}

/// Where control goes from a block, as far as its last instruction tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Onward {
    /// To the instruction behind it: unless another way out is taken, or when the function that it calls returns.
    pub behind: bool,
    /// To where a branch or call says that is always taken.
    pub target: Option<u64>,
}

/// How a block ends, as far as it matters for where control goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockEnd {
    #[default]
    Other,
    /// Always at this address: with a branch or a call, or without either.
    Goes(u64),
    /// With a branch that is taken or not; where to, if it is.
    Conditional(u64),
    /// With a branch to an address that is computed.
    Indirect,
}

/// Processor cycles that the phases of translation took, counted between [`Jit::time_phases`] and [`Jit::take_phases`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Decoding, the description's generated code and the builder that it calls.
    pub record: u64,
    /// Accesses joined, dead operations removed, uses counted.
    pub optimise: u64,
    /// Registers allocated and the block's own path emitted.
    pub emit: u64,
    /// What stands out of line: slow paths, exits, constants.
    pub cold: u64,
}

/// Measures phases.
#[derive(Default)]
pub(crate) struct Clock {
    on: bool,
    last: u64,
    phases: Phases,
}

impl Clock {
    fn start(&mut self) {
        if self.on {
            self.last = cycles();
        }
    }
    /// What was done since the last call, or since the start, was that phase.
    fn ends(&mut self, phase: fn(&mut Phases) -> &mut u64) {
        if self.on {
            let now = cycles();
            *phase(&mut self.phases) += now.wrapping_sub(self.last);
            self.last = now;
        }
    }
}

fn cycles() -> u64 {
    // SAFETY: every x86-64 processor has a time stamp counter, and nothing here forbids reading it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Where in a code buffer of `len` bytes the part begins that has what is out of line: as much as what runs.
#[must_use]
pub const fn cold_part(len: usize) -> usize {
    len / 2
}

impl CompiledBlock {
    /// Bytes of code.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.code_len) + u64::from(self.cold_len)
    }
}

/// The code buffer has no room for the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeFull;

/// Configuration and block context, as the code generator uses them.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    rt_offset: u32,
    pc_offset: u32,
    features: HostFeatures,
    parallel: bool,
    windows: Windows,
    without: Mechanisms,
    helpers: &'static [HelperDecl],
    thunks: Thunks,
    block_pc: u64,
    mmu_mode: u32,
    unpriv_mode: u32,
    strict_align: bool,
    /// Floating point may use the host's unit.
    fp_inline: bool,
    /// It flushes denormals.
    fp_flush: bool,
    heat: Option<u32>,
    region: Option<RegionContext>,
}

impl Shared {
    fn uses(&self, mechanism: Mechanisms) -> bool {
        !self.without.intersects(mechanism)
    }
}

/// The compiler and its code buffer.
pub struct Jit {
    cfg: JitConfig,
    build: Build,
    generator: Gen,
    /// The buffer with the thunks only.
    empty: Mark,
    /// Blocks that wait to be compiled.
    kept: VecDeque<(Box<Ir>, Recorded)>,
    /// Memory for more.
    #[expect(clippy::vec_box, reason = "they change places with the builder's and the generator's as pointers")]
    spare: Vec<Box<Ir>>,
}

/// What a block that was recorded is besides its operations.
#[derive(Clone, Copy)]
struct Recorded {
    context: BlockContext,
    insns: u32,
    /// It can't be compiled.
    astray: bool,
}

/// Records one block.
pub struct Builder<'a> {
    jit: &'a mut Jit,
}

impl Jit {
    /// Takes over a code buffer and emits the thunks.
    ///
    /// # Safety
    /// `code..code + len` must be readable, writable and executable, at most 2 GiB, and the compiler's alone for its
    /// life. `cfg` must describe the vCPU block that [`Jit::enter`] is given.
    #[must_use]
    pub unsafe fn new(cfg: JitConfig, code: *mut u8, len: usize) -> Jit {
        // SAFETY: the caller's promise.
        let asm = unsafe { Asm::new(code, len) };
        let shared = Shared {
            rt_offset: cfg.rt_offset,
            pc_offset: cfg.pc_offset,
            features: cfg.features,
            parallel: cfg.parallel,
            windows: cfg.windows,
            without: cfg.without,
            helpers: cfg.helpers,
            thunks: Thunks::default(),
            block_pc: 0,
            mmu_mode: 0,
            unpriv_mode: 0,
            strict_align: false,
            fp_inline: false,
            fp_flush: false,
            heat: None,
            region: None,
        };
        let mut generator = Gen::new(asm, shared);
        generator.shared.thunks = generator.emit_thunks();
        // In the same lines and pages as what runs, slow paths would push it out of the processor's caches.
        generator.asm.split(cold_part(len));
        let empty = generator.asm.mark();
        let build = Build::new(cfg.layout);
        Jit { cfg, build, generator, empty, kept: VecDeque::new(), spare: Vec::new() }
    }

    /// Runs translated code at host address `code` until it leaves; `Runtime::exit_*` then say why.
    ///
    /// `vcpu` must be the vCPU block that the configuration describes, and `code` an address that this compiler gave out
    /// (a block's entry) since the last [`Jit::reset`].
    pub fn enter(&self, vcpu: *mut u8, code: u64) {
        let at = self.generator.asm.addr(self.generator.shared.thunks.enter);
        // SAFETY: the thunk at this address follows the C calling convention and was emitted by `new`.
        let f: extern "sysv64" fn(*mut u8, u64) = unsafe { core::mem::transmute(at) };
        f(vcpu, code);
    }

    /// Begins a block.
    pub fn begin(&mut self, ctx: BlockContext) -> Builder<'_> {
        self.generator.clock.start();
        self.build.start();
        self.build.region = ctx.region.is_some();
        self.build.context = ctx;
        Builder { jit: self }
    }

    /// Compiles the first of the blocks that [`Builder::keep`] left. `None`: there is none.
    ///
    /// # Errors
    /// There is no room, or a region can't be compiled; the buffer is as it was, and the blocks behind it are forgotten.
    pub fn compile_kept(&mut self) -> Option<Result<CompiledBlock, CodeFull>> {
        let (ir, block) = self.kept.pop_front()?;
        self.spare.push(core::mem::replace(&mut self.generator.ir, ir));
        let result = self.compile(block);
        if result.is_err() {
            self.spare.extend(self.kept.drain(..).map(|(ir, _)| ir));
        }
        Some(result)
    }

    /// Compiles the block whose operations the generator has.
    fn compile(&mut self, block: Recorded) -> Result<CompiledBlock, CodeFull> {
        self.generator.clock.start();
        if block.astray {
            return Err(CodeFull);
        }
        self.generator.enter(&block.context);
        self.generator.compile(block.insns)
    }

    /// From now on the time that phases take is measured, if [`JitConfig::count`] says so: reading it takes long, too.
    pub fn time_phases(&mut self) {
        self.generator.clock = Clock { on: self.cfg.count, ..Clock::default() };
    }

    /// The time that phases took since then; it is not measured any more.
    pub fn take_phases(&mut self) -> Phases {
        core::mem::take(&mut self.generator.clock).phases
    }

    /// Makes the direct jump at `site` (from `Runtime::exit_site`) lead to `target`, a block's entry.
    pub fn patch(&mut self, site: u64, target: u64) {
        let base = self.generator.asm.addr(0);
        if let (Some(at), Some(to)) = (site.checked_sub(base), target.checked_sub(base)) {
            let end = self.generator.asm.capacity() as u64;
            if at + 4 <= end && to < end {
                self.generator.asm.bind_to(asm::Fixup(at as u32), to as usize);
            }
        }
    }

    /// Where the block at `entry` begins behind the look at pending events.
    #[must_use]
    pub fn body(&self, entry: u64) -> u64 {
        entry + self.generator.head_field() as u64 + 4
    }

    /// Makes the block at `entry` go to `target`, another entry, whenever it is entered; gives what to restore it with.
    pub fn redirect(&mut self, entry: u64, target: u64) -> Head {
        let base = self.generator.asm.addr(0);
        let (at, to) = ((entry - base) as usize, (target - base) as usize);
        let mut head = Head([0; 5]);
        head.0.copy_from_slice(self.generator.asm.bytes(at, at + 5));
        self.generator.asm.redirect_head(at, to);
        head
    }

    /// Undoes [`Jit::redirect`].
    pub fn restore(&mut self, entry: u64, head: Head) {
        let at = (entry - self.generator.asm.addr(0)) as usize;
        self.generator.asm.rewrite(at, &head.0);
    }

    /// Where to go on after a page fault of the instruction at host address `at`, if it is one that accesses guest memory:
    /// nothing of the access has happened then, and its slow path makes it.
    #[must_use]
    pub fn fault_target(&self, at: u64) -> Option<u64> {
        let offset = at.checked_sub(self.generator.asm.addr(0))?;
        let site = self.generator.sites.find(u32::try_from(offset).ok()?)?;
        Some(self.generator.asm.addr(self.generator.sites.0[site].slow as usize))
    }

    /// Makes the access `site` (from `Runtime::site`), in MMU mode `mode`, look at entry `index` of `Runtime::spans`. Gives
    /// whether it didn't before: changing code is dear, even to what it is.
    pub fn aim(&mut self, site: u32, mode: usize, index: usize) -> bool {
        let Some(&Site { aim: at, .. }) = self.generator.sites.0.get(site as usize) else { return false };
        let (key, addend) = self.generator.span_fields(mode % MMU_MODES, index.min(SPANS));
        let changes = self.generator.asm.read32(at.key as usize) != key as u32;
        if changes {
            self.generator.asm.patch32(at.key as usize, key as u32);
            self.generator.asm.patch32(at.addend as usize, addend as u32);
        }
        changes
    }

    /// Forgets all code but the thunks.
    pub fn reset(&mut self) {
        self.generator.asm.rewind(self.empty);
        self.generator.sites.0.clear();
    }

    /// Bytes of the buffer that any block may still take.
    #[must_use]
    pub fn room(&self) -> usize {
        self.generator.asm.room()
    }

    /// The code of a block, for listings: what runs, and what is out of line, constants last.
    #[must_use]
    pub fn code(&self, block: &CompiledBlock) -> [&[u8]; 2] {
        [(block.entry, block.code_len), (block.cold, block.cold_len)].map(|(address, len)| {
            let at = (address - self.generator.asm.addr(0)) as usize;
            self.generator.asm.bytes(at, at + len as usize)
        })
    }
}

/// The beginning of a block that was redirected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head([u8; 5]);

impl Builder<'_> {
    fn b(&self) -> &Build {
        &self.jit.build
    }
    fn b_mut(&mut self) -> &mut Build {
        &mut self.jit.build
    }
    fn helper(&self, id: HelperId) -> Option<HelperDecl> {
        self.jit.cfg.helpers.get(usize::from(id.0)).copied()
    }

    /// The next guest instruction begins.
    pub fn begin_insn(&mut self, pc: u64) {
        let b = &mut self.jit.build;
        b.pc = pc;
        b.insns += 1;
        b.push_of(Op::new(Code::Insn, u32::from(NO_RESULT)).imm(pc), 0);
    }

    /// The last instruction left unconditionally, or ended the block.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.jit.build.ended || self.jit.build.end_block
    }

    /// A block begins, or a region's next.
    pub fn begin_block(&mut self) {
        if self.jit.cfg.count {
            let b = &mut self.jit.build;
            b.end_counting();
            let at = b.push(Op::new(Code::Count, u32::from(NO_RESULT))).index();
            b.counting = Some((at, b.insns, b.accesses));
        }
    }

    /// A conditional exit was recorded.
    #[must_use]
    pub fn has_branch(&self) -> bool {
        self.jit.build.has_branch
    }

    /// Operations recorded so far: a measure of the block's size.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jit.build.ir.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The operations recorded so far, in text.
    #[must_use]
    pub fn ir(&self) -> &ir::Ir {
        &self.jit.build.ir
    }

    /// Unless the path being recorded has left, execution goes on at `fallthrough_pc`, outside.
    pub fn leave(&mut self, fallthrough_pc: u64) {
        let build = &mut self.jit.build;
        build.end_counting();
        if build.ended {
            return;
        }
        if build.end_block {
            let pc = build.int(64, fallthrough_pc);
            build.push(Op::new(Code::Leave, u32::from(NO_RESULT)).a(pc));
        } else {
            build.push(Op::new(Code::Goto, u32::from(NO_RESULT)).imm(fallthrough_pc));
            build.falls = true;
        }
        build.ended = true;
    }

    /// Compiles the block. If its last instruction did not leave, execution goes on at `fallthrough_pc`.
    ///
    /// # Errors
    /// There is no room, or a region can't be compiled; the buffer is as it was.
    pub fn finish(self, fallthrough_pc: u64) -> Result<CompiledBlock, CodeFull> {
        debug_assert!(self.jit.kept.is_empty(), "blocks that were kept come first");
        let (jit, block) = self.end(fallthrough_pc);
        core::mem::swap(&mut jit.build.ir, &mut jit.generator.ir);
        jit.compile(block)
    }

    /// Ends the block like [`Builder::finish`], but leaves it to [`Jit::compile_kept`]: code that records blocks and code that compiles them
    /// don't fit into a processor's first cache together.
    pub fn keep(self, fallthrough_pc: u64) -> Onward {
        let (jit, block) = self.end(fallthrough_pc);
        let onward = Onward { behind: jit.build.falls || jit.build.calls, target: jit.build.target };
        let memory = jit.spare.pop().unwrap_or_default();
        jit.kept.push_back((core::mem::replace(&mut jit.build.ir, memory), block));
        onward
    }
}

impl<'a> Builder<'a> {
    fn end(mut self, fallthrough_pc: u64) -> (&'a mut Jit, Recorded) {
        self.leave(fallthrough_pc);
        let jit = self.jit;
        let build = &mut jit.build;
        debug_assert!(build.astray || build.ir.verify() == Ok(()), "\n{}", build.ir);
        let block = Recorded { context: build.context, insns: build.insns, astray: build.astray };
        jit.generator.clock.ends(|p| &mut p.record);
        (jit, block)
    }
}

impl Gen {
    /// What follows is about a block of this context.
    fn enter(&mut self, ctx: &BlockContext) {
        let s = &mut self.shared;
        s.block_pc = ctx.pc;
        s.mmu_mode = ctx.mmu_mode;
        s.unpriv_mode = ctx.unpriv_mode;
        s.strict_align = ctx.strict_align;
        s.fp_inline = ctx.fp_inline && s.uses(Mechanisms::FP_INLINE);
        s.fp_flush = s.fp_inline && ctx.fp_flush;
        s.heat = ctx.heat;
        s.region = ctx.region;
    }

    fn compile(&mut self, insns: u32) -> Result<CompiledBlock, CodeFull> {
        self.asm.prefetch();
        if self.shared.uses(Mechanisms::PAIRS) {
            pairs::join_pairs(&mut self.ir);
        }
        let shares = self.shared.uses(Mechanisms::SHARING) && self.shared.region.is_some();
        if shares && !self.shared.strict_align {
            let through_windows = self.through_windows();
            share::share_reach(&mut self.ir, through_windows);
        }
        debug_assert_eq!(self.ir.verify(), Ok(()), "\n{}", self.ir);
        self.live_pass();
        self.find_normal();
        self.start_places();
        self.clock.ends(|p| &mut p.optimise);
        let (before, first_site) = (self.asm.mark(), self.sites.0.len());
        self.asm.align(16);
        let start = self.asm.pos();
        let events = self.rt(offset_of!(Runtime, events));
        self.asm.alu_i_mem(Alu::Cmp, false, events, 0);
        let head = self.asm.jcc(Cc::NE);
        debug_assert!(self.asm.full() || head.0 as usize == start + self.head_field());
        let hot = self.shared.heat.map(|i| {
            let counter = self.rt(offset_of!(Runtime, heat) + 4 * i as usize);
            self.asm.alu_i_mem(Alu::Sub, false, counter, 1);
            self.asm.jcc(Cc::S)
        });
        let stale = self.shared.region.and_then(|r| r.key).map(|i| {
            let (now, made) = (offset_of!(Runtime, jump_key), offset_of!(Runtime, region_keys) + 8 * i as usize);
            let (now, made) = (self.rt(now), self.rt(made));
            self.asm.load(8, RAX, now);
            self.asm.alu(Alu::Cmp, true, RAX, made);
            self.asm.jcc(Cc::NE)
        });
        self.pc = self.shared.block_pc;
        self.emit_range(0, self.ir.len());
        self.clock.ends(|p| &mut p.emit);
        self.emit_deferred();
        self.emit_cold_exits();
        for i in 0..self.far_exits.len() {
            let (site, pc) = (self.far_exits[i].site, self.far_exits[i].pc);
            self.asm.bind(site);
            self.exit_to(pc);
        }
        let code_len = (self.asm.pos() - start) as u32;
        self.asm.change_part();
        let cold = self.asm.pos();
        // They lead to those of accesses.
        self.emit_reach_stubs();
        self.emit_mem_stubs();
        self.emit_slow_evals();
        self.emit_unordered();
        self.emit_failed_checks();
        self.emit_denormal_stubs();
        self.emit_chain_stubs();
        let thunks = self.shared.thunks;
        if let Some(stale) = stale {
            self.asm.bind(stale);
            self.asm.mov_ri(RAX, self.shared.block_pc);
            self.asm.jmp_to(thunks.recheck);
        }
        self.asm.bind(head);
        if let Some(hot) = hot {
            self.asm.bind(hot);
        }
        self.asm.mov_ri(RAX, self.shared.block_pc);
        self.asm.jmp_to(if hot.is_some() { thunks.head } else { thunks.events });
        self.emit_constants();
        let cold_len = (self.asm.pos() - cold) as u32;
        self.asm.change_part();
        self.clock.ends(|p| &mut p.cold);
        if self.asm.full() || self.failed {
            debug_assert!(!self.failed, "register allocation failed\n{}", self.ir);
            self.asm.rewind(before);
            self.sites.0.truncate(first_site);
            return Err(CodeFull);
        }
        let end = match self.ir.ops.last() {
            Some(op) if op.code == Code::GotoInd => BlockEnd::Indirect,
            Some(op) if op.code == Code::Goto => {
                let exit = self.ir.ops.iter().rev().find(|op| op.code == Code::CondExit);
                let goes = if op.aux == ir::ANEW { BlockEnd::Other } else { BlockEnd::Goes(op.imm) };
                exit.map_or(goes, |op| BlockEnd::Conditional(op.imm))
            }
            _ => BlockEnd::Other,
        };
        let (entry, cold) = (self.asm.addr(start), self.asm.addr(cold));
        Ok(CompiledBlock { entry, code_len, cold, cold_len, insns, end, jumps: self.first_jumps() })
    }

    /// Adds to a counter of the runtime.
    fn count(&mut self, counter: usize, by: u32) {
        let counter = self.rt(counter);
        match i8::try_from(by) {
            Ok(by) => self.asm.alu_i_mem(Alu::Add, true, counter, by),
            Err(_) => self.asm.alu_i(Alu::Add, true, counter, by as i32),
        }
    }

    /// Offset of the rel32 field in a block's head that leads to its events stub.
    fn head_field(&self) -> usize {
        // A comparison with a displacement of one byte or four, then the opcode of the jump.
        let disp = self.rt(offset_of!(Runtime, events)).disp;
        if i8::try_from(disp).is_ok() { 6 } else { 9 }
    }

    /// The first of the jumps that wait to be patched; a block that isn't a region seldom has more.
    fn first_jumps(&self) -> [Jump; 2] {
        let jump = |chain: &control::ChainStub| Jump { pc: chain.pc, site: self.asm.addr(chain.site.0 as usize) };
        [0, 1].map(|i| self.chains.get(i).map_or(Jump::default(), jump))
    }

    fn emit_chain_stubs(&mut self) {
        for i in 0..self.chains.len() {
            let (site, pc) = (self.chains[i].site, self.chains[i].pc);
            self.asm.bind(site);
            self.asm.mov_ri(RAX, pc);
            let f = self.asm.lea_rip(RCX);
            self.asm.bind_to(f, site.0 as usize);
            self.asm.jmp_to(self.shared.thunks.chain);
        }
    }

    #[inline(never)]
    fn emit_range(&mut self, from: usize, to: usize) {
        let mut i = from;
        while i < to {
            let op = &self.ir.ops[i];
            // Nothing is emitted for those that come first.
            if op.code as u8 <= Code::Const128 as u8 {
                self.pc = if op.code == Code::Insn { op.imm } else { self.pc };
                i += 1;
            } else {
                i = self.lower(i);
            }
        }
    }

    /// Arms that leave the block; they may hold others.
    #[inline(never)]
    fn emit_deferred(&mut self) {
        self.forget_checked();
        let mut next = 0;
        while next < self.deferred.len() {
            let arm = &mut self.deferred[next];
            let (from, to, label, pc) = (arm.from, arm.to, arm.label, arm.pc);
            core::mem::swap(&mut self.place, &mut arm.place);
            next += 1;
            self.asm.bind(label);
            self.pc = pc;
            self.unpin();
            self.uses.fill(0);
            self.for_uses(from, to, Gen::acquire);
            if self.ir.ops[from..to].iter().any(|op| op.code == Code::LoopBack) {
                self.keep_for_loop();
            }
            for i in 0..self.place.pending.len() {
                let v = Val(self.place.pending[i].val);
                self.acquire(v);
            }
            self.prune();
            self.emit_range(from, to);
        }
    }

    /// Lowers one operation; the result is the index of the next.
    #[inline(always)]
    fn lower(&mut self, i: usize) -> usize {
        let op = self.ir.ops[i];
        let v = Val(i as u32);
        if !self.waiting.is_empty() {
            self.checks_before(i, op);
        }
        match op.code {
            Code::Nop | Code::Const | Code::Const128 | Code::Phi | Code::LoadHalf | Code::Insn => {}
            Code::LoopPhi => self.lower_loop_phi(v, op),
            Code::LoopHead => self.lower_loop_head(i, op),
            Code::LoopBack => self.lower_loop_back(op),
            Code::Count => {
                self.count(offset_of!(Runtime, blocks_run), 1);
                self.count(offset_of!(Runtime, insns_run), op.imm as u32);
                if op.imm >> 32 != 0 {
                    self.count(offset_of!(Runtime, accesses_run), (op.imm >> 32) as u32);
                }
            }
            Code::Get => self.lower_get(v, op),
            Code::Put => self.lower_put(op),
            Code::Cmp | Code::Test | Code::Cond => self.make_lazy(v),
            Code::AddFlags | Code::SubFlags | Code::LogicFlags => self.lower_lazy_flags(v, op),
            Code::AdcFlags => {
                self.lower_adc_flags(v, op);
                self.end_op(v);
            }
            Code::FlagsBits | Code::BitsFlags => {
                self.def_from(v, op.va());
                self.end_op(v);
            }
            Code::Reach => self.lower_reach(v, op),
            Code::Load | Code::Store | Code::LoadPair | Code::StorePair | Code::Atomic | Code::Cas => {
                self.flush_early();
                match op.code {
                    Code::Load => self.lower_load(v, op),
                    Code::Store => self.lower_store(v, op),
                    Code::LoadPair => self.lower_load_pair(v, op),
                    Code::StorePair => self.lower_store_pair(v, op),
                    Code::Atomic => self.lower_atomic(v, op),
                    _ => self.lower_cas(v, op),
                }
            }
            Code::Fence => self.lower_fence(),
            Code::Call => self.lower_call(v, op),
            Code::Goto | Code::GotoInd | Code::Leave => self.lower_goto(op),
            Code::CondExit => self.lower_cond_exit(v, op),
            Code::If => return self.lower_if(i, op),
            Code::Else | Code::EndIf => {
                let start = self.ir.ops[op.imm as usize];
                if op.code == Code::Else {
                    if start.aux != 0 {
                        // The second arm stops and stands out of line.
                        return start.c as usize + 1;
                    }
                    self.lower_else(start.c as usize);
                } else if start.aux == 0 {
                    self.lower_end_if(i);
                }
            }
            _ => {
                if self.lower_scalar_bits(v, op) || self.lower_int(v, op) || self.lower_vector(v, op) {
                    self.end_op(v);
                } else {
                    self.lower_eval_call(v, op);
                }
            }
        }
        i + 1
    }
}

#[cfg(test)]
mod tests;
