//! Walks over tables built in memory.

use super::*;
use crate::testing::{AP_EL0, AP_RO, Machine, NG, PAGE_RW, PXN, RAM_BASE, UXN};
use x86_backend::guest::AccessKind::{Fetch, Read, Write};

fn go(m: &mut Machine, va: u64, kind: AccessKind, mode: Mode) -> Result<Mapping, Fault> {
    let regime = Regime::of(&m.cpu.state);
    regime.translate(m.services(), va, kind, mode).map(|t| t.mapping)
}

const VA: u64 = 0x7f_1234_5000;

#[test]
fn flat_with_the_mmu_off() {
    let mut m = Machine::new();
    let mapping = go(&mut m, 0x4008_0123, Write, Mode::Kernel).unwrap();
    assert_eq!(mapping.phys, 0x4008_0123);
    assert!(mapping.read && mapping.write && mapping.fetch && mapping.global && !mapping.device);
    assert_eq!(go(&mut m, 1 << 48, Read, Mode::Kernel), Err(Fault::AddressSize(0)));
    assert_eq!(go(&mut m, 0x4008_0002, Fetch, Mode::Kernel), Err(Fault::PcAlignment));
}

#[test]
fn pages_and_blocks_of_the_4k_granule() {
    let mut m = Machine::with_mmu();
    m.map(VA, 0x4001_2000, PAGE_RW | NG);
    let page = go(&mut m, VA + 0x345, Read, Mode::Kernel).unwrap();
    assert_eq!((page.phys, page.size_bits, page.global), (0x4001_2345, 12, false));
    let high = 0xffff_8000_0020_0000;
    let entry = m.entry(high, 2);
    m.write(entry, 0x4020_0000 | 0x701);
    let block = go(&mut m, high + 0x1_2345, Read, Mode::Kernel).unwrap();
    assert_eq!((block.phys, block.size_bits, block.global), (0x4021_2345, 21, true));
    let entry = m.entry(1 << 40, 1);
    m.write(entry, 0x8000_0000 | 0x705);
    let gigabyte = go(&mut m, (1 << 40) + 0x3fff_ffff, Read, Mode::Kernel).unwrap();
    assert_eq!((gigabyte.phys, gigabyte.size_bits, gigabyte.device), (0xbfff_ffff, 30, true));
}

#[test]
fn translation_faults_name_their_level() {
    let mut m = Machine::with_mmu();
    m.map(VA, 0x4001_2000, PAGE_RW);
    assert_eq!(go(&mut m, 1 << 47, Read, Mode::Kernel), Err(Fault::Translation(0)));
    assert_eq!(go(&mut m, VA + (1 << 30), Read, Mode::Kernel), Err(Fault::Translation(1)));
    assert_eq!(go(&mut m, VA + (1 << 21), Read, Mode::Kernel), Err(Fault::Translation(2)));
    assert_eq!(go(&mut m, VA + (1 << 12), Read, Mode::Kernel), Err(Fault::Translation(3)));
    // Not canonical, and tagged.
    assert_eq!(go(&mut m, VA | 1 << 48, Read, Mode::Kernel), Err(Fault::Translation(0)));
    assert_eq!(go(&mut m, VA | 0xab << 56, Read, Mode::Kernel), Err(Fault::Translation(0)));
    m.cpu.state.tcr_el1 |= 1 << 37;
    assert_eq!(go(&mut m, VA | 0xab << 56, Read, Mode::Kernel).unwrap().phys, 0x4001_2000);
    m.cpu.state.tcr_el1 |= 1 << 7;
    assert_eq!(go(&mut m, VA, Read, Mode::Kernel), Err(Fault::Translation(0)));
    // E0PD0 hides the lower half from EL0 only, E0PD1 the upper half.
    m.cpu.state.tcr_el1 = m.cpu.state.tcr_el1 & !(1 << 7) | 1 << 55;
    assert!(go(&mut m, VA, Read, Mode::Kernel).is_ok());
    assert_eq!(go(&mut m, VA, Read, Mode::User), Err(Fault::Translation(0)));
    m.cpu.state.tcr_el1 ^= 3 << 55;
    assert_ne!(go(&mut m, VA, Read, Mode::User), Err(Fault::Translation(0)));
    // A block at level 0 and a level 3 descriptor of the block kind do not exist.
    m.cpu.state.tcr_el1 &= !(1 << 7);
    let entry = m.entry(VA, 3);
    m.write(entry, 0x4001_2000 | 0x701);
    assert_eq!(go(&mut m, VA, Read, Mode::Kernel), Err(Fault::Translation(3)));
    let entry = m.entry(VA, 0);
    m.write(entry, 0x701);
    assert_eq!(go(&mut m, VA, Read, Mode::Kernel), Err(Fault::Translation(0)));
}

