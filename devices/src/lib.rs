//! Device models of the machine: plain state machines without threads, clocks or host I/O of their own.
//!
//! A device sees the world through [`Bus`]; [`bus::DeviceBus`] puts devices at guest-physical addresses and wires their
//! interrupt outputs to the interrupt controller it owns.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod bus;
pub mod fw_cfg;
pub mod gicv2;
pub mod pl011;
pub mod pl031;
pub mod pl061;
pub mod simple;
pub mod v2m;
pub mod virtio_empty;

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
    /// A byte typed at the console. A device that is one takes it and says so.
    fn console_input(&mut self, _byte: u8, _bus: &mut dyn Bus) -> bool {
        false
    }
    /// Time has passed: a device with an alarm looks at the clock. Called now and then.
    fn poll(&mut self, _bus: &mut dyn Bus) {}
}

/// A register file of 32-bit registers seen through an access of any size: gives the bytes asked for.
///
/// Each register touched is read once, whole.
pub(crate) fn read_words(offset: u64, size: u32, mut word: impl FnMut(u64) -> u32) -> u64 {
    let size = u64::from(size);
    let (mut value, mut done) = (0u64, 0u64);
    while done < size {
        let at = offset + done;
        let skip = at & 3;
        let take = (4 - skip).min(size - done);
        let bytes = u64::from(word(at & !3) >> (8 * skip)) & ((1u64 << (8 * take)) - 1);
        value |= bytes << (8 * done);
        done += take;
    }
    value
}

/// The counterpart of [`read_words`]: calls `word(register, value, mask of the bits written)`.
pub(crate) fn write_words(offset: u64, size: u32, value: u64, mut word: impl FnMut(u64, u32, u32)) {
    let size = u64::from(size);
    let mut done = 0u64;
    while done < size {
        let at = offset + done;
        let skip = at & 3;
        let take = (4 - skip).min(size - done);
        let mask = (((1u64 << (8 * take)) - 1) as u32) << (8 * skip);
        let bytes = ((value >> (8 * done)) as u32) << (8 * skip);
        word(at & !3, bytes & mask, mask);
        done += take;
    }
}

/// The identification registers of an Arm PrimeCell: one byte in each of the last eight words of the page.
pub(crate) fn primecell_id(ids: [u8; 8], offset: u64) -> Option<u32> {
    (0xfe0..0x1000).contains(&offset).then(|| u32::from(ids[((offset - 0xfe0) / 4) as usize]))
}

#[cfg(test)]
pub(crate) mod testing {
    //! A recorder in place of the machine.

    use super::Bus;
    use std::collections::BTreeMap;

    #[derive(Default)]
    pub struct Recorder {
        pub irqs: BTreeMap<u32, bool>,
        pub edges: Vec<(u32, bool)>,
        pub console: Vec<u8>,
        pub time: u64,
    }

    impl Recorder {
        pub fn irq(&self, spi: u32) -> bool {
            self.irqs.get(&spi).copied().unwrap_or(false)
        }
    }

    impl Bus for Recorder {
        fn set_irq(&mut self, spi: u32, level: bool) {
            self.irqs.insert(spi, level);
            self.edges.push((spi, level));
        }
        fn console_write(&mut self, byte: u8) {
            self.console.push(byte);
        }
        fn unix_time(&self) -> u64 {
            self.time
        }
    }

    #[test]
    fn words_are_read_and_written_in_pieces() {
        let regs = [0x0403_0201u32, 0x0807_0605];
        assert_eq!(super::read_words(0, 8, |at| regs[at as usize / 4]), 0x0807_0605_0403_0201);
        assert_eq!(super::read_words(3, 2, |at| regs[at as usize / 4]), 0x0504);
        let mut seen = Vec::new();
        super::write_words(2, 4, 0xddcc_bbaa, |at, value, mask| seen.push((at, value, mask)));
        assert_eq!(seen, [(0, 0xbbaa_0000, 0xffff_0000), (4, 0xddcc, 0xffff)]);
    }
}
