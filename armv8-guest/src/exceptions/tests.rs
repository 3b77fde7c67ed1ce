//! Exception entry and return: vectors, saved state, syndromes.

use super::*;
use crate::helpers;
use crate::testing::{Machine, PAGE_RW};
use x86_backend::guest::AccessKind::{Fetch, Read, Write};

const VBAR: u64 = 0xffff_8000_0000_0800;

fn machine() -> Machine {
    let mut m = Machine::with_mmu();
    m.cpu.state.vbar_el1 = VBAR;
    m.cpu.state.cpacr_el1 = 3 << 20;
    m.cpu.state.sctlr_el1 |= sctlr::SPAN;
    m.cpu.state.pc = 0x1000;
    context::update(&mut m.cpu.state);
    m
}

fn user(m: &mut Machine) {
    m.cpu.state.el = 0;
    m.cpu.state.spsel = 0;
    m.cpu.state.daif = 0;
    m.cpu.state.nzcv = flags::from_nzcv(0b1010);
    context::update(&mut m.cpu.state);
}

fn return_from_exception(m: &mut Machine) {
    let target = m.cpu.state.elr_el1;
    helpers::exception_return(&mut m.cpu, target);
}

#[test]
fn a_system_call_and_its_return() {
    let mut m = machine();
    user(&mut m);
    helpers::raise_svc(&mut m.cpu, 0x42);
    let state = &m.cpu.state;
    assert_eq!(state.pc, VBAR + 0x400);
    assert_eq!(state.elr_el1, 0x1004);
    assert_eq!(state.esr_el1, 0x5600_0042);
    assert_eq!(state.spsr_el1, 0xa000_0000);
    assert_eq!((state.el, state.spsel, state.daif, state.pan), (1, 1, 0xf, 0));
    m.cpu.state.nzcv = 0;
    return_from_exception(&mut m);
    let state = &m.cpu.state;
    assert_eq!((state.pc, state.el, state.spsel, state.daif), (0x1004, 0, 0, 0));
    assert_eq!(flags::to_nzcv(state.nzcv), 0b1010);
}

#[test]
fn the_vector_depends_on_where_it_came_from() {
    let mut m = machine();
    helpers::raise_brk(&mut m.cpu, 1);
    assert_eq!(m.cpu.state.pc, VBAR + 0x200);
    assert_eq!(m.cpu.state.esr_el1, 0xf200_0001);
    m.cpu.state.spsel = 0;
    interrupt(&mut m.cpu);
    assert_eq!(m.cpu.state.pc, VBAR + 0x80);
    assert_eq!(m.cpu.state.spsr_el1 & 0x1f, 4);
    user(&mut m);
    interrupt(&mut m.cpu);
    assert_eq!(m.cpu.state.pc, VBAR + 0x480);
}

#[test]
fn entry_sets_pan_and_ssbs_as_configured() {
    let mut m = machine();
    m.cpu.state.sctlr_el1 &= !sctlr::SPAN;
    m.cpu.state.sctlr_el1 |= sctlr::DSSBS;
    user(&mut m);
    m.cpu.state.dit = 1;
    m.cpu.state.uao = 1;
    m.cpu.state.excl_valid = 1;
    helpers::raise_svc(&mut m.cpu, 0);
    let state = &m.cpu.state;
    assert_eq!((state.pan, state.ssbs, state.dit, state.excl_valid), (1, 1, 0, 0));
    assert_eq!(state.uao, 0);
    assert_eq!(state.spsr_el1 & (3 << 23), 3 << 23);
    return_from_exception(&mut m);
    let state = &m.cpu.state;
    assert_eq!((state.pan, state.ssbs, state.dit, state.uao), (0, 0, 1, 1));
}

#[test]
fn syndromes_of_aborts() {
    let mut m = machine();
    let mut take = |from_user: bool, fault, kind| {
        m.cpu.state.el = 1;
        m.cpu.state.spsel = 1;
        if from_user {
            user(&mut m);
        }
        abort(&mut m.cpu, fault, 0xdead_0000, kind, 0);
        assert_eq!(m.cpu.state.far_el1, 0xdead_0000);
        m.cpu.state.esr_el1
    };
    assert_eq!(take(true, Fault::Translation(3), Read), 0x9200_0007);
    assert_eq!(take(true, Fault::Permission(3), Write), 0x9200_004f);
    assert_eq!(take(false, Fault::Translation(0), Write), 0x9600_0044);
    assert_eq!(take(false, Fault::AccessFlag(2), Read), 0x9600_000a);
    assert_eq!(take(false, Fault::External, Read), 0x9600_0010);
    assert_eq!(take(false, Fault::ExternalOnWalk(1), Read), 0x9600_0015);
    assert_eq!(take(false, Fault::AddressSize(1), Read), 0x9600_0001);
    assert_eq!(take(false, Fault::Alignment, Write), 0x9600_0061);
    assert_eq!(take(true, Fault::Permission(2), Fetch), 0x8200_000e);
    assert_eq!(take(false, Fault::Translation(1), Fetch), 0x8600_0005);
    assert_eq!(take(true, Fault::PcAlignment, Fetch), 0x8a00_0000);
}