#[test]
fn other_faults_of_a_walk() {
    let mut m = Machine::with_mmu();
    m.map(VA, 0x4001_2000, PAGE_RW & !desc::AF);
    assert_eq!(go(&mut m, VA, Read, Mode::Kernel), Err(Fault::AccessFlag(3)));
    m.cpu.state.tcr_el1 &= !(7 << 32);
    m.map(VA, 0x1_4001_2000, PAGE_RW);
    assert_eq!(go(&mut m, VA, Read, Mode::Kernel), Err(Fault::AddressSize(3)));
    let entry = m.entry(VA, 1);
    m.write(entry, 0x1_0000_0003);
    assert_eq!(go(&mut m, VA, Read, Mode::Kernel), Err(Fault::AddressSize(1)));
    m.write(entry, 0x1000_0003);
    assert_eq!(go(&mut m, VA, Read, Mode::Kernel), Err(Fault::ExternalOnWalk(2)));
    m.cpu.state.ttbr0_el1 = 1 << 40;
    assert_eq!(go(&mut m, VA, Read, Mode::Kernel), Err(Fault::AddressSize(0)));
}

/// (read, write, fetch) for user, kernel, kernel with PAN.
fn rights(m: &mut Machine) -> [[bool; 3]; 3] {
    [Mode::User, Mode::Kernel, Mode::KernelPan]
        .map(|mode| [Read, Write, Fetch].map(|kind| go(m, VA, kind, mode).is_ok()))
}

#[test]
fn access_permissions() {
    let (t, f) = (true, false);
    let mut m = Machine::with_mmu();
    let check = |m: &mut Machine, attributes: u64, user: [bool; 3], kernel: [bool; 3], pan: [bool; 3]| {
        m.map(VA, 0x4001_2000, PAGE_RW | attributes);
        assert_eq!(rights(m), [user, kernel, pan], "{attributes:#x}");
    };
    // Kernel data is executable by the user if nothing forbids it.
    check(&mut m, 0, [f, f, t], [t, t, t], [t, t, t]);
    check(&mut m, UXN, [f, f, f], [t, t, t], [t, t, t]);
    check(&mut m, UXN | AP_RO, [f, f, f], [t, f, t], [t, f, t]);
    check(&mut m, UXN | PXN, [f, f, f], [t, t, f], [t, t, f]);
    // What the user can write the kernel does not execute.
    check(&mut m, AP_EL0, [t, t, t], [t, t, f], [f, f, f]);
    check(&mut m, AP_EL0 | AP_RO, [t, f, t], [t, f, t], [f, f, t]);
    check(&mut m, AP_EL0 | AP_RO | UXN | PXN, [t, f, f], [t, f, f], [f, f, f]);
    m.cpu.state.sctlr_el1 |= sctlr::WXN;
    check(&mut m, AP_EL0, [t, t, f], [t, t, f], [f, f, f]);
    check(&mut m, 0, [f, f, t], [t, t, f], [t, t, f]);
    check(&mut m, AP_EL0 | AP_RO, [t, f, t], [t, f, t], [f, f, t]);
    assert_eq!(go(&mut m, VA, Write, Mode::User), Err(Fault::Permission(3)));
}

