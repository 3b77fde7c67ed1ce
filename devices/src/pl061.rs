//! PL061 general-purpose I/O: eight pins. The `virt` machine wires pin 3 to a power button.

use crate::{Bus, Device, primecell_id, read_words, write_words};

const ID: [u8; 8] = [0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

const DATA_END: u64 = 0x400;
const DIRECTION: u64 = 0x400;
const SENSE: u64 = 0x404;
const BOTH_EDGES: u64 = 0x408;
const EVENT: u64 = 0x40c;
const MASK: u64 = 0x410;
const RAW: u64 = 0x414;
const MASKED: u64 = 0x418;
const CLEAR: u64 = 0x41c;
const FUNCTION: u64 = 0x420;

/// The pin of the power button.
pub const POWER_PIN: u32 = 3;

#[derive(Clone, Copy, Debug)]
pub struct Pl061 {
    spi: u32,
    /// Levels driven by the guest on output pins and by the outside on input pins.
    output: u8,
    input: u8,
    direction: u8,
    /// 1: level-sensitive.
    sense: u8,
    both_edges: u8,
    /// 1: high level or rising edge.
    event: u8,
    mask: u8,
    /// Edges seen.
    latched: u8,
    function: u8,
}

impl Pl061 {
    #[must_use]
    pub const fn new(spi: u32) -> Self {
        Self {
            spi,
            output: 0,
            input: 0,
            direction: 0,
            sense: 0,
            both_edges: 0,
            event: 0,
            mask: 0,
            latched: 0,
            function: 0,
        }
    }

    /// Drives an input pin from outside.
    pub fn set_input(&mut self, pin: u32, level: bool, bus: &mut dyn Bus) {
        let bit = 1u8 << (pin & 7);
        let new = if level { self.input | bit } else { self.input & !bit };
        let changed = (new ^ self.input) & !self.direction;
        let wanted = self.both_edges | !(new ^ self.event);
        self.latched |= changed & wanted & !self.sense;
        self.input = new;
        self.update(bus);
    }

    fn data(&self) -> u8 {
        (self.output & self.direction) | (self.input & !self.direction)
    }

    fn raw(&self) -> u8 {
        let level = !(self.data() ^ self.event) & self.sense;
        level | (self.latched & !self.sense)
    }

    fn update(&self, bus: &mut dyn Bus) {
        bus.set_irq(self.spi, self.raw() & self.mask != 0);
    }
}

impl Device for Pl061 {
    fn read(&mut self, offset: u64, size: u32, _bus: &mut dyn Bus) -> u64 {
        read_words(offset, size, |at| match at {
            // Address bits 9:2 select the pins.
            0..DATA_END => u32::from(self.data() & (at >> 2) as u8),
            DIRECTION => u32::from(self.direction),
            SENSE => u32::from(self.sense),
            BOTH_EDGES => u32::from(self.both_edges),
            EVENT => u32::from(self.event),
            MASK => u32::from(self.mask),
            RAW => u32::from(self.raw()),
            MASKED => u32::from(self.raw() & self.mask),
            FUNCTION => u32::from(self.function),
            _ => primecell_id(ID, at).unwrap_or(0),
        })
    }

    fn write(&mut self, offset: u64, size: u32, value: u64, bus: &mut dyn Bus) {
        write_words(offset, size, value, |at, value, _| {
            let value = value as u8;
            match at {
                0..DATA_END => {
                    let pins = (at >> 2) as u8;
                    self.output = (self.output & !pins) | (value & pins);
                }
                DIRECTION => self.direction = value,
                SENSE => self.sense = value,
                BOTH_EDGES => self.both_edges = value,
                EVENT => self.event = value,
                MASK => self.mask = value,
                CLEAR => self.latched &= !value,
                FUNCTION => self.function = value,
                _ => {}
            }
        });
        self.update(bus);
    }

    fn reset(&mut self) {
        *self = Self::new(self.spi);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn pins_are_selected_by_address() {
        let bus = &mut Recorder::default();
        let mut gpio = Pl061::new(7);
        gpio.write(DIRECTION, 4, 0x0f, bus);
        gpio.write(0x05 << 2, 4, 0xff, bus);
        assert_eq!(gpio.read(0xff << 2, 4, bus), 0x05);
        assert_eq!(gpio.read(0x04 << 2, 4, bus), 0x04);
        assert_eq!(gpio.read(0xfe0, 4, bus), 0x61);
    }

    #[test]
    fn the_power_button_interrupts_on_both_edges() {
        let bus = &mut Recorder::default();
        let mut gpio = Pl061::new(7);
        gpio.write(BOTH_EDGES, 4, 8, bus);
        gpio.write(MASK, 4, 8, bus);
        gpio.set_input(POWER_PIN, true, bus);
        assert!(bus.irq(7));
        assert_eq!(gpio.read(MASKED, 4, bus), 8);
        assert_eq!(gpio.read(8 << 2, 4, bus), 8);
        gpio.write(CLEAR, 4, 8, bus);
        assert!(!bus.irq(7));
        gpio.set_input(POWER_PIN, false, bus);
        assert!(bus.irq(7));
    }

    #[test]
    fn a_level_interrupt_follows_the_pin() {
        let bus = &mut Recorder::default();
        let mut gpio = Pl061::new(7);
        gpio.write(SENSE, 4, 1, bus);
        gpio.write(EVENT, 4, 1, bus);
        gpio.write(MASK, 4, 1, bus);
        gpio.set_input(0, true, bus);
        gpio.write(CLEAR, 4, 1, bus);
        assert!(bus.irq(7));
        gpio.set_input(0, false, bus);
        assert!(!bus.irq(7));
    }
}
