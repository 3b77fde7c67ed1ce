//! Fitting a device tree to the machine: `/memory`, `/chosen`, the CPUs, and which device models it asks for.
//!
//! A tree dumped from QEMU's `virt` works unchanged. Devices are found by `compatible`, their addresses translated through
//! their buses' `ranges`, so that a tree with other addresses works as well.

use crate::fdt::{Node, Tree, number, to_cells};
use dbt_kernel::shared::{DeviceDesc, DeviceKind, MAX_DEVICES};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DtbError {
    #[error("it has no GICv2 interrupt controller (compatible arm,cortex-a15-gic or arm,gic-400)")]
    NoGic,
    #[error("its interrupt controller is a GICv3; dump it with -M virt,gic-version=2")]
    GicV3,
    #[error("its node {0} has no usable \"reg\" property")]
    Reg(String),
    #[error("it has more than {MAX_DEVICES} devices")]
    TooMany,
    #[error("its root has {0} address cells and {1} size cells; only 1 or 2 of each are possible")]
    Cells(u32, u32),
}

/// What goes into `/memory` and `/chosen`.
#[derive(Clone, Debug, Default)]
pub struct Chosen<'a> {
    pub ram_base: u64,
    pub ram_size: u64,
    /// Replaces the tree's.
    pub bootargs: Option<&'a str>,
    /// First byte and first byte after.
    pub initrd: Option<(u64, u64)>,
    pub kaslr_seed: [u8; 8],
    pub rng_seed: [u8; 32],
    pub cpus: usize,
}

/// Edits the tree in place.
///
/// # Errors
/// The tree can't describe the machine.
pub fn edit(tree: &mut Tree, chosen: &Chosen<'_>) -> Result<(), DtbError> {
    let root = &mut tree.root;
    let (address_cells, size_cells) = cells_of(root);
    if !(1..=2).contains(&address_cells) || !(1..=2).contains(&size_cells) {
        return Err(DtbError::Cells(address_cells, size_cells));
    }
    root.children.retain(|node| node.str("device_type") != Some("memory"));
    let memory = root.child_or_new(&format!("memory@{:x}", chosen.ram_base));
    memory.set_str("device_type", "memory");
    let (base, size) =
        (to_cells(chosen.ram_base, address_cells as usize), to_cells(chosen.ram_size, size_cells as usize));
    memory.set("reg", [base, size].concat());

    keep_cpus(root, chosen.cpus);

    let console = console_path(root);
    let node = root.child_or_new("chosen");
    if let Some(bootargs) = chosen.bootargs {
        node.set_str("bootargs", bootargs);
    }
    node.remove("linux,initrd-start");
    node.remove("linux,initrd-end");
    if let Some((start, end)) = chosen.initrd {
        node.set("linux,initrd-start", to_cells(start, 2));
        node.set("linux,initrd-end", to_cells(end, 2));
    }
    if let (None, Some(path)) = (node.property("stdout-path"), console) {
        node.set_str("stdout-path", &path);
    }
    node.set("kaslr-seed", chosen.kaslr_seed.to_vec());
    node.set("rng-seed", chosen.rng_seed.to_vec());
    Ok(())
}

/// Removes CPUs beyond those the machine has, and the topology that names them.
fn keep_cpus(root: &mut Node, cpus: usize) {
    let Some(node) = root.children.iter_mut().find(|node| node.name == "cpus") else { return };
    let is_cpu = |node: &Node| node.str("device_type") == Some("cpu") || node.name.starts_with("cpu@");
    if node.children.iter().filter(|child| is_cpu(child)).count() <= cpus {
        return;
    }
    let mut kept = 0;
    node.children.retain(|child| {
        let cpu = is_cpu(child);
        kept += usize::from(cpu);
        !(cpu && kept > cpus) && child.name != "cpu-map"
    });
}

/// Where a tree without `stdout-path` has its console: the first PL011.
fn console_path(root: &Node) -> Option<String> {
    if let Some(path) = root.child("aliases").and_then(|aliases| aliases.str("serial0")) {
        return Some(path.to_owned());
    }
    root.children.iter().find(|node| node.is_compatible(&["arm,pl011"])).map(|node| format!("/{}", node.name))
}

fn cells_of(node: &Node) -> (u32, u32) {
    (node.cell("#address-cells").unwrap_or(2), node.cell("#size-cells").unwrap_or(1))
}

