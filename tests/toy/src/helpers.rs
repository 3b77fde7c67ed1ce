//! The functions that the description declares `extern`.

use crate::isa::Cpu;
use crate::{ROOT, TIMER, UART, cause, mode, trap};
use core::sync::atomic::Ordering;
use x86_backend::emit::Stop;
use x86_backend::guest::SystemEvent;
use x86_backend::runtime::event;

/// What `sys` does in system mode; every other code, and every code from [`code::CALLS`] on in any mode, traps.
pub mod code {
    pub const POWER_OFF: u64 = 0;
    pub const RESET: u64 = 1;
    /// Goes on at lr in user mode.
    pub const LEAVE: u64 = 2;
    /// Makes r0 the page table.
    pub const SET_ROOT: u64 = 3;
    /// Page tables changed: forgets all translations.
    pub const FLUSH: u64 = 4;
    /// The page that holds address r0 is mapped differently now.
    pub const FLUSH_PAGE: u64 = 5;
    /// Waits for the timer, or anything else.
    pub const WAIT: u64 = 6;
    /// Interrupts user mode after r0 ticks.
    pub const SET_TIMER: u64 = 7;
    /// Stored instructions are seen from here on; for user mode, too.
    pub const SYNC: u64 = 8;
    /// The first code that is a call of user mode to the system.
    pub const CALLS: u64 = 16;
}

/// Writes to the console; a machine without one loses the character.
pub fn put(cpu: &mut Cpu, c: u64) {
    let _ = cpu.services().phys_write(UART, 4, c & 0xff);
}

/// Some function of two numbers.
#[must_use]
pub fn mix(a: u64, b: u64) -> u64 {
    a.rotate_left(7) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub fn raise_undefined(cpu: &mut Cpu) {
    trap(&mut cpu.state, cause::UNDEFINED, 0);
}

/// Sets the tick of the next interrupt; 0: none.
pub(crate) fn set_timer(cpu: &mut Cpu, due: u64) {
    let services = cpu.services();
    // The word is RAM; a machine that has none at 0 has no timer.
    if services.phys_write(TIMER, 8, due).is_ok() {
        services.set_deadline(if due == 0 { u64::MAX } else { due });
    }
}

/// The `sys` instruction.
///
/// # Errors
/// Control went elsewhere: the state says where.
pub fn system(cpu: &mut Cpu, code: u64) -> Result<(), Stop> {
    let privileged = cpu.state.mode == mode::SYSTEM as u8;
    let argument = cpu.state.r[0];
    match code {
        code::CALLS.. => trap(&mut cpu.state, cause::SYSTEM_CALL, code),
        code::SYNC => cpu.state.pc = cpu.state.pc.wrapping_add(4),
        _ if !privileged => trap(&mut cpu.state, cause::UNDEFINED, 0),
        code::POWER_OFF => cpu.services().system_event(SystemEvent::PowerOff),
        code::RESET => cpu.services().system_event(SystemEvent::Reset),
        code::LEAVE => {
            cpu.state.mode = mode::USER as u8;
            cpu.state.pc = cpu.state.r[14];
            // The timer may have been kept waiting.
            cpu.rt.events.fetch_or(event::INTERRUPT, Ordering::Relaxed);
        }
        code::SET_ROOT => {
            let services = cpu.services();
            let _ = services.phys_write(ROOT, 8, argument);
            services.address_space_changed(argument);
            return Ok(());
        }
        code::FLUSH => {
            cpu.services().tlb_flush(None);
            cpu.services().fetch_mapping_changed(None);
            return Ok(());
        }
        code::FLUSH_PAGE => {
            cpu.services().tlb_flush(Some(argument));
            cpu.services().fetch_mapping_changed(Some(argument));
            return Ok(());
        }
        code::WAIT => {
            cpu.services().wait_for_event();
            return Ok(());
        }
        code::SET_TIMER => {
            let due = cpu.services().ticks().saturating_add(argument).max(1);
            set_timer(cpu, due);
            return Ok(());
        }
        _ => trap(&mut cpu.state, cause::UNDEFINED, 0),
    }
    Err(Stop)
}
