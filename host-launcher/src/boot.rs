//! From files to a machine that can start: reads the images, decides where they go, edits the device tree, fills RAM.
//!
//! Everything a user can get wrong is found here, before any virtual machine exists. Placement is as Linux's "Booting
//! AArch64 Linux" wants it: the kernel at a 2 MiB boundary plus its offset, the initrd behind it, the device tree in a
//! 2 MiB region of its own behind that.

use crate::board;
use crate::cli::Cli;
use crate::dtb::{self, Chosen, DtbError};
use crate::fdt::{FdtError, Tree};
use crate::image::{self, Header, ImageError, PROBE_BYTES};
use crate::mapping::{HUGE, Mapping};
use dbt_kernel::shared::DeviceDesc;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

/// Where RAM begins, as on QEMU's `virt`.
pub const RAM_BASE: u64 = 0x4000_0000;
/// `virt` has its PCIe configuration space above 255 GiB of RAM.
const MAX_RAM: u64 = 255 << 30;
const TWO_MIB: u64 = HUGE as u64;
const PAGE: u64 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error("no kernel given: --initrd and --append need --kernel FILE")]
    NoKernel,
    #[error("can't read the {what} {}: {source}", path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    #[error("can't write the device tree to {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("can't use the kernel {}: {source}", path.display())]
    Kernel { path: PathBuf, source: ImageError },
    #[error("can't use the device tree {}: {source}", path.display())]
    Blob { path: PathBuf, source: FdtError },
    #[error("can't use the device tree {}: {source}", path.display())]
    Tree { path: PathBuf, source: DtbError },
    #[error("can't use the initrd {}: it is empty", .0.display())]
    EmptyInitrd(PathBuf),
    #[error("{0} MiB of RAM are too little: kernel, initrd and device tree need {1} MiB; give more with -m")]
    TooLittle(u64, u64),
    #[error("RAM must be a multiple of 2 MiB between 2 MiB and 255 GiB")]
    RamSize,
    #[error("the host has no {0} MiB of memory for guest RAM: {1}")]
    NoMemory(u64, io::Error),
    #[error("{0} virtual CPUs are not supported yet: use --smp 1")]
    Smp(u32),
    #[error("the host gives no random numbers: {0}")]
    Random(io::Error),
    #[error("can't make a device tree: {0}")]
    Board(#[from] vm_fdt::Error),
    #[error("guest RAM can't be accessed: {0}")]
    Memory(String),
}

/// What runs when no kernel is given; made by the build script.
const SELF_TEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/selftest.img"));

/// Bytes for guest RAM. Files are read straight into it: a second copy would cost as much again.
enum Source {
    File { path: PathBuf, file: File, len: u64 },
    Bytes(Vec<u8>),
}

impl Source {
    fn open(what: &'static str, path: &Path) -> Result<Self, BootError> {
        let failed = |source| BootError::Read { what, path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() {
            return Ok(Self::File { path: path.to_owned(), file, len: metadata.len() });
        }
        // A pipe or a directory: what can be read can be read once only.
        fs::read(path).map(Self::Bytes).map_err(failed)
    }

    fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// The first `len` bytes, or all there are.
    fn start(&self, len: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::File { file, .. } => {
                let mut file: &File = file;
                file.rewind()?;
                let mut bytes = Vec::new();
                file.take(len as u64).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
            Self::Bytes(bytes) => Ok(bytes[..len.min(bytes.len())].to_vec()),
        }
    }
}

/// What the user gave, read and checked.
pub struct Images {
    kernel: Source,
    header: Header,
    initrd: Option<Source>,
    tree: Tree,
    tree_path: PathBuf,
    append: Option<String>,
    ram_size: u64,
    cpus: u32,
    self_test: bool,
}

/// Guest-physical placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub kernel: u64,
    pub initrd: Option<(u64, u64)>,
    pub dtb: u64,
}

impl Plan {
    fn new(kernel: Header, initrd: Option<u64>) -> Self {
        let start = RAM_BASE + kernel.text_offset;
        let kernel_end = start + kernel.memory_size;
        let initrd = initrd.map(|size| {
            let at = kernel_end.next_multiple_of(PAGE);
            (at, at + size)
        });
        let end = initrd.map_or(kernel_end, |(_, end)| end);
        Self { kernel: start, initrd, dtb: end.next_multiple_of(TWO_MIB) }
    }
}

/// What the engine must know to start the guest.
pub struct Start {
    pub entry: u64,
    pub arg0: u64,
    pub devices: Vec<DeviceDesc>,
}

