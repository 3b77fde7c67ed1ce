//! Random programs: translated code and interpreter must agree on state, memory, exits and everything slow paths see.

use super::machine::{BASE, Compiler, Machine, START, State, guest_flags, host_features};
use super::program::{Executor, OPERATIONS, Step, run};
use super::window::Window;
use crate::emit::{BinOp, BranchKind, CmpOp, Stop};
use crate::jit::{BlockContext, Builder, CompiledBlock, HostFeatures, Mechanisms, RegionContext, Windows};
use crate::runtime::exit;
use proptest::prelude::*;

fn state() -> impl Strategy<Value = State> {
    let reg = prop_oneof![
        any::<u64>(),
        Just(0),
        Just(u64::MAX),
        Just(1 << 63),
        any::<u32>().prop_map(u64::from),
        Just(BASE),
        any::<u8>().prop_map(u64::from)
    ];
    let fp = prop_oneof![
        any::<u128>(),
        Just(0),
        Just(0x7ff0_0000_0000_0000),
        Just(0x3f80_0000_4000_0000),
        // Denormal and NaN lanes, of both kinds; the least normal numbers and what is next to them.
        Just(0x7ff0_0000_0000_0001_8000_0000_0000_0001),
        Just(0x7fa0_0000_ffc0_0001_0000_0001_8080_0000),
        Just(0x0010_0000_0000_0000_8010_0000_0000_0001),
        Just(0x3fef_ffff_ffff_ffff_3fe0_0000_0000_0000),
        Just(0x3f7f_ffff_3f00_0000_bf80_0001_007f_ffff),
    ];
    let parts = (
        prop::array::uniform8(reg),
        prop::array::uniform4(fp),
        prop::array::uniform4(any::<u32>()),
        prop::array::uniform4(any::<u16>()),
        prop::array::uniform8(any::<u8>()),
        0u8..16,
    );
    parts.prop_map(|(x, v, w, h, mut b, nzcv)| {
        for (i, b) in b.iter_mut().enumerate() {
            *b &= [0xff, 1, 15, 0x7f][i % 4];
        }
        State { x, v, w, h, b, nzcv: crate::emit::flags::from_nzcv(nzcv), pc: START }
    })
}

/// How memory is reached: by slow paths, through the TLB where it can be, through a window by some accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Slow,
    Tlb,
    Window(u64),
}

impl Reach {
    fn compiler(self, features: HostFeatures) -> Compiler {
        self.compiler_without(features, Mechanisms::empty())
    }

    fn compiler_without(self, features: HostFeatures, without: Mechanisms) -> Compiler {
        let windows = if matches!(self, Reach::Window(_)) { Windows::Always } else { Windows::Never };
        Compiler::with(features, false, windows, without)
    }

    /// Lets the machine's memory be reached, and gives a way to run a block.
    fn enter(self, m: &mut Machine, compiler: &mut Compiler, entry: u64) -> impl Fn(&Compiler) + use<> {
        if self != Reach::Slow {
            m.fill_tlb();
        }
        m.engine.translated = true;
        let window = match self {
            Reach::Window(which) => Some(Window::open(m, &mut compiler.jit, which)),
            _ => None,
        };
        let vcpu = m.ptr();
        move |compiler| match &window {
            Some(window) => window.enter(&compiler.jit, vcpu, entry),
            None => compiler.jit.enter(vcpu, entry),
        }
    }
}

/// Whether a program flushes denormals.
fn flushes(steps: &[Step]) -> bool {
    steps[0][4].is_multiple_of(3)
}

fn machine(state: &State, record: bool, steps: &[Step]) -> Machine {
    let mut m = Machine::new(state, record);
    if flushes(steps) {
        m.flush();
    }
    m
}

