//! PL011 UART: the console.
//!
//! Transmission takes no time, so the transmit FIFO is always empty. Received bytes wait in a queue of any length; the guest
//! sees its front as the 16-byte FIFO, so nothing typed is lost to an overrun. A receive timeout "has always passed": with any
//! byte in the FIFO the timeout interrupt is asserted.

use crate::{Bus, Device, primecell_id, read_words, write_words};
use alloc::collections::VecDeque;

const ID: [u8; 8] = [0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

const DR: u64 = 0x00;
const RSR: u64 = 0x04;
const FR: u64 = 0x18;
const ILPR: u64 = 0x20;
const IBRD: u64 = 0x24;
const FBRD: u64 = 0x28;
const LCR_H: u64 = 0x2c;
const CR: u64 = 0x30;
const IFLS: u64 = 0x34;
const IMSC: u64 = 0x38;
const RIS: u64 = 0x3c;
const MIS: u64 = 0x40;
const ICR: u64 = 0x44;
const DMACR: u64 = 0x48;

const FR_RX_EMPTY: u32 = 1 << 4;
const FR_RX_FULL: u32 = 1 << 6;
const FR_TX_EMPTY: u32 = 1 << 7;

const LCR_FIFO_ENABLE: u32 = 1 << 4;

const INT_RX: u32 = 1 << 4;
const INT_TX: u32 = 1 << 5;
const INT_RX_TIMEOUT: u32 = 1 << 6;

const FIFO_DEPTH: usize = 16;

#[derive(Debug)]
pub struct Pl011 {
    spi: u32,
    received: VecDeque<u8>,
    control: u32,
    line_control: u32,
    integer_baud: u32,
    fraction_baud: u32,
    low_power: u32,
    fifo_levels: u32,
    dma: u32,
    mask: u32,
    /// The transmit interrupt: set when the FIFO drains, that is by every byte written; cleared by the guest.
    transmit_done: bool,
}

impl Pl011 {
    #[must_use]
    pub const fn new(spi: u32) -> Self {
        Self {
            spi,
            received: VecDeque::new(),
            // Transmit and receive enabled, the UART itself not.
            control: 0x300,
            line_control: 0,
            integer_baud: 0,
            fraction_baud: 0,
            low_power: 0,
            fifo_levels: 0x12,
            dma: 0,
            mask: 0,
            transmit_done: false,
        }
    }

    fn depth(&self) -> usize {
        if self.line_control & LCR_FIFO_ENABLE != 0 { FIFO_DEPTH } else { 1 }
    }

    /// Bytes the guest sees in its FIFO.
    fn fill(&self) -> usize {
        self.received.len().min(self.depth())
    }

    /// Fill at which the receive interrupt is asserted.
    fn receive_trigger(&self) -> usize {
        if self.line_control & LCR_FIFO_ENABLE == 0 {
            return 1;
        }
        match self.fifo_levels >> 3 & 7 {
            0 => FIFO_DEPTH / 8,
            1 => FIFO_DEPTH / 4,
            2 => FIFO_DEPTH / 2,
            3 => FIFO_DEPTH * 3 / 4,
            _ => FIFO_DEPTH * 7 / 8,
        }
    }

    fn raw_interrupts(&self) -> u32 {
        let mut raw = 0;
        if self.transmit_done {
            raw |= INT_TX;
        }
        if self.fill() >= self.receive_trigger() {
            raw |= INT_RX;
        }
        if self.fill() > 0 {
            raw |= INT_RX_TIMEOUT;
        }
        raw
    }

    fn flags(&self) -> u32 {
        let mut flags = FR_TX_EMPTY;
        if self.fill() == 0 {
            flags |= FR_RX_EMPTY;
        }
        if self.fill() == self.depth() {
            flags |= FR_RX_FULL;
        }
        flags
    }

    fn update(&self, bus: &mut dyn Bus) {
        bus.set_irq(self.spi, self.raw_interrupts() & self.mask != 0);
    }
}

impl Device for Pl011 {
    fn read(&mut self, offset: u64, size: u32, bus: &mut dyn Bus) -> u64 {
        let value = read_words(offset, size, |at| match at {
            DR => self.received.pop_front().map_or(0, u32::from),
            // No receive errors.
            RSR => 0,
            FR => self.flags(),
            ILPR => self.low_power,
            IBRD => self.integer_baud,
            FBRD => self.fraction_baud,
            LCR_H => self.line_control,
            CR => self.control,
            IFLS => self.fifo_levels,
            IMSC => self.mask,
            RIS => self.raw_interrupts(),
            MIS => self.raw_interrupts() & self.mask,
            DMACR => self.dma,
            _ => primecell_id(ID, at).unwrap_or(0),
        });
        if offset & !3 == DR {
            self.update(bus);
        }
        value
    }

    fn write(&mut self, offset: u64, size: u32, value: u64, bus: &mut dyn Bus) {
        write_words(offset, size, value, |at, value, _| match at {
            // Early consoles write without having enabled the UART; firmware would have.
            DR => {
                bus.console_write(value as u8);
                self.transmit_done = true;
            }
            ILPR => self.low_power = value & 0xff,
            IBRD => self.integer_baud = value & 0xffff,
            FBRD => self.fraction_baud = value & 0x3f,
            LCR_H => self.line_control = value & 0xff,
            CR => self.control = value & 0xffff,
            IFLS => self.fifo_levels = value & 0x3f,
            IMSC => self.mask = value & 0x7ff,
            ICR if value & INT_TX != 0 => self.transmit_done = false,
            DMACR => self.dma = value & 7,
            _ => {}
        });
        self.update(bus);
    }

    fn reset(&mut self) {
        *self = Self::new(self.spi);
    }

    fn console_input(&mut self, byte: u8, bus: &mut dyn Bus) -> bool {
        self.received.push_back(byte);
        self.update(bus);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    /// The registers as a driver leaves them after opening the port.
    fn open(uart: &mut Pl011, bus: &mut Recorder) {
        uart.write(ICR, 2, 0x7ff, bus);
        uart.write(IFLS, 2, 0x12, bus);
        uart.write(LCR_H, 2, 0x70, bus);
        uart.write(CR, 2, 0x301, bus);
        uart.write(IMSC, 2, u64::from(INT_RX | INT_RX_TIMEOUT), bus);
    }

    #[test]
    fn probe_finds_the_arm_variant() {
        let bus = &mut Recorder::default();
        let mut uart = Pl011::new(1);
        let pid = (0..4).fold(0, |id, i| id | ((uart.read(0xfe0 + 4 * i, 4, bus) & 0xff) << (8 * i)));
        let cid = (0..4).fold(0, |id, i| id | ((uart.read(0xff0 + 4 * i, 4, bus) & 0xff) << (8 * i)));
        assert_eq!(pid & 0x000f_ffff, 0x0004_1011);
        assert_eq!(cid, 0xb105_f00d);
    }

    #[test]
    fn earlycon_writes_without_opening() {
        let bus = &mut Recorder::default();
        let mut uart = Pl011::new(1);
        for byte in b"hi\n" {
            while uart.read(FR, 4, bus) & 0x20 != 0 {}
            uart.write(DR, 1, u64::from(*byte), bus);
            while uart.read(FR, 4, bus) & 0x08 != 0 {}
        }
        assert_eq!(bus.console, b"hi\n");
        assert!(!bus.irq(1));
    }

    #[test]
    fn typed_bytes_interrupt_until_read() {
        let bus = &mut Recorder::default();
        let mut uart = Pl011::new(1);
        open(&mut uart, bus);
        assert!(!bus.irq(1));
        assert_ne!(uart.read(FR, 2, bus) as u32 & FR_RX_EMPTY, 0);
        assert!(uart.console_input(b'l', bus));
        assert!(uart.console_input(b's', bus));
        assert!(bus.irq(1));
        assert_eq!(uart.read(MIS, 2, bus) as u32, INT_RX_TIMEOUT);
        let mut line = Vec::new();
        while uart.read(FR, 2, bus) as u32 & FR_RX_EMPTY == 0 {
            line.push(uart.read(DR, 2, bus) as u8);
        }
        assert_eq!(line, b"ls");
        assert!(!bus.irq(1));
    }

    #[test]
    fn a_burst_fills_the_fifo_and_is_not_lost() {
        let bus = &mut Recorder::default();
        let mut uart = Pl011::new(1);
        open(&mut uart, bus);
        for i in 0..100 {
            uart.console_input(i, bus);
        }
        assert_ne!(uart.read(FR, 2, bus) as u32 & FR_RX_FULL, 0);
        assert_ne!(uart.read(RIS, 2, bus) as u32 & INT_RX, 0);
        let got: Vec<u8> = (0..100).map(|_| uart.read(DR, 2, bus) as u8).collect();
        assert!(got.iter().copied().eq(0..100));
        assert_ne!(uart.read(FR, 2, bus) as u32 & FR_RX_EMPTY, 0);
    }

    #[test]
    fn the_transmit_interrupt_follows_a_write_and_its_mask() {
        let bus = &mut Recorder::default();
        let mut uart = Pl011::new(1);
        open(&mut uart, bus);
        uart.write(DR, 1, 0x41, bus);
        assert!(!bus.irq(1));
        uart.write(IMSC, 2, u64::from(INT_TX), bus);
        assert!(bus.irq(1));
        uart.write(ICR, 2, u64::from(INT_TX), bus);
        assert!(!bus.irq(1));
        uart.write(DR, 1, 0x42, bus);
        assert!(bus.irq(1));
        uart.write(IMSC, 2, 0, bus);
        assert!(!bus.irq(1));
    }
}