/// Guest RAM: the mapping, and `vm-memory`'s checked view of it.
pub struct Ram {
    pub mapping: Arc<Mapping>,
    pub size: u64,
    view: GuestMemoryMmap,
}

impl Ram {
    /// # Errors
    /// The host has no such memory.
    pub fn new(size: u64) -> Result<Self, BootError> {
        let no_memory = |error| BootError::NoMemory(size >> 20, error);
        let mapping = Arc::new(Mapping::new(size as usize, false).map_err(no_memory)?);
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the mapping lives as long as the view: both are owned by the same `Ram`.
        let region = unsafe { MmapRegion::build_raw(mapping.addr(), size as usize, prot, libc::MAP_PRIVATE) };
        let region = region.map_err(|error| BootError::Memory(error.to_string()))?;
        let region = GuestRegionMmap::new(region, GuestAddress(RAM_BASE)).ok_or(BootError::RamSize)?;
        let view = GuestMemoryMmap::from_regions(vec![region]).map_err(|error| BootError::Memory(error.to_string()))?;
        Ok(Self { mapping, size, view })
    }

    fn load(&self, what: &'static str, address: u64, source: &Source) -> Result<(), BootError> {
        match source {
            Source::Bytes(bytes) => self.write(address, bytes),
            Source::File { path, file, len } => {
                let failed = |source| BootError::Read { what, path: path.clone(), source };
                let mut file: &File = file;
                file.rewind().map_err(failed)?;
                let mut file = file.try_clone().map_err(failed)?;
                self.view
                    .read_exact_volatile_from(GuestAddress(address), &mut file, *len as usize)
                    .map_err(|error| failed(io::Error::other(error.to_string())))
            }
        }
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), BootError> {
        self.view.write_slice(bytes, GuestAddress(address)).map_err(|error| BootError::Memory(error.to_string()))
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, BootError> {
    fs::read(path).map_err(|source| BootError::Read { what, path: path.to_owned(), source })
}

/// The self-test, as a kernel.
fn self_test() -> Result<(Source, Header), BootError> {
    let unusable = |source| BootError::Kernel { path: PathBuf::from("(self-test)"), source };
    let header = Header::parse(SELF_TEST, SELF_TEST.len() as u64).map_err(unusable)?;
    Ok((Source::Bytes(SELF_TEST.to_vec()), header))
}

/// A kernel, unpacked if need be, and what its header says.
fn open_kernel(path: &Path) -> Result<(Source, Header), BootError> {
    let unreadable = |source| BootError::Read { what: "kernel", path: path.to_owned(), source };
    let unusable = |source| BootError::Kernel { path: path.to_owned(), source };
    let mut kernel = Source::open("kernel", path)?;
    let mut start = kernel.start(PROBE_BYTES).map_err(unreadable)?;
    if image::is_packed(&start) {
        let packed = kernel.start(usize::MAX).map_err(unreadable)?;
        kernel = Source::Bytes(image::unpack(&packed).map_err(unusable)?);
        start = kernel.start(PROBE_BYTES).map_err(unreadable)?;
    }
    let header = Header::parse(&start, kernel.len()).map_err(unusable)?;
    Ok((kernel, header))
}

impl Images {
    /// Reads and checks everything the command line names.
    ///
    /// # Errors
    /// Something is missing, unreadable or not what it should be.
    pub fn load(cli: &Cli) -> Result<Self, BootError> {
        if cli.smp != 1 {
            return Err(BootError::Smp(cli.smp));
        }
        if cli.memory < TWO_MIB || cli.memory > MAX_RAM || !cli.memory.is_multiple_of(TWO_MIB) {
            return Err(BootError::RamSize);
        }
        let (kernel, header) = match &cli.kernel {
            Some(path) => open_kernel(path)?,
            None if cli.initrd.is_some() || cli.append.is_some() => return Err(BootError::NoKernel),
            None => self_test()?,
        };
        let initrd = cli.initrd.as_ref().map(|path| Source::open("initrd", path)).transpose()?;
        if let (Some(0), Some(path)) = (initrd.as_ref().map(Source::len), &cli.initrd) {
            return Err(BootError::EmptyInitrd(path.clone()));
        }
        let (blob, tree_path) = match &cli.dtb {
            Some(path) => (read("device tree", path)?, path.clone()),
            None => (board::blob(cli.smp)?, PathBuf::from("(generated)")),
        };
        let tree = Tree::parse(&blob).map_err(|source| BootError::Blob { path: tree_path.clone(), source })?;
        let images = Self {
            kernel,
            header,
            initrd,
            tree,
            tree_path,
            append: cli.append.clone(),
            ram_size: cli.memory,
            cpus: cli.smp,
            self_test: cli.kernel.is_none(),
        };
        // Edit once without placing anything, so that a bad tree is known now.
        let (blob, _) = images.device_tree()?;
        if let Some(path) = &cli.dump_dtb {
            fs::write(path, &blob).map_err(|source| BootError::Write { path: path.clone(), source })?;
        }
        let need = images.plan().dtb + blob.len() as u64 - RAM_BASE;
        if need > images.ram_size {
            return Err(BootError::TooLittle(images.ram_size >> 20, need.div_ceil(TWO_MIB) * 2));
        }
        Ok(images)
    }

    #[must_use]
    pub fn ram_size(&self) -> u64 {
        self.ram_size
    }

    #[must_use]
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// Whether the kernel is the launcher's own.
    #[must_use]
    pub fn is_self_test(&self) -> bool {
        self.self_test
    }

    fn plan(&self) -> Plan {
        Plan::new(self.header, self.initrd.as_ref().map(Source::len))
    }

    /// The tree the guest gets, with fresh seeds, and the devices it names.
    fn device_tree(&self) -> Result<(Vec<u8>, Vec<DeviceDesc>), BootError> {
        let mut chosen = Chosen {
            ram_base: RAM_BASE,
            ram_size: self.ram_size,
            bootargs: self.append.as_deref(),
            initrd: self.plan().initrd,
            cpus: self.cpus as usize,
            ..Chosen::default()
        };
        random(&mut chosen.kaslr_seed)?;
        random(&mut chosen.rng_seed)?;
        let mut tree = self.tree.clone();
        let bad = |source| BootError::Tree { path: self.tree_path.clone(), source };
        dtb::edit(&mut tree, &chosen).map_err(bad)?;
        let devices = dtb::devices(&tree).map_err(bad)?;
        Ok((tree.to_blob(), devices))
    }

    /// Fills RAM for a start of the guest.
    ///
    /// # Errors
    /// RAM is too small, which [`Images::load`] has checked, or the host has no random numbers.
    pub fn place(&self, ram: &Ram) -> Result<Start, BootError> {
        let plan = self.plan();
        let (blob, devices) = self.device_tree()?;
        ram.load("kernel", plan.kernel, &self.kernel)?;
        if let (Some((at, _)), Some(initrd)) = (plan.initrd, &self.initrd) {
            ram.load("initrd", at, initrd)?;
        }
        ram.write(plan.dtb, &blob)?;
        log::info!("kernel at {:#x}, initrd at {:x?}, device tree at {:#x}", plan.kernel, plan.initrd, plan.dtb);
        Ok(Start { entry: plan.kernel, arg0: plan.dtb, devices })
    }
}

fn random(bytes: &mut [u8]) -> Result<(), BootError> {
    // SAFETY: the kernel writes at most `len` bytes to the slice.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got == bytes.len() as isize { Ok(()) } else { Err(BootError::Random(io::Error::last_os_error())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps() {
        for (offset, size, initrd) in [(0, 0x201_0000, Some(12345)), (0x8_0000, 0x12_3456, None), (0, 64, Some(1))] {
            let plan = Plan::new(Header { text_offset: offset, memory_size: size }, initrd);
            assert_eq!(plan.kernel, RAM_BASE + offset);
            let mut end = plan.kernel + size;
            if let Some((start, initrd_end)) = plan.initrd {
                assert!(start >= end && start % PAGE == 0);
                end = initrd_end;
            }
            assert!(plan.dtb >= end && plan.dtb.is_multiple_of(TWO_MIB));
        }
    }

    #[test]
    fn ram_is_written_where_the_guest_sees_it() {
        let ram = Ram::new(4 << 20).unwrap();
        ram.write(RAM_BASE + 0x1000, b"guest").unwrap();
        // SAFETY: five bytes within the mapping, nobody writes them meanwhile.
        let seen = unsafe { std::slice::from_raw_parts(ram.mapping.at(0x1000, 5).unwrap(), 5) };
        assert_eq!(seen, b"guest");
        assert!(ram.write(RAM_BASE + (4 << 20) - 2, b"guest").is_err());
        assert!(ram.write(0, b"x").is_err());
    }
}