fn check(features: HostFeatures, reach: Reach, state: &State, steps: &[Step]) -> Result<(), TestCaseError> {
    let fallthrough = START + 0x100;
    let tlb = reach != Reach::Slow;
    trace(&format!("{reach:?}"), state, steps);
    // With a filled TLB only translated code skips the slow paths: what they see is compared without it.
    let mut expected = machine(state, !tlb, steps);
    let next = expected.interpret(fallthrough, |i| run(i, START, steps, 0));

    let mut compiler = reach.compiler(features);
    let context = BlockContext { fp_flush: flushes(steps), ..Compiler::context() };
    let block = compiler.compile_at(context, fallthrough, |b| run(b, START, steps, 0));
    let mut m = machine(state, !tlb, steps);
    reach.enter(&mut m, &mut compiler, block.entry)(&compiler);

    let rt = &m.cpu.rt;
    let got = if rt.exit_reason == exit::STATE { None } else { Some(rt.exit_pc) };
    // Leaving by the state is right for a branch too: the block's end was asked for.
    let by_state = got.is_none() && next.is_some_and(|pc| m.cpu.state.pc == pc);
    let listing = || super::listing::listing(&compiler.jit, &block);
    if !by_state {
        prop_assert_eq!(got, next, "next pc\n{}", listing());
    }
    let mut want = expected.cpu.state.normal();
    if let Some(pc) = next {
        want.pc = pc;
    }
    prop_assert_eq!(&m.cpu.state.normal(), &want, "state\n{}", listing());
    prop_assert_eq!(m.engine.seen.len(), expected.engine.seen.len(), "calls\n{}", listing());
    for (a, b) in m.engine.seen.iter().zip(&expected.engine.seen) {
        prop_assert_eq!(a, b, "seen\n{}", listing());
    }
    prop_assert!(*m.engine.memory == *expected.engine.memory, "memory\n{}", listing());
    prop_assert_eq!(rt.fp.raised | guest_flags(rt.fp.mxcsr), expected.cpu.rt.fp.raised, "flags\n{}", listing());
    Ok(())
}

/// Writes the case about to run to the file `JIT_TRACE`, to find what crashed the process.
fn trace(what: &str, state: &State, steps: &[Step]) {
    if let Some(file) = std::env::var_os("JIT_TRACE") {
        std::fs::write(file, format!("{what}\n{state:?}\n{steps:?}\n")).expect("the trace file can be written");
    }
}

/// The program, then a branch back to it while the counter in `x[6]`, which programs leave alone, is not zero.
fn run_loop<B: Executor>(b: &mut B, steps: &[Step], inverted: bool) -> Result<(), Stop> {
    // With so much alive throughout the loop, registers run out.
    let early: Vec<B::V> = if steps.len().is_multiple_of(3) {
        (0..8).map(|i| b.get(super::machine::slot(0, i))).collect()
    } else {
        Vec::new()
    };
    run(b, START, steps, 0)?;
    for (i, v) in early.into_iter().enumerate().filter(|(i, _)| *i != 6) {
        let other = b.get(super::machine::slot(0, i + 1));
        let sum = b.bin(BinOp::Add, 64, v, other);
        b.put(super::machine::slot(0, i), sum);
    }
    let counter = super::machine::slot(0, 6);
    let (n, one, zero) = (b.get(counter), b.konst(64, 1), b.konst(64, 0));
    let n = b.bin(BinOp::Sub, 64, n, one);
    b.put(counter, n);
    let again = |b: &mut B| {
        let t = b.konst(64, u128::from(START));
        b.branch(t, BranchKind::Jump).map(|()| [])
    };
    if inverted {
        let c = b.cmp(CmpOp::Eq, 64, n, zero);
        b.branch_on(c, [], |_| Ok([]), again).map(|_: [B::V; 0]| ())
    } else {
        let c = b.cmp(CmpOp::Ne, 64, n, zero);
        b.branch_on(c, [], again, |_| Ok([])).map(|_: [B::V; 0]| ())
    }
}

/// Twice, as a loop in registers, if the end leads back to the beginning.
fn compile_region(
    compiler: &mut Compiler,
    fallthrough: u64,
    fp_flush: bool,
    f: impl Fn(&mut Builder<'_>) -> Result<(), Stop>,
) -> CompiledBlock {
    let region = Some(RegionContext::default());
    let mut b = compiler.jit.begin(BlockContext { region, fp_flush, ..Compiler::context() });
    let turn = |b: &mut Builder<'_>| {
        let left = f(b).is_err();
        assert!(!left || b.ended());
        b.follow(START, fallthrough)
    };
    let block = if !turn(&mut b) {
        b.finish(fallthrough)
    } else {
        b.begin_loop();
        if turn(&mut b) { b.end_loop(START) } else { b.finish(fallthrough) }
    };
    block.expect("the buffer is large enough")
}

