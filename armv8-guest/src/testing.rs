//! A machine for unit tests: one vCPU, some RAM, and services that record what they are asked.

use crate::Armv8;
use crate::isa::{Cpu, State};
use std::collections::BTreeMap;
use std::fmt::Write;
use x86_backend::emit::HelperRet;
use x86_backend::eval::entry::eval_entry;
use x86_backend::guest::{BusError, Guest, Services, SystemEvent};
use x86_backend::runtime::{Runtime, SlowPaths};

pub const RAM_BASE: u64 = 0x4000_0000;
pub const RAM_SIZE: u64 = 0x20_0000;
/// Where [`Machine::map`] builds tables, and how many pages it may take.
const TABLES: u64 = RAM_BASE + 0x10_0000;

/// Attribute index 0, accessed, inner shareable.
pub const PAGE_RW: u64 = 0x703;
pub const AP_EL0: u64 = 1 << 6;
pub const AP_RO: u64 = 1 << 7;
pub const NG: u64 = 1 << 11;
pub const PXN: u64 = 1 << 53;
pub const UXN: u64 = 1 << 54;

#[derive(Default)]
pub struct Fake {
    pub ram: Vec<u8>,
    pub ticks: u64,
    pub deadline: u64,
    pub irq: bool,
    pub waits: u32,
    pub private_irqs: BTreeMap<u32, bool>,
    pub address_spaces: Vec<u64>,
    pub forgotten_spaces: Vec<u64>,
    pub tlb_flushes: Vec<Option<u64>>,
    pub fetch_changes: Vec<Option<u64>>,
    pub invalidated: Vec<(u64, u64)>,
    pub system: Vec<SystemEvent>,
    /// Undefined instructions and their addresses.
    pub undefined: Vec<(u64, u64)>,
    pub log: String,
}

impl Fake {
    fn at(&mut self, phys: u64, len: u64) -> Option<&mut [u8]> {
        let start = phys.checked_sub(RAM_BASE)?;
        self.ram.get_mut(start as usize..start.checked_add(len)? as usize)
    }
}

impl Services for Fake {
    fn ram(&mut self, phys: u64, len: u64) -> Option<*mut u8> {
        self.at(phys, len).map(<[u8]>::as_mut_ptr)
    }
    fn phys_read(&mut self, phys: u64, size: u32) -> Result<u64, BusError> {
        let bytes = self.at(phys, size.into()).ok_or(BusError)?;
        Ok(bytes.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b)))
    }
    fn phys_write(&mut self, phys: u64, size: u32, value: u64) -> Result<(), BusError> {
        let bytes = self.at(phys, size.into()).ok_or(BusError)?;
        bytes.copy_from_slice(&value.to_le_bytes()[..size as usize]);
        Ok(())
    }
    fn invalidate_code(&mut self, phys: u64, len: u64) {
        self.invalidated.push((phys, len));
    }
    fn fetch_mapping_changed(&mut self, va: Option<u64>) {
        self.fetch_changes.push(va);
    }
    fn tlb_flush(&mut self, va: Option<u64>) {
        self.tlb_flushes.push(va);
    }
    fn address_space_changed(&mut self, id: u64) {
        self.address_spaces.push(id);
    }
    fn forget_address_space(&mut self, id: u64) {
        self.forgotten_spaces.push(id);
    }
    fn ticks(&mut self) -> u64 {
        self.ticks
    }
    fn tick_hz(&self) -> u64 {
        62_500_000
    }
    fn set_deadline(&mut self, ticks: u64) {
        self.deadline = ticks;
    }
    fn set_private_irq(&mut self, irq: u32, level: bool) {
        self.private_irqs.insert(irq, level);
    }
    fn irq_asserted(&mut self) -> bool {
        self.irq || self.private_irqs.values().any(|level| *level)
    }
    fn wait_for_event(&mut self) {
        self.waits += 1;
    }
    fn system_event(&mut self, event: SystemEvent) {
        self.system.push(event);
    }
    fn undefined_instruction(&mut self, word: u64, pc: u64) {
        self.undefined.push((word, pc));
    }
    fn log(&mut self, message: std::fmt::Arguments<'_>) {
        writeln!(self.log, "{message}").expect("strings take everything");
    }
}

