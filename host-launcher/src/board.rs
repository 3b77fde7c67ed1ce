//! The device tree of the machine when the user gives none: QEMU's `virt` without what has no model here.

use vm_fdt::{FdtWriter, FdtWriterResult};

const PHANDLE_GIC: u32 = 1;
const PHANDLE_CLOCK: u32 = 2;
/// Interrupt specifier kinds and flags of the GIC binding.
const SPI: u32 = 0;
const PPI: u32 = 1;
const LEVEL_HIGH: u32 = 4;
/// Level, low, delivered to CPU 0: what `virt` says for its timers.
const TIMER_FLAGS: u32 = 0x104;

/// A blob with CPUs, GICv2, timer, PL011, PL031 and PSCI; `/memory` and `/chosen` are for the editor to fill.
///
/// # Errors
/// The writer refused: a bug.
pub fn blob(cpus: u32) -> FdtWriterResult<Vec<u8>> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_string("compatible", "linux,dummy-virt")?;
    fdt.property_string("model", "linux,dummy-virt")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("interrupt-parent", PHANDLE_GIC)?;

    let node = fdt.begin_node("psci")?;
    fdt.property_string_list("compatible", vec!["arm,psci-1.0".into(), "arm,psci-0.2".into(), "arm,psci".into()])?;
    fdt.property_string("method", "hvc")?;
    fdt.end_node(node)?;

    let node = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    for cpu in 0..cpus {
        let cpu_node = fdt.begin_node(&format!("cpu@{cpu:x}"))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_string("compatible", "arm,armv8")?;
        fdt.property_string("enable-method", "psci")?;
        fdt.property_u32("reg", cpu)?;
        fdt.end_node(cpu_node)?;
    }
    fdt.end_node(node)?;

    let node = fdt.begin_node("timer")?;
    fdt.property_string_list("compatible", vec!["arm,armv8-timer".into(), "arm,armv7-timer".into()])?;
    fdt.property_null("always-on")?;
    let timers: Vec<u32> = [13, 14, 11, 10].iter().flat_map(|ppi| [PPI, *ppi, TIMER_FLAGS]).collect();
    fdt.property_array_u32("interrupts", &timers)?;
    fdt.end_node(node)?;

    let node = fdt.begin_node("intc@8000000")?;
    fdt.property_string("compatible", "arm,cortex-a15-gic")?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 3)?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_null("ranges")?;
    fdt.property_array_u64("reg", &[0x0800_0000, 0x1_0000, 0x0801_0000, 0x1_0000])?;
    fdt.property_phandle(PHANDLE_GIC)?;
    fdt.end_node(node)?;

    let node = fdt.begin_node("apb-pclk")?;
    fdt.property_string("compatible", "fixed-clock")?;
    fdt.property_u32("#clock-cells", 0)?;
    fdt.property_u32("clock-frequency", 24_000_000)?;
    fdt.property_string("clock-output-names", "clk24mhz")?;
    fdt.property_phandle(PHANDLE_CLOCK)?;
    fdt.end_node(node)?;

    let node = fdt.begin_node("pl011@9000000")?;
    fdt.property_string_list("compatible", vec!["arm,pl011".into(), "arm,primecell".into()])?;
    fdt.property_array_u64("reg", &[0x0900_0000, 0x1000])?;
    fdt.property_array_u32("interrupts", &[SPI, 1, LEVEL_HIGH])?;
    fdt.property_array_u32("clocks", &[PHANDLE_CLOCK, PHANDLE_CLOCK])?;
    fdt.property_string_list("clock-names", vec!["uartclk".into(), "apb_pclk".into()])?;
    fdt.end_node(node)?;

    let node = fdt.begin_node("pl031@9010000")?;
    fdt.property_string_list("compatible", vec!["arm,pl031".into(), "arm,primecell".into()])?;
    fdt.property_array_u64("reg", &[0x0901_0000, 0x1000])?;
    fdt.property_array_u32("interrupts", &[SPI, 2, LEVEL_HIGH])?;
    fdt.property_array_u32("clocks", &[PHANDLE_CLOCK])?;
    fdt.property_string("clock-names", "apb_pclk")?;
    fdt.end_node(node)?;

    fdt.end_node(root)?;
    fdt.finish()
}