fn check_loop(
    state: &State,
    steps: &[Step],
    reach: Reach,
    times: u64,
    without: Mechanisms,
) -> Result<(), TestCaseError> {
    let tlb = reach != Reach::Slow;
    let fallthrough = START + 0x100;
    let state = State { x: core::array::from_fn(|i| if i == 6 { times } else { state.x[i] }), ..state.clone() };
    let inverted = times.is_multiple_of(2);
    trace(&format!("loop {reach:?} times {times} without {without:?}"), &state, steps);
    let mut expected = machine(&state, !tlb, steps);
    let next = loop {
        let next = expected.interpret(fallthrough, |i| run_loop(i, steps, inverted));
        if next != Some(START) {
            break next;
        }
    };
    let mut compiler = reach.compiler_without(host_features(), without);
    let block = compile_region(&mut compiler, fallthrough, flushes(steps), |b| run_loop(b, steps, inverted));
    let mut m = machine(&state, !tlb, steps);
    let enter = reach.enter(&mut m, &mut compiler, block.entry);
    let left_to = loop {
        enter(&compiler);
        let by_state = m.cpu.rt.exit_reason == exit::STATE;
        let pc = if by_state { m.cpu.state.pc } else { m.cpu.rt.exit_pc };
        if pc != START {
            break if by_state { None } else { Some(pc) };
        }
    };
    let listing = || super::listing::listing(&compiler.jit, &block);
    if !(left_to.is_none() && next == Some(m.cpu.state.pc)) {
        prop_assert_eq!(left_to, next, "next pc\n{}", listing());
    }
    let mut want = expected.cpu.state.normal();
    want.pc = next.unwrap_or(want.pc);
    prop_assert_eq!(&m.cpu.state.normal(), &want, "state\n{}", listing());
    prop_assert!(m.engine.seen == expected.engine.seen, "seen\n{}", listing());
    prop_assert!(*m.engine.memory == *expected.engine.memory, "memory\n{}", listing());
    let fp = &m.cpu.rt.fp;
    prop_assert_eq!(fp.raised | guest_flags(fp.mxcsr), expected.cpu.rt.fp.raised, "flags\n{}", listing());
    Ok(())
}

/// A loop whose turns go four ways: blocks that branch on bits of the counter in `x[6]`, and four that end a turn.
struct Tree<'a> {
    steps: &'a [Step],
    /// Bits say how the blocks branch, which way the region's own path goes, and what becomes an arm.
    shape: u32,
}

