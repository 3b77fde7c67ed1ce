//! The GICv2m frame: message-signalled interrupts as writes of an interrupt number to a register.
//!
//! The frame owns a run of edge-triggered shared interrupts, as on QEMU's `virt`: 64 of them from interrupt 80.

use crate::{Bus, Device, read_words, write_words};

/// First interrupt number (not SPI number) and how many.
const BASE: u32 = 80;
const COUNT: u32 = 64;

const TYPER: u64 = 0x008;
const SETSPI: u64 = 0x040;

/// The frame. It has no state: a message is an edge.
#[derive(Clone, Copy, Debug, Default)]
pub struct V2mFrame;

impl Device for V2mFrame {
    fn read(&mut self, offset: u64, size: u32, _bus: &mut dyn Bus) -> u64 {
        read_words(offset, size, |at| if at == TYPER { (BASE << 16) | COUNT } else { 0 })
    }
    fn write(&mut self, offset: u64, size: u32, value: u64, bus: &mut dyn Bus) {
        write_words(offset, size, value, |at, value, _| {
            let irq = value & 0x3ff;
            if at == SETSPI && (BASE..BASE + COUNT).contains(&irq) {
                bus.set_irq(irq - 32, true);
                bus.set_irq(irq - 32, false);
            }
        });
    }
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn a_message_is_an_edge_of_its_interrupt() {
        let bus = &mut Recorder::default();
        let mut frame = V2mFrame;
        let typer = frame.read(8, 4, bus);
        let (base, count) = (typer >> 16 & 0x3ff, typer & 0x3ff);
        assert_eq!((base, count), (80, 64));
        frame.write(0x40, 4, base + 3, bus);
        assert_eq!(bus.edges, [(51, true), (51, false)]);
        frame.write(0x40, 4, base + count, bus);
        frame.write(0x40, 4, 5, bus);
        assert_eq!(bus.edges.len(), 2);
    }
}