/// `compatible` strings with a model.
const MODELS: &[(&[&str], DeviceKind)] = &[
    (&["arm,pl011"], DeviceKind::Pl011),
    (&["arm,pl031"], DeviceKind::Pl031),
    (&["arm,cortex-a15-gic", "arm,gic-400"], DeviceKind::GicV2),
    (&["arm,gic-v2m-frame"], DeviceKind::V2mFrame),
    (&["virtio,mmio"], DeviceKind::VirtioEmpty),
    (&["arm,pl061"], DeviceKind::Pl061),
    (&["qemu,fw-cfg-mmio"], DeviceKind::FwCfg),
    (&["pci-host-ecam-generic", "pci-host-cam-generic"], DeviceKind::ReadsOnes),
];
/// Nodes below which nothing is memory-mapped device.
const NOT_DEVICES: &[&str] = &["chosen", "aliases", "cpus", "psci", "timer", "reserved-memory", "options"];

/// The device models the tree asks for.
///
/// # Errors
/// There is no interrupt controller that has a model, or a device's place can't be understood.
pub fn devices(tree: &Tree) -> Result<Vec<DeviceDesc>, DtbError> {
    let mut found = Vec::new();
    collect(&tree.root, &|address| Some(address), &mut found)?;
    if !found.iter().any(|device| device.kind == DeviceKind::GicV2) {
        let v3 = tree.root.children.iter().any(|node| node.is_compatible(&["arm,gic-v3"]));
        return Err(if v3 { DtbError::GicV3 } else { DtbError::NoGic });
    }
    if found.len() > MAX_DEVICES { Err(DtbError::TooMany) } else { Ok(found) }
}

/// Devices below `bus`, whose children's addresses `translate` takes to the CPU's.
fn collect(bus: &Node, translate: &dyn Fn(u64) -> Option<u64>, found: &mut Vec<DeviceDesc>) -> Result<(), DtbError> {
    let (address_cells, size_cells) = cells_of(bus);
    for node in &bus.children {
        if node.str("device_type") == Some("memory")
            || node.str("status").is_some_and(|status| status != "okay" && status != "ok")
            || NOT_DEVICES.contains(&node.name.as_str())
        {
            continue;
        }
        if node.property("reg").is_some() {
            device(node, (address_cells as usize, size_cells as usize), translate, found)?;
        }
        // PCI children are not memory-mapped.
        if node.children.is_empty() || node.str("device_type") == Some("pci") {
            continue;
        }
        if let Some(ranges) = node.property("ranges") {
            if ranges.is_empty() {
                collect(node, translate, found)?;
            } else {
                let windows = windows(node, address_cells as usize);
                collect(node, &|address| translate(through(&windows, address)?), found)?;
            }
        }
    }
    Ok(())
}

/// A bus's `ranges`: child address, parent address, size.
fn windows(node: &Node, parent_cells: usize) -> Vec<(u64, u64, u64)> {
    let (address_cells, size_cells) = cells_of(node);
    let (child, size) = (address_cells as usize, size_cells as usize);
    node.cells("ranges")
        .chunks_exact((child + parent_cells + size).max(1))
        .map(|entry| {
            let (from, rest) = entry.split_at(child);
            let (to, size) = rest.split_at(parent_cells);
            (number(from), number(to), number(size))
        })
        .collect()
}

fn through(windows: &[(u64, u64, u64)], address: u64) -> Option<u64> {
    let (from, to, _) = windows.iter().find(|(from, _, size)| address >= *from && address - from < *size)?;
    to.checked_add(address - from)
}

fn device(
    node: &Node,
    (address_cells, size_cells): (usize, usize),
    translate: &dyn Fn(u64) -> Option<u64>,
    found: &mut Vec<DeviceDesc>,
) -> Result<(), DtbError> {
    let bad = || DtbError::Reg(node.name.clone());
    let mut regions = Vec::new();
    for entry in node.cells("reg").chunks_exact((address_cells + size_cells).max(1)) {
        let (address, size) = entry.split_at(address_cells);
        // A window outside its bus's ranges isn't reachable: nothing to model.
        let Some(base) = translate(number(address)) else { return Ok(()) };
        let size = number(size);
        base.checked_add(size).ok_or_else(bad)?;
        if size != 0 {
            regions.push((base, size));
        }
    }
    let kind = MODELS.iter().find(|(names, _)| node.is_compatible(names)).map_or(DeviceKind::RazWi, |(_, kind)| *kind);
    match (kind, regions.as_slice()) {
        (DeviceKind::GicV2, &[(base, size), (base2, size2), ..]) => {
            found.push(DeviceDesc { kind, spi: u32::MAX, base, size, base2, size2 });
        }
        (DeviceKind::GicV2, _) | (_, []) if kind != DeviceKind::RazWi => return Err(bad()),
        (DeviceKind::RazWi, regions) => {
            log::info!("device tree node {} has no model: it reads as zero", node.name);
            found.extend(regions.iter().map(|&(base, size)| DeviceDesc { kind, base, size, ..DeviceDesc::NONE }));
        }
        (_, regions) => {
            let (base, size) = regions[0];
            found.push(DeviceDesc { kind, spi: spi(node).unwrap_or(u32::MAX), base, size, ..DeviceDesc::NONE });
        }
    }
    Ok(())
}

