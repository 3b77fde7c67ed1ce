//! Arm Generic Interrupt Controller, architecture version 2 without security extensions: distributor and CPU interfaces.
//!
//! Interrupts 0-15 are software-generated (SGI), 16-31 private peripherals (PPI), both banked per CPU; 32 and above are
//! shared (SPI). All state is bitmaps of 32 interrupts a word, as the register file presents it, so that "anything to
//! deliver?" is a few ANDs. The highest-priority pending interrupt of each CPU is recomputed whenever anything changes, which
//! makes [`GicV2::irq_asserted`] a load.
//!
//! Priorities have 5 bits (32 levels), as in Arm's own implementations, so the smallest binary point is 2. With interrupt
//! grouping but no security extensions, group 0 is what operating systems use; group 0 signals IRQ unless `FIQEn` is set.

use crate::{read_words, write_words};

/// Interrupts implemented, SGIs and PPIs included.
pub const IRQS: usize = 288;
pub const MAX_CPUS: usize = 8;

const WORDS: usize = IRQS / 32;
/// No interrupt; and the interrupt is in the other group.
const SPURIOUS: u32 = 1023;
const SPURIOUS_GROUP1: u32 = 1022;
const PRIORITY_MASK: u8 = 0xf8;
const IDLE_PRIORITY: u8 = 0xff;
/// SGIs: always enabled and edge-triggered.
const SGI_MASK: u32 = 0xffff;

const IIDR: u32 = 0x0000_043b;
const ID: [u8; 12] = [0x04, 0, 0, 0, 0x90, 0xb4, 0x2b, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

/// Distributor registers (offsets; each of the arrays below spans up to the next).
mod gicd {
    pub const CTLR: u64 = 0x000;
    pub const TYPER: u64 = 0x004;
    pub const IIDR: u64 = 0x008;
    pub const IGROUPR: u64 = 0x080;
    pub const ISENABLER: u64 = 0x100;
    pub const ICENABLER: u64 = 0x180;
    pub const ISPENDR: u64 = 0x200;
    pub const ICPENDR: u64 = 0x280;
    pub const ISACTIVER: u64 = 0x300;
    pub const ICACTIVER: u64 = 0x380;
    pub const IPRIORITYR: u64 = 0x400;
    pub const ITARGETSR: u64 = 0x800;
    pub const ICFGR: u64 = 0xc00;
    pub const ICFGR_END: u64 = 0xd00;
    pub const SGIR: u64 = 0xf00;
    pub const CPENDSGIR: u64 = 0xf10;
    pub const SPENDSGIR: u64 = 0xf20;
    pub const SPENDSGIR_END: u64 = 0xf30;
    pub const ID: u64 = 0xfd0;
}

/// CPU interface registers.
mod gicc {
    pub const CTLR: u64 = 0x00;
    pub const PMR: u64 = 0x04;
    pub const BPR: u64 = 0x08;
    pub const IAR: u64 = 0x0c;
    pub const EOIR: u64 = 0x10;
    pub const RPR: u64 = 0x14;
    pub const HPPIR: u64 = 0x18;
    pub const ABPR: u64 = 0x1c;
    pub const AIAR: u64 = 0x20;
    pub const AEOIR: u64 = 0x24;
    pub const AHPPIR: u64 = 0x28;
    pub const APR0: u64 = 0xd0;
    pub const NSAPR0: u64 = 0xe0;
    pub const IIDR: u64 = 0xfc;
    pub const DIR: u64 = 0x1000;
}

const CTLR_GROUP0: u32 = 1;
const CTLR_GROUP1: u32 = 2;
const CTLR_ACK: u32 = 4;
const CTLR_FIQ: u32 = 8;
const CTLR_CBPR: u32 = 0x10;
const CTLR_EOI_MODE: u32 = 0x200;

const MIN_BPR: u8 = 2;

/// State per interrupt, 32 at a time.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    enabled: u32,
    /// Input line levels.
    line: u32,
    /// Pending by an edge or by software.
    latched: u32,
    active: u32,
    /// In group 1.
    group: u32,
    /// Edge-triggered.
    edge: u32,
}

