//! The guest as the engine sees it.

use super::*;
use crate::testing::Machine;
use core::sync::atomic::Ordering;

#[test]
fn modes_follow_level_and_pan() {
    let mut state = Armv8::reset_state();
    assert_eq!(Armv8::mmu_mode(state.context(), false), 1);
    assert_eq!(Armv8::mmu_mode(state.context(), true), 0);
    state.pan = 1;
    assert_eq!(Armv8::mmu_mode(state.context(), false), 2);
    state.el = 0;
    assert_eq!(Armv8::mmu_mode(state.context(), false), 0);
}

#[test]
fn the_context_follows_control_registers() {
    let mut state = Armv8::reset_state();
    assert_eq!((state.fp_off, state.strict_align, state.sp_check), (1, 0, 0));
    state.cpacr_el1 = 3 << 20;
    state.sctlr_el1 |= mmu::sctlr::A | mmu::sctlr::SA;
    state.sp_el1 = 8;
    context::update(&mut state);
    assert_eq!((state.fp_off, state.strict_align, state.sp_check), (0, 1, 1));
    assert!(Armv8::strict_alignment(state.context()) && Armv8::fp_inline(state.context()));
    state.cpacr_el1 = 1 << 20;
    state.spsel = 0;
    context::update(&mut state);
    assert_eq!((state.fp_off, state.sp_check), (0, 0));
    state.el = 0;
    context::update(&mut state);
    assert_eq!(state.fp_off, 1);
}

/// Exceptions and returns from them do no full update.
#[test]
fn a_change_of_level_changes_only_what_depends_on_it() {
    use mmu::sctlr::{A, BT0, BT1, EN_DB, EN_IA, SA, SA0};
    let all = [A, BT0, BT1, EN_DB, EN_IA, SA, SA0];
    for (which, cpacr) in (0..1 << all.len()).flat_map(|which| (0..4).map(move |cpacr| (which, cpacr))) {
        let mut state = Armv8::reset_state();
        state.sctlr_el1 |=
            all.iter().enumerate().map(|(i, bit)| if which >> i & 1 != 0 { *bit } else { 0 }).sum::<u64>();
        (state.cpacr_el1, state.tcr_el1, state.sp_el0) = (cpacr << 20, 1 << 37 | 16 << 16 | 25, 8);
        context::update(&mut state);
        for level in [(0, 0), (1, 1), (0, 1), (1, 0), (1, 1)] {
            (state.el, state.spsel) = level;
            context::update_for_level(&mut state);
            let context = state.context();
            context::update(&mut state);
            assert_eq!(state.context(), context, "{which:x} {cpacr} {level:?}");
        }
    }
}

#[test]
fn an_interrupt_is_taken_when_unmasked_only() {
    let mut m = Machine::new();
    m.cpu.state.vbar_el1 = 0x8000;
    m.cpu.state.pc = 0x4000_0000;
    m.services().irq = true;
    assert!(!Armv8::poll_events(&mut m.cpu));
    assert_eq!(m.cpu.state.irq_line, 1);
    assert_eq!(m.cpu.rt.events.load(Ordering::Relaxed), 0, "a masked interrupt must not keep the engine busy");
    m.cpu.state.daif = 0;
    assert!(Armv8::poll_events(&mut m.cpu));
    assert_eq!(m.cpu.state.pc, 0x8280);
    assert_eq!(m.cpu.state.elr_el1, 0x4000_0000);
    assert_eq!(m.cpu.state.daif, 0xf);
    m.services().irq = false;
    assert!(!Armv8::poll_events(&mut m.cpu));
    assert_eq!(m.cpu.state.irq_line, 0);
}

#[test]
fn waiting_ends_for_a_masked_interrupt() {
    let mut m = Machine::new();
    helpers::wfi(&mut m.cpu);
    assert_eq!(m.services().waits, 1);
    m.services().irq = true;
    helpers::wfi(&mut m.cpu);
    assert_eq!(m.services().waits, 1);
}

#[test]
fn the_stack_check_follows_the_stack() {
    let mut m = Machine::new();
    m.cpu.state.sctlr_el1 |= mmu::sctlr::SA;
    m.cpu.state.pc = 0x100;
    m.cpu.state.sp_el1 = 0x1000;
    assert_eq!(helpers::stack_changed(&mut m.cpu), Ok(()));
    m.cpu.state.sp_el1 = 0x1008;
    assert_eq!(helpers::stack_changed(&mut m.cpu), Err(Stop));
    assert_eq!((m.cpu.state.pc, m.cpu.state.sp_check), (0x104, 1));
}
