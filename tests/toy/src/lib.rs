//! A guest architecture of a page: what a port to another instruction set consists of.
//!
//! `toy.isa` says what instructions do and [`isa`] is generated from it. Here is the rest: one kind of exception entry, a page table
//! of one level, and what the extern functions of the description do. Engine and backend are the same as for any other guest.
//!
//! The machine beside the instructions:
//! - RAM starts at physical address 0; a UART stands at [`UART`].
//! - System mode uses physical addresses. User mode translates through the page table whose physical address is the word at
//!   [`ROOT`]: 512 entries, one per 4 KiB page, of a page address and the bits of [`entry`].
//! - A trap sets r12 to the [`cause`], r13 to the address or the number that goes with it, lr to the address of the instruction,
//!   and goes on at [`VECTOR`] in system mode.
//! - Stored instructions are sure to be seen after a `sys` or `mode` instruction, or in another page.
#![cfg_attr(not(test), no_std)]

/// Generated from the description: state, decoder, translator, disassembler.
pub mod isa {
    include!(concat!(env!("OUT_DIR"), "/isa.rs"));
}

pub mod helpers;

use isa::{Cpu, State, ctx};
use x86_backend::emit::{Access, Emit, HelperDecl, Stop};
use x86_backend::guest::{AccessKind, Guest, Mapping};
use x86_backend::runtime::PAGE_BITS;

/// Physical address of the word that holds the current page table's address.
pub const ROOT: u64 = 0x8;
/// Physical address of the word that holds the tick at which an interrupt is due; 0: none.
pub const TIMER: u64 = 0x10;
/// Where traps go.
pub const VECTOR: u64 = 0x100;
/// The console.
pub const UART: u64 = 0x0900_0000;
/// Pages that a page table maps.
pub const PAGES: u64 = 512;

/// Bits of a page table entry.
pub mod entry {
    pub const READ: u64 = 1;
    pub const WRITE: u64 = 2;
    pub const EXECUTE: u64 = 4;
    /// The same in every page table.
    pub const GLOBAL: u64 = 8;
}

/// What r12 holds after a trap.
pub mod cause {
    pub const UNDEFINED: u64 = 1;
    /// r13: the code.
    pub const SYSTEM_CALL: u64 = 2;
    /// Not mapped, or not for this; r13: the address.
    pub const READ_FAULT: u64 = 3;
    pub const WRITE_FAULT: u64 = 4;
    pub const FETCH_FAULT: u64 = 5;
    /// Nothing answers; r13: the address.
    pub const BUS: u64 = 6;
    pub const MISALIGNED: u64 = 7;
    pub const INTERRUPT: u64 = 8;
}

/// Why an access failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Page,
    Bus,
    Misaligned,
}

/// MMU modes; the numbers are those of the `mode` element.
pub mod mode {
    pub const USER: usize = 0;
    pub const SYSTEM: usize = 1;
}

/// The toy architecture.
#[derive(Clone, Copy, Debug)]
pub struct Toy;

/// Takes a trap at the instruction that the state's program counter names.
pub fn trap(state: &mut State, cause: u64, value: u64) {
    state.r[12] = cause;
    state.r[13] = value;
    state.r[14] = state.pc;
    state.mode = mode::SYSTEM as u8;
    state.pc = VECTOR;
}

impl Guest for Toy {
    type State = State;
    type Fault = Fault;

    const INSN_BYTES: u32 = 4;
    const HELPERS: &'static [HelperDecl] = isa::HELPERS;
    const PC_OFFSET: u32 = isa::PC_OFFSET;
    const LAYOUT: &'static [x86_backend::guest::Elements] = isa::LAYOUT;

    fn reset_state() -> State {
        State::reset()
    }

    fn set_entry(state: &mut State, pc: u64, argument: u64) {
        state.pc = pc;
        state.r[0] = argument;
    }

    fn context(state: &State) -> u64 {
        state.context()
    }

    fn mmu_mode(context: u64, _unprivileged: bool) -> usize {
        ctx::mode(context) as usize
    }

    fn fp_inline(_context: u64) -> bool {
        false
    }

    fn strict_alignment(_context: u64) -> bool {
        false
    }

    fn translate<B: Emit>(b: &mut B, word: u32, pc: u64, context: u64) -> Result<(), Stop> {
        isa::translate(b, word, pc, context)
    }

    fn walk(cpu: &mut Cpu, va: u64, kind: AccessKind, mode: usize) -> Result<Mapping, Fault> {
        let services = cpu.services();
        if mode == mode::SYSTEM {
            let device = services.ram(va, 1).is_none();
            return Ok(Mapping {
                phys: va,
                // Large, to show what mappings of more than a page need; devices are no part of it.
                size_bits: if device { PAGE_BITS } else { 20 },
                read: true,
                write: true,
                fetch: true,
                device,
                global: true,
                code_context: 0,
            });
        }
        let page = va >> PAGE_BITS;
        if page >= PAGES {
            return Err(Fault::Page);
        }
        let root = services.phys_read(ROOT, 8).map_err(|_| Fault::Bus)?;
        let entry = services.phys_read(root.wrapping_add(8 * page), 8).map_err(|_| Fault::Bus)?;
        let offset_bits = (1 << PAGE_BITS) - 1;
        let phys = (entry & !offset_bits) | (va & offset_bits);
        let mapping = Mapping {
            phys,
            size_bits: PAGE_BITS,
            read: entry & entry::READ != 0,
            write: entry & entry::WRITE != 0,
            fetch: entry & entry::EXECUTE != 0,
            device: services.ram(phys, 1).is_none(),
            global: entry & entry::GLOBAL != 0,
            code_context: 0,
        };
        let permitted = match kind {
            AccessKind::Read => mapping.read,
            AccessKind::Write => mapping.write,
            AccessKind::Fetch => mapping.fetch,
        };
        if permitted { Ok(mapping) } else { Err(Fault::Page) }
    }

    fn bus_fault(_kind: AccessKind) -> Fault {
        Fault::Bus
    }

    fn alignment_fault(_kind: AccessKind) -> Fault {
        Fault::Misaligned
    }

    fn raise(cpu: &mut Cpu, fault: Fault, va: u64, kind: AccessKind, _access: Access) {
        let cause = match (fault, kind) {
            (Fault::Page, AccessKind::Read) => cause::READ_FAULT,
            (Fault::Page, AccessKind::Write) => cause::WRITE_FAULT,
            (Fault::Page, AccessKind::Fetch) => cause::FETCH_FAULT,
            (Fault::Bus, _) => cause::BUS,
            (Fault::Misaligned, _) => cause::MISALIGNED,
        };
        trap(&mut cpu.state, cause, va);
    }

    /// The timer interrupts user mode.
    fn poll_events(cpu: &mut Cpu) -> bool {
        let services = cpu.services();
        let due = services.phys_read(TIMER, 8).unwrap_or(0);
        if cpu.state.mode == mode::SYSTEM as u8 || due == 0 || cpu.services().ticks() < due {
            return false;
        }
        helpers::set_timer(cpu, 0);
        trap(&mut cpu.state, cause::INTERRUPT, 0);
        true
    }

    fn disassemble(word: u32, pc: u64, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        isa::disassemble(word, pc, out)
    }
}
