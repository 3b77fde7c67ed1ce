//! Reads like a driver: probe, configure, take and end interrupts.

use super::*;

const TIMER: u32 = 27;
const UART: u32 = 33;

fn dist(gic: &mut GicV2, at: u64) -> u32 {
    gic.dist_read(0, at, 4) as u32
}

fn set_dist(gic: &mut GicV2, at: u64, value: u32) {
    gic.dist_write(0, at, 4, value.into());
}

fn iar(gic: &mut GicV2, cpu: usize) -> u32 {
    gic.cpu_read(cpu, gicc::IAR, 4) as u32
}

fn eoi(gic: &mut GicV2, cpu: usize, value: u32) {
    gic.cpu_write(cpu, gicc::EOIR, 4, value.into());
}

fn enable(gic: &mut GicV2, irq: u32) {
    set_dist(gic, gicd::ISENABLER + u64::from(irq / 32) * 4, 1 << (irq % 32));
}

/// What an operating system does at start: everything level-triggered at priority 0xa0, all to CPU 0, interfaces on.
fn booted(cpus: usize) -> GicV2 {
    let mut gic = GicV2::new(cpus);
    set_dist(&mut gic, gicd::CTLR, 0);
    for irq in (32..IRQS as u64).step_by(4) {
        set_dist(&mut gic, gicd::ITARGETSR + irq, 0x0101_0101);
        set_dist(&mut gic, gicd::IPRIORITYR + irq, 0xa0a0_a0a0);
    }
    for irq in (32..IRQS as u64).step_by(32) {
        set_dist(&mut gic, gicd::ICENABLER + irq / 8, u32::MAX);
    }
    set_dist(&mut gic, gicd::CTLR, 1);
    for cpu in 0..cpus {
        for irq in (0..32).step_by(4) {
            gic.dist_write(cpu, gicd::IPRIORITYR + irq, 4, 0xa0a0_a0a0);
        }
        gic.cpu_write(cpu, gicc::PMR, 4, 0xf0);
        gic.cpu_write(cpu, gicc::CTLR, 4, 1);
    }
    gic
}

#[test]
fn probe() {
    let mut gic = GicV2::new(4);
    assert_eq!((dist(&mut gic, gicd::TYPER) & 31) + 1, 9);
    assert_eq!(dist(&mut gic, gicd::TYPER) >> 5 & 7, 3);
    assert_eq!(gic.cpu_read(0, gicc::IIDR, 4) & 0xff_0fff, 0x02_043b);
    assert_eq!(dist(&mut gic, 0xfe8) >> 4 & 15, 2);
    // CPUs find their own target mask in the banked registers.
    assert_eq!(gic.dist_read(2, gicd::ITARGETSR, 4), 0x0404_0404);
    assert_eq!(iar(&mut gic, 0), SPURIOUS);
}

#[test]
fn a_level_interrupt_from_line_to_deactivation() {
    let mut gic = booted(1);
    gic.set_spi(1, true);
    assert!(!gic.irq_asserted(0), "not enabled");
    enable(&mut gic, UART);
    assert!(gic.irq_asserted(0));
    assert_eq!(gic.cpu_read(0, gicc::HPPIR, 4), UART.into());
    assert_eq!(iar(&mut gic, 0), UART);
    assert!(!gic.irq_asserted(0), "active");
    assert_eq!(gic.cpu_read(0, gicc::RPR, 4), 0xa0);
    assert_eq!(dist(&mut gic, gicd::ISACTIVER + 4), 2);
    assert_eq!(iar(&mut gic, 0), SPURIOUS);
    // The line is still up: it comes again after the end of interrupt.
    eoi(&mut gic, 0, UART);
    assert!(gic.irq_asserted(0));
    assert_eq!(iar(&mut gic, 0), UART);
    gic.set_spi(1, false);
    eoi(&mut gic, 0, UART);
    assert!(!gic.irq_asserted(0));
    assert_eq!(gic.cpu_read(0, gicc::RPR, 4), 0xff);
}