impl Tree<'_> {
    const BLOCKS: usize = 7;
    /// Where turns end that are the last.
    const END: u64 = START + 0x400;

    fn pc(node: usize) -> u64 {
        START + 0x20 * node as u64
    }

    fn node(pc: u64) -> Option<usize> {
        let at = pc.checked_sub(START)?;
        (at % 0x20 == 0 && at / 0x20 < Self::BLOCKS as u64).then_some(at as usize / 0x20)
    }

    /// Where a block goes that branches: if the counter's bit is set, and otherwise.
    fn ways(node: usize) -> Option<(usize, usize)> {
        (node < 3).then_some((2 * node + 2, 2 * node + 1))
    }

    fn has(&self, bit: usize) -> bool {
        self.shape & 1 << bit != 0
    }

    /// Which way the region's path goes, and the other.
    fn main(&self, node: usize) -> Option<(usize, usize)> {
        let (set, clear) = Self::ways(node)?;
        Some(if self.has(node) { (set, clear) } else { (clear, set) })
    }

    /// The address behind a block.
    fn fallthrough(node: usize) -> u64 {
        Self::ways(node).map_or(Self::END, |(_, clear)| Self::pc(clear))
    }

    fn run<B: Executor>(&self, b: &mut B, node: usize) -> Result<(), Stop> {
        let part = self.steps.len() / Self::BLOCKS;
        run(b, Self::pc(node), &self.steps[part * node..][..part], 0)?;
        let slot = super::machine::slot(0, 6);
        let (n, one) = (b.get(slot), b.konst(64, 1));
        let Some((set, _)) = Self::ways(node) else {
            let (n, zero) = (b.bin(BinOp::Sub, 64, n, one), b.konst(64, 0));
            b.put(slot, n);
            let again = b.cmp(CmpOp::Ne, 64, n, zero);
            return Self::go(b, again, START);
        };
        let amount = b.konst(64, u128::from(node != 0));
        let shifted = b.bin(BinOp::Shr, 64, n, amount);
        let bit = b.bin(BinOp::And, 64, shifted, one);
        let zero = b.konst(64, 0);
        let c = b.cmp(CmpOp::Ne, 64, bit, zero);
        if self.has(3 + node) {
            let (yes, no) = (b.konst(64, Self::pc(set).into()), b.konst(64, Self::fallthrough(node).into()));
            let target = b.select(64, c, yes, no);
            return b.branch(target, BranchKind::Jump);
        }
        Self::go(b, c, Self::pc(set))
    }

    fn go<B: Executor>(b: &mut B, condition: B::V, to: u64) -> Result<(), Stop> {
        let away = |b: &mut B| {
            let t = b.konst(64, to.into());
            b.branch(t, BranchKind::Jump).map(|()| [])
        };
        b.branch_on(condition, [], away, |_| Ok([])).map(|_: [B::V; 0]| ())
    }

    fn record(&self, b: &mut Builder<'_>, node: usize) {
        let left = self.run(b, node).is_err();
        assert!(!left || b.ended());
    }

    /// Records the path from `node` on. Gives whether it leads back, and where it ends otherwise.
    fn path(&self, b: &mut Builder<'_>, node: usize, with_arms: bool) -> (bool, u64) {
        self.record(b, node);
        let fallthrough = Self::fallthrough(node);
        let Some((next, other)) = self.main(node) else { return (b.follow(START, fallthrough), fallthrough) };
        if with_arms
            && self.has(6 + node)
            && let Some(arm) = b.begin_arm(Self::pc(other), fallthrough)
        {
            match self.path(b, other, true) {
                (true, _) => b.loop_back(START),
                (false, end) => b.leave(end),
            }
            b.end_arm(arm);
        }
        if b.follow(Self::pc(next), fallthrough) { self.path(b, next, with_arms) } else { (false, fallthrough) }
    }

    fn compile(&self, compiler: &mut Compiler) -> CompiledBlock {
        let region = Some(RegionContext::default());
        let context = BlockContext { region, fp_flush: flushes(self.steps), ..Compiler::context() };
        let mut b = compiler.jit.begin(context);
        for node in 1..Self::BLOCKS {
            self.record(&mut b, node);
            assert!(b.survey());
        }
        let (mut back, mut end) = self.path(&mut b, 0, false);
        if back {
            b.begin_loop();
            (back, end) = self.path(&mut b, 0, true);
        }
        let block = if back { b.end_loop(START) } else { b.finish(end) };
        block.expect("the buffer is large enough")
    }
}

fn check_tree(state: &State, tree: &Tree<'_>, reach: Reach, times: u64) -> Result<(), TestCaseError> {
    let tlb = reach != Reach::Slow;
    let state = State { x: core::array::from_fn(|i| if i == 6 { times } else { state.x[i] }), ..state.clone() };
    trace(&format!("tree {:#x} {reach:?} times {times}", tree.shape), &state, tree.steps);
    let mut expected = machine(&state, !tlb, tree.steps);
    let interpret = |m: &mut Machine, node: usize| {
        m.interpret(Tree::fallthrough(node), |i| tree.run(i, node)).unwrap_or(m.cpu.state.pc)
    };
    let mut next = START;
    while let Some(node) = Tree::node(next) {
        next = interpret(&mut expected, node);
    }
    let mut compiler = reach.compiler(host_features());
    let block = tree.compile(&mut compiler);
    let mut m = machine(&state, !tlb, tree.steps);
    let enter = reach.enter(&mut m, &mut compiler, block.entry);
    let mut pc = START;
    // Blocks outside the region run until it is entered again.
    while let Some(node) = Tree::node(pc) {
        if node != 0 {
            pc = interpret(&mut m, node);
            continue;
        }
        m.engine.translated = true;
        enter(&compiler);
        m.engine.translated = false;
        m.cpu.rt.fp.raised |= guest_flags(m.cpu.rt.fp.mxcsr);
        let by_state = m.cpu.rt.exit_reason == exit::STATE;
        pc = if by_state { m.cpu.state.pc } else { m.cpu.rt.exit_pc };
    }
    let listing = || super::listing::listing(&compiler.jit, &block);
    prop_assert_eq!(pc, next, "next pc\n{}", listing());
    let mut want = expected.cpu.state.normal();
    (want.pc, m.cpu.state.pc) = (next, next);
    prop_assert_eq!(&m.cpu.state.normal(), &want, "state\n{}", listing());
    prop_assert_eq!(m.cpu.rt.fp.raised, expected.cpu.rt.fp.raised, "flags\n{}", listing());
    prop_assert!(m.engine.seen == expected.engine.seen, "seen\n{}", listing());
    prop_assert!(*m.engine.memory == *expected.engine.memory, "memory\n{}", listing());
    Ok(())
}