pub struct Machine {
    pub cpu: Box<Cpu>,
    services: *mut Fake,
    next_table: u64,
}

impl Machine {
    /// Reset state: EL1, MMU off.
    pub fn new() -> Self {
        let services =
            Box::into_raw(Box::new(Fake { ram: vec![0; RAM_SIZE as usize], deadline: u64::MAX, ..Fake::default() }));
        let mut cpu = new_cpu(Armv8::reset_state());
        cpu.rt.services = Some(services);
        Self { cpu, services, next_table: TABLES }
    }

    /// With the MMU on: 4 KiB granule, 48 bits in both halves, attribute 0 normal memory and 1 device memory.
    pub fn with_mmu() -> Self {
        let mut m = Self::new();
        let (low, high) = (m.table(), m.table());
        let state = &mut m.cpu.state;
        state.ttbr0_el1 = low;
        state.ttbr1_el1 = high;
        state.tcr_el1 = 16 | 16 << 16 | 2 << 30 | 5 << 32 | 1 << 36;
        state.mair_el1 = 0x00ff;
        state.sctlr_el1 |= 1;
        m
    }

    pub fn services(&mut self) -> &mut Fake {
        // SAFETY: made from a box in `new`, freed in `drop` only; no other reference outlives a call.
        unsafe { &mut *self.services }
    }

    fn table(&mut self) -> u64 {
        let table = self.next_table;
        self.next_table += 0x1000;
        assert!(self.next_table <= RAM_BASE + RAM_SIZE);
        table
    }

    pub fn read(&mut self, phys: u64) -> u64 {
        self.services().phys_read(phys, 8).expect("RAM")
    }

    pub fn write(&mut self, phys: u64, value: u64) {
        self.services().phys_write(phys, 8, value).expect("RAM");
    }

    /// Maps one 4 KiB page in the tables of [`Machine::with_mmu`].
    pub fn map(&mut self, va: u64, phys: u64, attributes: u64) {
        let entry = self.entry(va, 3);
        self.write(entry, phys | attributes);
    }

    /// Address of the descriptor for `va` at a level, with the tables above it.
    pub fn entry(&mut self, va: u64, level: u32) -> u64 {
        let state = &self.cpu.state;
        let mut table = if va >> 55 & 1 != 0 { state.ttbr1_el1 } else { state.ttbr0_el1 } & 0xffff_ffff_f000;
        for l in 0..level {
            let at = table + (va >> (39 - 9 * l) & 511) * 8;
            if self.read(at) & 1 == 0 {
                let next = self.table();
                self.write(at, next | 3);
            }
            table = self.read(at) & 0xffff_ffff_f000;
        }
        table + (va >> (39 - 9 * level) & 511) * 8
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: made from a box in `new`; the vCPU that points to it goes with it.
        drop(unsafe { Box::from_raw(self.services) });
    }
}

/// A vCPU as an engine sets it up, but for the slow paths: translated code does not run here.
fn new_cpu(state: State) -> Box<Cpu> {
    extern "sysv64" fn access(_: *mut u8, _: u64, _: u32) -> HelperRet {
        unreachable!("no translated code")
    }
    extern "sysv64" fn value(_: *mut u8, _: u64, _: u32, _: u64) -> HelperRet {
        unreachable!("no translated code")
    }
    extern "sysv64" fn cas(_: *mut u8, _: u64, _: u32, _: u64, _: u64) -> HelperRet {
        unreachable!("no translated code")
    }
    let mut cpu = Box::<Cpu>::new_uninit();
    // SAFETY: what is not written is valid when zero (`services`: the null vtable pointer is never looked at, the field is
    // written below as `None`).
    unsafe {
        cpu.as_mut_ptr().cast::<u8>().write_bytes(0, size_of::<Cpu>());
        (&raw mut (*cpu.as_mut_ptr()).state).write(state);
        let rt: *mut Runtime = &raw mut (*cpu.as_mut_ptr()).rt;
        (&raw mut (*rt).slow).write(SlowPaths { load: access, store: value, atomic: value, cas, eval: eval_entry });
        (&raw mut (*rt).services).write(None);
        let mut cpu = cpu.assume_init();
        cpu.rt.tlb_flush_all();
        cpu.rt.fp.mxcsr = 0x1f80;
        cpu
    }
}