/// The node's first shared peripheral interrupt.
fn spi(node: &Node) -> Option<u32> {
    match node.cells("interrupts").as_slice() {
        [0, spi, ..] if *spi < 988 => Some(*spi),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board;

    fn board_tree() -> Tree {
        Tree::parse(&board::blob(1).unwrap()).unwrap()
    }

    #[test]
    fn the_generated_board_has_its_devices() {
        let devices = devices(&board_tree()).unwrap();
        let of = |kind| devices.iter().find(|device| device.kind == kind).copied().unwrap();
        let gic = of(DeviceKind::GicV2);
        assert_eq!((gic.base, gic.size, gic.base2, gic.size2), (0x800_0000, 0x1_0000, 0x801_0000, 0x1_0000));
        let uart = of(DeviceKind::Pl011);
        assert_eq!((uart.base, uart.size, uart.spi), (0x900_0000, 0x1000, 1));
        assert_eq!(of(DeviceKind::Pl031).spi, 2);
        assert_eq!(devices.len(), 3);
    }

    #[test]
    fn chosen_and_memory_are_patched() {
        let mut tree = board_tree();
        tree.root.child_or_new("chosen").set_str("bootargs", "old");
        let chosen = Chosen {
            ram_base: 0x4000_0000,
            ram_size: 1 << 30,
            bootargs: None,
            initrd: Some((0x4800_0000, 0x4810_0000)),
            kaslr_seed: [1; 8],
            rng_seed: [2; 32],
            cpus: 1,
        };
        edit(&mut tree, &chosen).unwrap();
        let node = tree.root.child("chosen").unwrap();
        assert_eq!(node.str("bootargs"), Some("old"));
        assert_eq!(number(&node.cells("linux,initrd-end")), 0x4810_0000);
        assert_eq!(node.str("stdout-path"), Some("/pl011@9000000"));
        assert_eq!(node.property("rng-seed"), Some(&[2; 32][..]));
        let memory = tree.root.child("memory@40000000").unwrap();
        assert_eq!(memory.cells("reg"), [0, 0x4000_0000, 0, 0x4000_0000]);

        edit(&mut tree, &Chosen { bootargs: Some("new"), initrd: None, ..chosen }).unwrap();
        let node = tree.root.child("chosen").unwrap();
        assert_eq!(node.str("bootargs"), Some("new"));
        assert_eq!(node.property("linux,initrd-start"), None);
        assert_eq!(tree.root.children.iter().filter(|node| node.name.starts_with("memory")).count(), 1);
    }

    #[test]
    fn surplus_cpus_go() {
        let mut tree = Tree::parse(&board::blob(4).unwrap()).unwrap();
        edit(&mut tree, &Chosen { cpus: 1, ..Chosen::default() }).unwrap();
        assert_eq!(tree.root.child("cpus").unwrap().children.len(), 1);
    }

    #[test]
    fn addresses_go_through_ranges() {
        let mut tree = board_tree();
        let mut bus = Node::new("platform-bus@c000000");
        bus.set("#address-cells", to_cells(1, 1));
        bus.set("#size-cells", to_cells(1, 1));
        bus.set("ranges", [to_cells(0, 1), to_cells(0xc00_0000, 2), to_cells(0x200_0000, 1)].concat());
        let mut uart = Node::new("pl011@1000");
        uart.set_str("compatible", "arm,pl011");
        uart.set("reg", [to_cells(0x1000, 1), to_cells(0x1000, 1)].concat());
        bus.children.push(uart);
        tree.root.children.push(bus);
        assert!(devices(&tree).unwrap().iter().any(|device| device.base == 0xc00_1000));
    }

    #[test]
    fn a_tree_without_a_known_gic_is_refused() {
        let mut tree = board_tree();
        tree.root
            .children
            .iter_mut()
            .find(|node| node.name.starts_with("intc"))
            .unwrap()
            .set_str("compatible", "arm,gic-v3");
        assert_eq!(devices(&tree).unwrap_err(), DtbError::GicV3);
        tree.root.children.retain(|node| !node.name.starts_with("intc"));
        assert_eq!(devices(&tree).unwrap_err(), DtbError::NoGic);
    }
}