fn step() -> impl Strategy<Value = Step> {
    prop::array::uniform5(0u32..10_000)
}

/// Cases per test; more with `JIT_CASES`.
fn cases() -> u32 {
    std::env::var("JIT_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slow_paths_see_precise_state(state in state(), steps in prop::collection::vec(step(), 1..40)) {
        check(host_features(), Reach::Slow, &state, &steps)?;
    }

    #[test]
    fn inline_memory(state in state(), steps in prop::collection::vec(step(), 1..40)) {
        check(host_features(), Reach::Tlb, &state, &steps)?;
    }

    #[test]
    fn windows(state in state(), steps in prop::collection::vec(step(), 1..40), which in any::<u64>()) {
        check(host_features(), Reach::Window(which), &state, &steps)?;
        check(host_features(), Reach::Window(u64::MAX), &state, &steps)?;
    }

    #[test]
    fn baseline_host(state in state(), steps in prop::collection::vec(step(), 1..40)) {
        check(Compiler::BASELINE, Reach::Tlb, &state, &steps)?;
    }

    #[test]
    fn long_blocks_spill(state in state(), steps in prop::collection::vec(step(), 100..200)) {
        check(host_features(), Reach::Tlb, &state, &steps)?;
    }

    #[test]
    fn loops_carry_registers(
        state in state(),
        steps in prop::collection::vec(step().prop_filter("calls", |s| !matches!(s[0] % OPERATIONS, 42 | 45)), 1..60),
        reach in prop_oneof![Just(Reach::Slow), Just(Reach::Tlb), any::<u64>().prop_map(Reach::Window)],
        times in 1u64..5,
    ) {
        check_loop(&state, &steps, reach, times, Mechanisms::empty())?;
    }

    #[test]
    fn short_loops_carry_registers(
        state in state(),
        steps in prop::collection::vec(step().prop_filter("calls", |s| !matches!(s[0] % OPERATIONS, 42 | 45)), 1..5),
        reach in prop_oneof![Just(Reach::Slow), Just(Reach::Tlb), any::<u64>().prop_map(Reach::Window)],
        times in 1u64..5,
    ) {
        check_loop(&state, &steps, reach, times, Mechanisms::empty())?;
    }

    #[test]
    fn mechanisms_can_be_left_out(
        state in state(),
        steps in prop::collection::vec(step().prop_filter("calls", |s| !matches!(s[0] % OPERATIONS, 42 | 45)), 1..60),
        reach in prop_oneof![Just(Reach::Slow), Just(Reach::Tlb), any::<u64>().prop_map(Reach::Window)],
        times in 1u64..5,
        without in any::<u64>().prop_map(Mechanisms::from_bits_truncate),
    ) {
        check_loop(&state, &steps, reach, times, without)?;
    }

    #[test]
    fn trees_carry_registers(
        state in state(),
        steps in prop::collection::vec(step().prop_filter("calls", |s| !matches!(s[0] % OPERATIONS, 42 | 45)), 7..90),
        shape in any::<u32>(),
        reach in prop_oneof![Just(Reach::Slow), Just(Reach::Tlb), any::<u64>().prop_map(Reach::Window)],
        times in 1u64..9,
    ) {
        check_tree(&state, &Tree { steps: &steps, shape }, reach, times)?;
    }
}