#[test]
fn syndromes_of_instructions() {
    let mut m = machine();
    helpers::raise_undefined(&mut m.cpu);
    assert_eq!(m.cpu.state.esr_el1, 0x0200_0000);
    helpers::raise_fp_access(&mut m.cpu);
    assert_eq!(m.cpu.state.esr_el1, 0x1fe0_0000);
    helpers::raise_sp_alignment(&mut m.cpu);
    assert_eq!(m.cpu.state.esr_el1, 0x9a00_0000);
    helpers::raise_wfx_trap(&mut m.cpu, 1);
    assert_eq!(m.cpu.state.esr_el1, 0x07e0_0001);
}

#[test]
fn undefined_instructions_are_told_to_the_engine() {
    let mut m = machine();
    m.map(0x1000, 0x4000_0000, PAGE_RW);
    // udf #0; mrs x0, s3_0_c0_c0_4
    m.write(0x4000_0000, 0xd538_0080_0000_0000);
    user(&mut m);
    helpers::raise_undefined(&mut m.cpu);
    user(&mut m);
    m.cpu.state.pc = 0x1004;
    helpers::sysreg_undefined(&mut m.cpu, 0xc004);
    assert_eq!(m.cpu.state.esr_el1, 0x0200_0000);
    assert_eq!(m.cpu.state.elr_el1, 0x1004);
    assert_eq!(m.services().undefined, [(0, 0x1000), (0xd538_0080, 0x1004)]);
}

#[test]
fn a_trapped_register_access_names_register_and_direction() {
    let mut m = machine();
    m.map(0x1000, 0x4000_0000, PAGE_RW);
    // mrs x5, ctr_el0; msr daif, x7
    m.write(0x4000_0000, 0xd51b_4227_d53b_0025);
    user(&mut m);
    helpers::sysreg_trap(&mut m.cpu, 0xd801);
    assert_eq!(m.cpu.state.esr_el1, 0x6232_c0a1);
    user(&mut m);
    m.cpu.state.pc = 0x1004;
    helpers::sysreg_trap(&mut m.cpu, 0xda11);
    assert_eq!(m.cpu.state.esr_el1, 0x6232_d0e4);
}

#[test]
fn an_illegal_return_is_an_illegal_state_exception_at_its_target() {
    let mut m = machine();
    for illegal in [0x8, 0x1, 0x9, 0x10, 0x1d] {
        m.cpu.state.elr_el1 = 0x4000;
        m.cpu.state.spsr_el1 = 0x6000_0000 | illegal;
        return_from_exception(&mut m);
        let state = &m.cpu.state;
        assert_eq!(state.esr_el1, 0x3a00_0000);
        assert_eq!(state.elr_el1, 0x4000);
        assert_eq!(state.spsr_el1, 0x6010_0005);
        assert_eq!(state.pc, VBAR + 0x200);
    }
    // To a legal level, but with the illegal state bit set.
    m.cpu.state.elr_el1 = 0x4000;
    m.cpu.state.spsr_el1 = 0x0010_0000;
    return_from_exception(&mut m);
    assert_eq!(m.cpu.state.spsr_el1, 0x0010_0000);
    assert_eq!(m.cpu.state.pc, VBAR + 0x400);
}

#[test]
fn a_return_that_unmasks_lets_a_waiting_interrupt_in() {
    let mut m = machine();
    m.cpu.state.irq_line = 1;
    m.cpu.state.spsr_el1 = 0x3c5;
    return_from_exception(&mut m);
    assert_eq!(m.cpu.rt.events.load(Ordering::Relaxed), 0);
    m.cpu.state.spsr_el1 = 0x345;
    return_from_exception(&mut m);
    assert_eq!(m.cpu.rt.events.load(Ordering::Relaxed), event::INTERRUPT);
}