#[test]
fn tables_restrict_what_is_below() {
    let mut m = Machine::with_mmu();
    m.map(VA, 0x4001_2000, PAGE_RW | AP_EL0);
    let entry = m.entry(VA, 1);
    let table = m.read(entry);
    m.write(entry, table | desc::AP_TABLE_NO_EL0 | desc::UXN_TABLE);
    assert_eq!(rights(&mut m), [[false; 3], [true; 3], [true; 3]]);
    m.write(entry, table | desc::AP_TABLE_READ_ONLY | desc::PXN_TABLE);
    assert_eq!(rights(&mut m)[0], [true, false, true]);
    assert_eq!(rights(&mut m)[1], [true, false, false]);
    // Unless the hierarchy is disabled.
    m.cpu.state.tcr_el1 |= 1 << 41;
    assert_eq!(rights(&mut m)[0], [true, true, true]);
}

#[test]
fn granules_of_16k_and_64k() {
    // 64 KiB, 42 bits: two levels, from level 2.
    let mut m = Machine::with_mmu();
    let (top, next) = (RAM_BASE, RAM_BASE + 0x1_0000);
    m.cpu.state.ttbr0_el1 = top;
    m.cpu.state.tcr_el1 = 22 | 1 << 14 | 5 << 32;
    m.write(top + (VA >> 29) * 8, next | 3);
    m.write(next + (VA >> 16 & 0x1fff) * 8, 0x4003_0000 | PAGE_RW);
    let page = go(&mut m, VA + 0x12, Read, Mode::Kernel).unwrap();
    assert_eq!((page.phys, page.size_bits), (0x4003_0000 + (VA & 0xffff) + 0x12, 16));
    m.write(top + (VA >> 29) * 8, 0x6000_0000 | 0x701);
    assert_eq!(go(&mut m, VA, Read, Mode::Kernel).unwrap().phys, 0x6000_0000 + (VA & 0x1fff_ffff));

    // 16 KiB, 47 bits: three levels, from level 1.
    m.cpu.state.tcr_el1 = 17 | 2 << 14 | 5 << 32;
    let third = RAM_BASE + 0x2_0000;
    m.write(top + (VA >> 36) * 8, next | 3);
    m.write(next + (VA >> 25 & 0x7ff) * 8, third | 3);
    m.write(third + (VA >> 14 & 0x7ff) * 8, 0x4004_0000 | PAGE_RW);
    let page = go(&mut m, VA, Read, Mode::Kernel).unwrap();
    assert_eq!((page.phys, page.size_bits), (0x4004_0000 + (VA & 0x3fff), 14));
}

#[test]
fn a_small_address_space_begins_at_a_deeper_level() {
    let mut m = Machine::with_mmu();
    // 4 KiB granule, 25 bits: one table of 16 entries at level 2, aligned to its size.
    m.cpu.state.tcr_el1 = 39 | 5 << 32;
    m.cpu.state.ttbr0_el1 = RAM_BASE + 0x80;
    m.write(RAM_BASE + 0x80 + 5 * 8, 0x40a0_0000 | 0x701);
    let block = go(&mut m, 0xa1_2345, Read, Mode::Kernel).unwrap();
    assert_eq!((block.phys, block.size_bits), (0x40a1_2345, 21));
    assert_eq!(go(&mut m, 1 << 25, Read, Mode::Kernel), Err(Fault::Translation(0)));
}

#[test]
fn asids_and_tags() {
    let mut regime = Regime { sctlr: 0, tcr: 0, ttbr0: 0x1234 << 48, ttbr1: 0x5678 << 48, mair: 0 };
    assert_eq!(regime.asid(), 0x34);
    regime.tcr = 1 << 36 | 1 << 22;
    assert_eq!(regime.asid(), 0x5678);
    regime.tcr = 1 << 37;
    assert_eq!(regime.branch_address(0xab00_0000_0040_0000), 0x40_0000);
    assert_eq!(regime.branch_address(0xabff_ffff_ffff_0000), 0xabff_ffff_ffff_0000);
    regime.tcr = 1 << 38;
    assert_eq!(regime.branch_address(0xabff_ffff_ffff_0000), 0xffff_ffff_ffff_0000);
}