impl Word {
    fn pending(&self) -> u32 {
        self.latched | (self.line & !self.edge)
    }
}

/// One CPU's interface and its banked part of the distributor.
#[derive(Clone, Copy, Debug)]
struct CpuInterface {
    control: u32,
    priority_mask: u8,
    bpr: u8,
    abpr: u8,
    /// Active priorities of group 0 and group 1, one bit per level.
    active: [u32; 2],
    private: Word,
    private_priority: [u8; 32],
    /// For each SGI the CPUs that sent it.
    sgi_sources: [u8; 16],
    /// Highest-priority pending interrupt, whatever the CPU interface thinks of it.
    best: Option<(u32, u8)>,
    irq: bool,
    fiq: bool,
}

impl CpuInterface {
    const RESET: Self = Self {
        control: 0,
        priority_mask: 0,
        bpr: MIN_BPR,
        abpr: MIN_BPR + 1,
        active: [0; 2],
        private: Word { enabled: SGI_MASK, line: 0, latched: 0, active: 0, group: 0, edge: SGI_MASK },
        private_priority: [0; 32],
        sgi_sources: [0; 16],
        best: None,
        irq: false,
        fiq: false,
    };

    fn running_priority(&self) -> u8 {
        let active = self.active[0] | self.active[1];
        if active == 0 { IDLE_PRIORITY } else { (active.trailing_zeros() as u8) << 3 }
    }

    /// Mask of the part of a priority that decides preemption, in a group.
    fn group_priority_mask(&self, group: usize) -> u8 {
        let shift = if group == 0 || self.control & CTLR_CBPR != 0 { self.bpr + 1 } else { self.abpr };
        group_mask(shift)
    }
}

/// Priority bits above the low `shift` ones.
fn group_mask(shift: u8) -> u8 {
    0xffu8.checked_shl(u32::from(shift)).unwrap_or(0)
}

/// The controller. `cpu` arguments out of range name the last CPU.
#[derive(Debug)]
pub struct GicV2 {
    cpus: usize,
    control: u32,
    /// Words 1 and up; word 0 is banked in the CPU interfaces.
    shared: [Word; WORDS],
    priority: [u8; IRQS],
    targets: [u8; IRQS],
    /// For each CPU the shared interrupts that target it.
    routed: [[u32; WORDS]; MAX_CPUS],
    cpu: [CpuInterface; MAX_CPUS],
}

impl GicV2 {
    /// A controller for 1 to [`MAX_CPUS`] CPUs.
    #[must_use]
    pub fn new(cpus: usize) -> Self {
        let mut gic = Self {
            cpus: cpus.clamp(1, MAX_CPUS),
            control: 0,
            shared: [Word::default(); WORDS],
            priority: [0; IRQS],
            targets: [0; IRQS],
            routed: [[0; WORDS]; MAX_CPUS],
            cpu: [CpuInterface::RESET; MAX_CPUS],
        };
        gic.route_uniprocessor();
        gic
    }

