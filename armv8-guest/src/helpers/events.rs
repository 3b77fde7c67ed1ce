//! Interrupt masking and waiting.

use super::timer;
use crate::exceptions;
use crate::isa::Cpu;
use core::sync::atomic::Ordering;
use x86_backend::runtime::event;

pub fn interrupt_mask_changed(cpu: &mut Cpu) {
    exceptions::mask_changed(cpu);
}

/// Waits once at most: whether an interrupt came is looked at when execution goes on. A masked one ends the wait too.
pub fn wfi(cpu: &mut Cpu) {
    timer::update(cpu);
    let services = cpu.services();
    if !services.irq_asserted() {
        services.wait_for_event();
    }
    cpu.rt.events.fetch_or(event::INTERRUPT, Ordering::Relaxed);
}

/// The event register is always taken to be set: a wait for an event may end at any time.
pub fn wfe(_cpu: &mut Cpu) {}

/// Nobody waits for long.
pub fn sev(_cpu: &mut Cpu) {}
