//! Device models of the machine: plain state machines without threads, clocks or host I/O of their own.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

/// Level-triggered outputs of devices into the interrupt controller, and what else a device may do to its machine.
///
/// The machine implements it; tests use a recorder.
pub trait Bus {
    /// Sets the level of a shared peripheral interrupt (`spi` counts from 0).
    fn set_irq(&mut self, spi: u32, level: bool);
    /// A byte for the console.
    fn console_write(&mut self, byte: u8);
    /// Seconds since 1970, for clocks.
    fn unix_time(&self) -> u64;
}

/// A memory-mapped device. Accesses have 1, 2, 4 or 8 bytes and lie within the device's region; they need not be aligned.
pub trait Device {
    fn read(&mut self, offset: u64, size: u32, bus: &mut dyn Bus) -> u64;
    fn write(&mut self, offset: u64, size: u32, value: u64, bus: &mut dyn Bus);
    /// Back to the state at power-on.
    fn reset(&mut self);
}