#[test]
fn an_edge_is_remembered_while_active() {
    let mut gic = booted(1);
    set_dist(&mut gic, gicd::ICFGR + 8, 1 << 3);
    assert_eq!(dist(&mut gic, gicd::ICFGR + 8), 8);
    enable(&mut gic, UART);
    gic.set_spi(1, true);
    gic.set_spi(1, false);
    assert!(gic.irq_asserted(0));
    assert_eq!(iar(&mut gic, 0), UART);
    gic.set_spi(1, true);
    gic.set_spi(1, false);
    assert!(!gic.irq_asserted(0));
    eoi(&mut gic, 0, UART);
    assert_eq!(iar(&mut gic, 0), UART);
    eoi(&mut gic, 0, UART);
    assert_eq!(iar(&mut gic, 0), SPURIOUS);
}

#[test]
fn end_of_interrupt_split_from_deactivation() {
    let mut gic = booted(1);
    gic.cpu_write(0, gicc::CTLR, 4, 0x201);
    enable(&mut gic, UART);
    gic.set_spi(1, true);
    assert_eq!(iar(&mut gic, 0), UART);
    eoi(&mut gic, 0, UART);
    assert_eq!(gic.cpu_read(0, gicc::RPR, 4), 0xff);
    assert!(!gic.irq_asserted(0), "priority dropped but still active");
    gic.cpu_write(0, gicc::DIR, 4, UART.into());
    assert!(gic.irq_asserted(0));
}

#[test]
fn a_more_urgent_interrupt_preempts() {
    let mut gic = booted(1);
    enable(&mut gic, UART);
    enable(&mut gic, TIMER);
    gic.dist_write(0, gicd::IPRIORITYR + u64::from(TIMER), 1, 0x80);
    gic.set_spi(1, true);
    assert_eq!(iar(&mut gic, 0), UART);
    gic.set_ppi(0, TIMER, true);
    assert!(gic.irq_asserted(0));
    assert_eq!(iar(&mut gic, 0), TIMER);
    assert_eq!(gic.cpu_read(0, gicc::RPR, 4), 0x80);
    gic.set_ppi(0, TIMER, false);
    eoi(&mut gic, 0, TIMER);
    assert_eq!(gic.cpu_read(0, gicc::RPR, 4), 0xa0);
    eoi(&mut gic, 0, UART);
}

#[test]
fn the_binary_point_decides_preemption() {
    let mut gic = booted(1);
    enable(&mut gic, UART);
    enable(&mut gic, TIMER);
    gic.dist_write(0, gicd::IPRIORITYR + u64::from(TIMER), 1, 0x90);
    // With group priorities of two bits 0x90 and 0xa0 are equals.
    gic.cpu_write(0, gicc::BPR, 4, 5);
    gic.set_spi(1, true);
    assert_eq!(iar(&mut gic, 0), UART);
    gic.set_ppi(0, TIMER, true);
    assert!(!gic.irq_asserted(0));
    gic.cpu_write(0, gicc::BPR, 4, 0);
    assert_eq!(gic.cpu_read(0, gicc::BPR, 4), 2);
}

#[test]
fn the_priority_mask_holds_interrupts_back() {
    let mut gic = booted(1);
    enable(&mut gic, TIMER);
    gic.set_ppi(0, TIMER, true);
    gic.cpu_write(0, gicc::PMR, 4, 0xa0);
    assert!(!gic.irq_asserted(0));
    assert_eq!(iar(&mut gic, 0), SPURIOUS);
    gic.cpu_write(0, gicc::PMR, 4, 0xa8);
    assert!(gic.irq_asserted(0));
}