    /// CPUs it was made for.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.cpus
    }

    /// Back to power-on; input lines keep their levels.
    pub fn reset(&mut self) {
        let mut fresh = Self::new(self.cpus);
        for (new, old) in fresh.shared.iter_mut().zip(&self.shared) {
            new.line = old.line;
        }
        for (new, old) in fresh.cpu.iter_mut().zip(&self.cpu) {
            new.private.line = old.private.line;
        }
        *self = fresh;
    }

    /// With one CPU the target registers do not exist and every shared interrupt goes to it.
    fn route_uniprocessor(&mut self) {
        if self.cpus == 1 {
            self.routed[0] = [u32::MAX; WORDS];
        }
    }

    /// Whether the IRQ input of `cpu` is asserted.
    #[must_use]
    pub fn irq_asserted(&self, cpu: usize) -> bool {
        self.cpu[cpu.min(self.cpus - 1)].irq
    }

    /// Whether the FIQ input of `cpu` is asserted.
    #[must_use]
    pub fn fiq_asserted(&self, cpu: usize) -> bool {
        self.cpu[cpu.min(self.cpus - 1)].fiq
    }

    /// Level of the input line of a shared interrupt (`spi` counts from 0).
    pub fn set_spi(&mut self, spi: u32, level: bool) {
        let irq = spi as usize + 32;
        if irq < IRQS && Self::set_line(&mut self.shared[irq / 32], irq as u32 % 32, level) {
            self.update_all();
        }
    }

    /// Level of the input line of a private peripheral interrupt (16..32) of one CPU.
    pub fn set_ppi(&mut self, cpu: usize, irq: u32, level: bool) {
        let cpu = cpu.min(self.cpus - 1);
        if (16..32).contains(&irq) && Self::set_line(&mut self.cpu[cpu].private, irq, level) {
            self.update(cpu);
        }
    }

    /// Gives whether the level changed: devices repeat themselves.
    fn set_line(word: &mut Word, bit: u32, level: bool) -> bool {
        let mask = 1u32 << bit;
        if (word.line & mask != 0) == level {
            return false;
        }
        word.line ^= mask;
        if level {
            word.latched |= mask & word.edge;
        }
        true
    }

    /// The word that holds interrupts `32 * index..`, as `cpu` sees it.
    fn word(&mut self, cpu: usize, index: usize) -> &mut Word {
        if index == 0 { &mut self.cpu[cpu].private } else { &mut self.shared[index.min(WORDS - 1)] }
    }

    fn priority_of(&self, cpu: usize, irq: u32) -> u8 {
        if irq < 32 { self.cpu[cpu].private_priority[irq as usize] } else { self.priority[irq as usize] }
    }

    fn group_of(&self, cpu: usize, irq: u32) -> usize {
        let word = if irq < 32 { &self.cpu[cpu].private } else { &self.shared[irq as usize / 32] };
        (word.group >> (irq % 32) & 1) as usize
    }

    fn update_all(&mut self) {
        for cpu in 0..self.cpus {
            self.update(cpu);
        }
    }

    /// Recomputes what `cpu` has pending and its interrupt inputs.
    fn update(&mut self, cpu: usize) {
        // Interrupts of a group that the distributor does not forward stay in the distributor.
        let forwarded = |word: &Word| {
            let mut mask = 0;
            if self.control & CTLR_GROUP0 != 0 {
                mask |= !word.group;
            }
            if self.control & CTLR_GROUP1 != 0 {
                mask |= word.group;
            }
            word.pending() & word.enabled & !word.active & mask
        };
        let mut best: Option<(u32, u8)> = None;
        for index in 0..WORDS {
            let mut ready = if index == 0 {
                forwarded(&self.cpu[cpu].private)
            } else {
                forwarded(&self.shared[index]) & self.routed[cpu][index]
            };
            while ready != 0 {
                let irq = index as u32 * 32 + ready.trailing_zeros();
                ready &= ready - 1;
                let priority = self.priority_of(cpu, irq);
                if best.is_none_or(|(_, p)| priority < p) {
                    best = Some((irq, priority));
                }
            }
        }
        let group = best.map_or(0, |(irq, _)| self.group_of(cpu, irq));
        let interface = &mut self.cpu[cpu];
        interface.best = best;
        let enable = if group == 0 { CTLR_GROUP0 } else { CTLR_GROUP1 };
        let signal = best.is_some_and(|(_, priority)| {
            interface.control & enable != 0
                && priority < interface.priority_mask
                && priority & interface.group_priority_mask(group) < interface.running_priority()
        });
        let fiq = group == 0 && interface.control & CTLR_FIQ != 0;
        interface.irq = signal && !fiq;
        interface.fiq = signal && fiq;
    }

    // ---- CPU interface ----

    /// The interrupt that an acknowledge for `group` would give, with its source CPU; or a spurious number.
    fn highest_pending(&self, cpu: usize, group: usize) -> (u32, u32) {
        let interface = &self.cpu[cpu];
        let Some((irq, _)) = interface.best else { return (SPURIOUS, 0) };
        match (self.group_of(cpu, irq), group) {
            (0, 1) => (SPURIOUS, 0),
            (1, 0) if interface.control & CTLR_ACK == 0 => (SPURIOUS_GROUP1, 0),
            _ if irq < 16 => (irq, interface.sgi_sources[irq as usize].trailing_zeros() & 7),
            _ => (irq, 0),
        }
    }

    fn acknowledge(&mut self, cpu: usize, group: usize) -> u32 {
        if !self.cpu[cpu].irq && !self.cpu[cpu].fiq {
            return SPURIOUS;
        }
        let (irq, source) = self.highest_pending(cpu, group);
        if irq >= SPURIOUS_GROUP1 {
            return irq;
        }
        let group = self.group_of(cpu, irq);
        let priority = self.priority_of(cpu, irq) & self.cpu[cpu].group_priority_mask(group);
        self.cpu[cpu].active[group] |= 1 << (priority >> 3);
        let mut still_pending = false;
        if irq < 16 {
            let sources = &mut self.cpu[cpu].sgi_sources[irq as usize];
            *sources &= !(1 << source);
            still_pending = *sources != 0;
        }
        let mask = 1 << (irq % 32);
        let word = self.word(cpu, irq as usize / 32);
        if !still_pending {
            word.latched &= !mask;
        }
        word.active |= mask;
        self.update_all();
        irq | (source << 10)
    }

    /// End of interrupt: drops the running priority, and deactivates unless `EOImode` splits the two.
    fn end_of_interrupt(&mut self, cpu: usize, value: u32) {
        let irq = value & 0x3ff;
        if irq as usize >= IRQS {
            return;
        }
        let group = self.group_of(cpu, irq);
        let interface = &mut self.cpu[cpu];
        interface.active[group] &= interface.active[group].wrapping_sub(1);
        if interface.control & CTLR_EOI_MODE == 0 {
            self.deactivate(cpu, irq);
        }
        self.update_all();
    }

    fn deactivate(&mut self, cpu: usize, irq: u32) {
        if (irq as usize) < IRQS {
            self.word(cpu, irq as usize / 32).active &= !(1 << (irq % 32));
        }
    }

    /// Reads from the CPU interface of `cpu`.
    pub fn cpu_read(&mut self, cpu: usize, offset: u64, size: u32) -> u64 {
        let cpu = cpu.min(self.cpus - 1);
        read_words(offset, size, |at| self.cpu_register(cpu, at))
    }

    fn cpu_register(&mut self, cpu: usize, at: u64) -> u32 {
        let interface = &self.cpu[cpu];
        match at {
            gicc::CTLR => interface.control,
            gicc::PMR => interface.priority_mask.into(),
            gicc::BPR => interface.bpr.into(),
            gicc::ABPR => interface.abpr.into(),
            gicc::IAR => self.acknowledge(cpu, 0),
            gicc::AIAR => self.acknowledge(cpu, 1),
            gicc::RPR => interface.running_priority().into(),
            gicc::HPPIR | gicc::AHPPIR => {
                let (irq, source) = self.highest_pending(cpu, usize::from(at == gicc::AHPPIR));
                irq | (source << 10)
            }
            gicc::APR0 => interface.active[0],
            gicc::NSAPR0 => interface.active[1],
            gicc::IIDR => 0x0002_0000 | IIDR,
            _ => 0,
        }
    }

    /// Writes to the CPU interface of `cpu`.
    pub fn cpu_write(&mut self, cpu: usize, offset: u64, size: u32, value: u64) {
        let cpu = cpu.min(self.cpus - 1);
        write_words(offset, size, value, |at, value, mask| {
            let interface = &mut self.cpu[cpu];
            match at {
                gicc::CTLR => interface.control = ((interface.control & !mask) | value) & 0x21f,
                gicc::PMR if mask & 0xff != 0 => interface.priority_mask = value as u8 & PRIORITY_MASK,
                gicc::BPR => interface.bpr = (value as u8 & 7).max(MIN_BPR),
                gicc::ABPR => interface.abpr = (value as u8 & 7).max(MIN_BPR + 1),
                gicc::EOIR | gicc::AEOIR => self.end_of_interrupt(cpu, value),
                gicc::APR0 => interface.active[0] = value,
                gicc::NSAPR0 => interface.active[1] = value,
                gicc::DIR if interface.control & CTLR_EOI_MODE != 0 => {
                    self.deactivate(cpu, value & 0x3ff);
                    self.update_all();
                }
                _ => {}
            }
        });
        self.update(cpu);
    }

    // ---- Distributor ----

    /// Reads from the distributor as `cpu`.
    pub fn dist_read(&mut self, cpu: usize, offset: u64, size: u32) -> u64 {
        let cpu = cpu.min(self.cpus - 1);
        read_words(offset, size, |at| self.dist_register(cpu, at))
    }

    fn dist_register(&mut self, cpu: usize, at: u64) -> u32 {
        let index = (at as usize & 0x7f) / 4;
        let bitmap = |gic: &mut Self, of: fn(&Word) -> u32| if index < WORDS { of(gic.word(cpu, index)) } else { 0 };
        match at {
            gicd::CTLR => self.control,
            gicd::TYPER => (WORDS as u32 - 1) | ((self.cpus as u32 - 1) << 5),
            gicd::IIDR => IIDR,
            gicd::IGROUPR..gicd::ISENABLER => bitmap(self, |w| w.group),
            gicd::ISENABLER..gicd::ISPENDR => bitmap(self, |w| w.enabled),
            gicd::ISPENDR..gicd::ISACTIVER => bitmap(self, Word::pending),
            gicd::ISACTIVER..gicd::IPRIORITYR => bitmap(self, |w| w.active),
            gicd::IPRIORITYR..gicd::ITARGETSR => self.byte_array(at - gicd::IPRIORITYR, |gic, irq| {
                gic.priority_of(cpu, irq) //
            }),
            gicd::ITARGETSR..gicd::ICFGR => self.byte_array(at - gicd::ITARGETSR, |gic, irq| match (gic.cpus, irq) {
                (1, _) => 0,
                (_, 0..32) => 1 << cpu,
                _ => gic.targets[irq as usize],
            }),
            gicd::ICFGR..gicd::ICFGR_END => {
                let first = (at - gicd::ICFGR) as usize * 4;
                if first >= IRQS {
                    return 0;
                }
                let edge = self.word(cpu, first / 32).edge >> (first % 32);
                (0..16).fold(0, |value, i| value | ((edge >> i & 1) << (2 * i + 1)))
            }
            gicd::CPENDSGIR..gicd::SPENDSGIR_END => {
                let first = (at as usize) & 0xc;
                u32::from_le_bytes(core::array::from_fn(|i| self.cpu[cpu].sgi_sources[first + i]))
            }
            gicd::ID..0x1000 => ID[((at - gicd::ID) / 4) as usize].into(),
            _ => 0,
        }
    }

    fn byte_array(&self, first: u64, of: impl Fn(&Self, u32) -> u8) -> u32 {
        let byte = |i: usize| {
            let irq = first as usize + i;
            if irq < IRQS { of(self, irq as u32) } else { 0 }
        };
        u32::from_le_bytes(core::array::from_fn(byte))
    }

    /// Writes to the distributor as `cpu`.
    pub fn dist_write(&mut self, cpu: usize, offset: u64, size: u32, value: u64) {
        let cpu = cpu.min(self.cpus - 1);
        write_words(offset, size, value, |at, value, mask| self.dist_register_write(cpu, at, value, mask));
        self.update_all();
    }

    fn dist_register_write(&mut self, cpu: usize, at: u64, value: u32, mask: u32) {
        let index = (at as usize & 0x7f) / 4;
        let bytes = value.to_le_bytes();
        let written = mask.to_le_bytes();
        match at {
            gicd::CTLR => self.control = ((self.control & !mask) | value) & (CTLR_GROUP0 | CTLR_GROUP1),
            gicd::IGROUPR..gicd::ICFGR if index >= WORDS && at < gicd::IPRIORITYR => {}
            gicd::IGROUPR..gicd::ISENABLER => {
                let word = self.word(cpu, index);
                word.group = (word.group & !mask) | value;
            }
            gicd::ISENABLER..gicd::ICENABLER => self.word(cpu, index).enabled |= value,
            // SGIs cannot be disabled.
            gicd::ICENABLER..gicd::ISPENDR => {
                self.word(cpu, index).enabled &= !value | if index == 0 { SGI_MASK } else { 0 };
            }
            // SGIs are made pending by SGIR and SPENDSGIR only.
            gicd::ISPENDR..gicd::ICPENDR => {
                self.word(cpu, index).latched |= value & if index == 0 { !SGI_MASK } else { u32::MAX };
            }
            gicd::ICPENDR..gicd::ISACTIVER => {
                self.word(cpu, index).latched &= !value | if index == 0 { SGI_MASK } else { 0 };
            }
            gicd::ISACTIVER..gicd::ICACTIVER => self.word(cpu, index).active |= value,
            gicd::ICACTIVER..gicd::IPRIORITYR => self.word(cpu, index).active &= !value,
            gicd::IPRIORITYR..gicd::ITARGETSR => {
                for i in (0..4).filter(|&i| written[i] != 0) {
                    let irq = (at - gicd::IPRIORITYR) as usize + i;
                    let priority = bytes[i] & PRIORITY_MASK;
                    match irq {
                        0..32 => self.cpu[cpu].private_priority[irq] = priority,
                        32..IRQS => self.priority[irq] = priority,
                        _ => {}
                    }
                }
            }
            gicd::ITARGETSR..gicd::ICFGR => {
                for i in (0..4).filter(|&i| written[i] != 0) {
                    self.set_targets((at - gicd::ITARGETSR) as usize + i, bytes[i]);
                }
            }
            gicd::ICFGR..gicd::ICFGR_END => {
                let first = (at - gicd::ICFGR) as usize * 4;
                // The first register configures SGIs, which are edge-triggered for ever.
                if (16..IRQS).contains(&first) {
                    let word = self.word(cpu, first / 32);
                    for i in 0..16 {
                        let bit = 1 << (first % 32 + i);
                        if mask >> (2 * i + 1) & 1 != 0 {
                            word.edge = if value >> (2 * i + 1) & 1 != 0 { word.edge | bit } else { word.edge & !bit };
                        }
                    }
                }
            }
            gicd::SGIR => self.send_sgi(cpu, value),
            gicd::CPENDSGIR..gicd::SPENDSGIR_END => {
                let first = (at as usize) & 0xc;
                for (i, &sources) in bytes.iter().enumerate() {
                    let pending = &mut self.cpu[cpu].sgi_sources[first + i];
                    *pending = if at < gicd::SPENDSGIR { *pending & !sources } else { *pending | sources };
                    self.latch_sgi(cpu, first + i);
                }
            }
            _ => {}
        }
    }

    fn set_targets(&mut self, irq: usize, targets: u8) {
        if !(32..IRQS).contains(&irq) || self.cpus == 1 {
            return;
        }
        let existing = ((1u16 << self.cpus) - 1) as u8;
        self.targets[irq] = targets & existing;
        for cpu in 0..self.cpus {
            let bit = 1 << (irq % 32);
            let word = &mut self.routed[cpu][irq / 32];
            *word = if targets >> cpu & 1 != 0 { *word | bit } else { *word & !bit };
        }
    }

    /// A write to `SGIR`: target filter in bits 25:24, target list in 23:16, interrupt in 3:0.
    fn send_sgi(&mut self, from: usize, value: u32) {
        let sgi = value as usize & 15;
        let all = (1u32 << self.cpus) - 1;
        let targets = match value >> 24 & 3 {
            0 => value >> 16 & 0xff & all,
            1 => all & !(1 << from),
            2 => 1 << from,
            _ => 0,
        };
        for cpu in (0..self.cpus).filter(|cpu| targets >> cpu & 1 != 0) {
            self.cpu[cpu].sgi_sources[sgi] |= 1 << from;
            self.latch_sgi(cpu, sgi);
        }
    }

    /// An SGI is pending while any CPU's request is.
    fn latch_sgi(&mut self, cpu: usize, sgi: usize) {
        let interface = &mut self.cpu[cpu];
        let bit = 1 << sgi;
        if interface.sgi_sources[sgi] != 0 {
            interface.private.latched |= bit;
        } else {
            interface.private.latched &= !bit;
        }
    }
}

#[cfg(test)]
mod tests;