#[test]
fn inter_processor_interrupts_carry_their_sender() {
    let mut gic = booted(4);
    gic.dist_write(1, gicd::SGIR, 4, (1 << 16) | 5);
    gic.dist_write(3, gicd::SGIR, 4, (1 << 24) | 5);
    assert!(gic.irq_asserted(0) && gic.irq_asserted(1) && gic.irq_asserted(2) && !gic.irq_asserted(3));
    let first = iar(&mut gic, 0);
    assert_eq!(first, 5 | (1 << 10));
    eoi(&mut gic, 0, first);
    let second = iar(&mut gic, 0);
    assert_eq!(second, 5 | (3 << 10));
    eoi(&mut gic, 0, second);
    assert!(!gic.irq_asserted(0));
    gic.dist_write(2, gicd::SGIR, 4, (2 << 24) | 1);
    assert_eq!(gic.dist_read(2, gicd::SPENDSGIR, 4), 0x0000_0400);
    gic.dist_write(2, gicd::CPENDSGIR + 1, 1, 4);
    assert_eq!(iar(&mut gic, 2), 5 | (3 << 10));
}

#[test]
fn shared_interrupts_follow_their_target() {
    let mut gic = booted(2);
    enable(&mut gic, UART);
    gic.dist_write(0, gicd::ITARGETSR + u64::from(UART), 1, 2);
    gic.set_spi(1, true);
    assert!(!gic.irq_asserted(0) && gic.irq_asserted(1));
    assert_eq!(iar(&mut gic, 1), UART);
    eoi(&mut gic, 1, UART);
    gic.dist_write(0, gicd::ITARGETSR + u64::from(UART), 1, 1);
    assert!(gic.irq_asserted(0) && !gic.irq_asserted(1));
}

#[test]
fn pending_can_be_set_and_cleared_by_software() {
    let mut gic = booted(1);
    enable(&mut gic, UART);
    set_dist(&mut gic, gicd::ISPENDR + 4, 2);
    assert!(gic.irq_asserted(0));
    assert_eq!(dist(&mut gic, gicd::ISPENDR + 4), 2);
    set_dist(&mut gic, gicd::ICPENDR + 4, 2);
    assert!(!gic.irq_asserted(0));
    // A level-sensitive line that is up cannot be cleared.
    gic.set_spi(1, true);
    set_dist(&mut gic, gicd::ICPENDR + 4, 2);
    assert!(gic.irq_asserted(0));
}

#[test]
fn groups() {
    let mut gic = booted(1);
    enable(&mut gic, UART);
    set_dist(&mut gic, gicd::IGROUPR + 4, 2);
    gic.set_spi(1, true);
    assert!(!gic.irq_asserted(0), "group 1 not forwarded");
    set_dist(&mut gic, gicd::CTLR, 3);
    gic.cpu_write(0, gicc::CTLR, 4, 0xb);
    assert!(gic.irq_asserted(0) && !gic.fiq_asserted(0));
    assert_eq!(iar(&mut gic, 0), SPURIOUS_GROUP1);
    assert_eq!(gic.cpu_read(0, gicc::AIAR, 4), UART.into());
    gic.cpu_write(0, gicc::AEOIR, 4, UART.into());
    set_dist(&mut gic, gicd::IGROUPR + 4, 0);
    assert!(gic.fiq_asserted(0) && !gic.irq_asserted(0));
}

#[test]
fn reset_forgets_configuration_but_not_wires() {
    let mut gic = booted(1);
    enable(&mut gic, UART);
    gic.set_spi(1, true);
    gic.reset();
    assert!(!gic.irq_asserted(0));
    assert_eq!(dist(&mut gic, gicd::ISENABLER + 4), 0);
    assert_eq!(dist(&mut gic, gicd::ISPENDR + 4), 2);
}

#[test]
fn accesses_out_of_range_are_harmless() {
    let mut gic = GicV2::new(3);
    for at in (0..0x1000).step_by(4) {
        for size in [1, 2, 4, 8] {
            gic.dist_write(7, at, size, u64::MAX);
            gic.dist_read(7, at, size);
            gic.cpu_write(7, at, size, u64::MAX);
            gic.cpu_read(7, at, size);
        }
    }
    gic.set_spi(5000, true);
    gic.set_ppi(9, 90, true);
}
