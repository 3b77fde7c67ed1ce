//! The command line: what a user may say, and how QEMU's spelling of it maps to ours.
//!
//! QEMU's long options have one dash; [`rewrite`] turns those we know into ours before clap sees them, and never looks at
//! the value of an option. Options of QEMU that ask for what is so anyway are accepted and checked.

use clap::{ArgAction, Parser, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use x86_backend::jit::Mechanisms;

const AFTER_HELP: &str = "\
QEMU's spellings (-kernel, -initrd, -append, -dtb, -smp, -machine, -cpu, -accel, -no-reboot, -nographic) are understood.
While the guest runs: Ctrl-a x quits, Ctrl-a h helps, Ctrl-a Ctrl-a sends Ctrl-a.

Exit codes: 0 power-off, reset with --no-reboot, or quit; 1 guest panic with --exit-on-panic, or the self-test failed;
2 bad input; 70 engine bug; 124 --timeout expired; 128 + n ended by signal n.";

/// Runs an arm64 machine under dynamic binary translation.
#[derive(Debug, Parser)]
#[command(name = "host-launcher", version, about, max_term_width = 120, after_help = AFTER_HELP)]
pub struct Cli {
    /// arm64 Linux Image (raw, gzip or EFI zboot); without one a self-test runs.
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Device tree blob of the machine, e.g. from `qemu-system-aarch64 -M virt,dumpdtb=FILE`; made up when absent.
    #[arg(long, value_name = "FILE")]
    pub dtb: Option<PathBuf>,
    /// Initial RAM disk.
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Kernel command line; replaces the device tree's.
    #[arg(long, value_name = "STRING", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Guest RAM: a number with K, M, G or T; MiB without.
    #[arg(short = 'm', long = "memory", value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    pub memory: u64,
    /// Number of virtual CPUs; one for the time being.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub smp: u32,
    /// Where translated code runs.
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// How guest memory is accessed.
    #[arg(long, value_enum, default_value_t = Mmu::Auto)]
    pub mmu: Mmu,
    /// Stop after that many seconds, with exit code 124.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
    /// Exit when the guest resets instead of rebooting it.
    #[arg(long)]
    pub no_reboot: bool,
    /// Translate code again, as regions, after a block was entered that many times; 0: never.
    #[arg(long, value_name = "ENTRIES", default_value_t = dbt_kernel::regions::HOT)]
    pub hot_after: u32,
    /// Leave out what makes translated code fast, to see what it gives; regions go with `--hot-after 0`.
    #[arg(long, value_enum, value_name = "MECHANISM", value_delimiter = ',')]
    pub without: Vec<Mechanism>,
    /// Exit with code 1 when the guest's kernel panics.
    #[arg(long)]
    pub exit_on_panic: bool,
    /// Print statistics to stderr at exit.
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub stats: Option<StatsFormat>,
    /// Write the device tree the guest gets to a file.
    #[arg(long, value_name = "FILE")]
    pub dump_dtb: Option<PathBuf>,
    /// Machine type: `virt`.
    #[arg(short = 'M', long, value_name = "TYPE", value_parser = parse_machine)]
    pub machine: Option<()>,
    /// CPU type: `max` or `host`.
    #[arg(long, value_name = "TYPE", value_parser = ["max", "host"])]
    pub cpu: Option<String>,
    /// Accepted for compatibility: there is no graphics.
    #[arg(long)]
    pub nographic: bool,
    /// More messages; twice: even more.
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM if usable, else hosted.
    Auto,
    /// In a virtual machine.
    Kvm,
    /// In the launcher's own process.
    Hosted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mmu {
    /// In a virtual machine by the host's MMU where that repays what a page fault costs, else in software.
    Auto,
    /// The host's MMU translates guest addresses; with `--accel kvm` only.
    Host,
    /// A software TLB.
    Soft,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mechanism {
    /// Direct jumps within a page go straight to their target.
    Chaining,
    /// Other jumps find their target in a table.
    JumpCache,
    /// Loops keep state in registers from turn to turn.
    Loops,
    /// Loops are translated with all ways that are often gone.
    Branches,
    /// Accesses next to each other are one.
    Pairs,
    /// Accesses around one address share the way to memory.
    Sharing,
    /// State that is overwritten at once is not stored.
    DeadStores,
    /// Floating-point operations use the host's unit.
    FpInline,
    /// Their results are checked together.
    FpGroups,
}

impl Mechanism {
    pub fn flag(self) -> Mechanisms {
        match self {
            Self::Chaining => Mechanisms::CHAINING,
            Self::JumpCache => Mechanisms::JUMP_CACHE,
            Self::Loops => Mechanisms::LOOPS,
            Self::Branches => Mechanisms::BRANCHES,
            Self::Pairs => Mechanisms::PAIRS,
            Self::Sharing => Mechanisms::SHARING,
            Self::DeadStores => Mechanisms::DEAD_STORES,
            Self::FpInline => Mechanisms::FP_INLINE,
            Self::FpGroups => Mechanisms::FP_GROUPS,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatsFormat {
    Text,
    Json,
}

/// QEMU's spellings: one-dash name, ours, and whether a value follows.
const QEMU: &[(&str, &str, bool)] = &[
    ("-kernel", "--kernel", true),
    ("-initrd", "--initrd", true),
    ("-append", "--append", true),
    ("-dtb", "--dtb", true),
    ("-smp", "--smp", true),
    ("-machine", "--machine", true),
    ("-cpu", "--cpu", true),
    ("-accel", "--accel", true),
    ("-nographic", "--nographic", false),
    ("-no-reboot", "--no-reboot", false),
];

/// Our options that take the next argument as their value.
const VALUED: &[&str] = &[
    "--kernel",
    "--initrd",
    "--append",
    "--dtb",
    "--smp",
    "--machine",
    "--cpu",
    "--accel",
    "--mmu",
    "--memory",
    "--timeout",
    "--hot-after",
    "--without",
    "--dump-dtb",
    "-m",
    "-M",
];

/// Replaces QEMU's spellings by ours.
pub fn rewrite(args: impl IntoIterator<Item = std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    let mut out = Vec::new();
    let mut is_value = true; // The program's own name is nobody's option.
    for arg in args {
        let mut next_is_value = false;
        let mut arg = arg;
        if !is_value {
            if let Some((_, ours, valued)) = QEMU.iter().find(|(qemu, ..)| arg == *qemu) {
                arg = (*ours).into();
                next_is_value = *valued;
            } else {
                next_is_value = VALUED.iter().any(|option| arg == *option);
            }
        }
        out.push(arg);
        is_value = next_is_value;
    }
    out
}

/// `512M`, `1G`, `1024` (MiB) into bytes.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "k" => 10,
        "" | "m" => 20,
        "g" => 30,
        "t" => 40,
        other => return Err(format!("unknown unit \"{other}\"")),
    };
    let number: u64 = digits.parse().map_err(|_| "not a size such as 512M or 1G".to_owned())?;
    number.checked_mul(1 << unit).ok_or_else(|| "too large".to_owned())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a number of seconds".to_owned())
}

fn parse_machine(text: &str) -> Result<(), String> {
    let mut parts = text.split(',');
    if parts.next() != Some("virt") {
        return Err("the only machine is \"virt\"".to_owned());
    }
    match parts.find(|part| *part != "gic-version=2") {
        None => Ok(()),
        Some(other) => Err(format!("unknown machine option \"{other}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mechanism_can_be_left_out() {
        let flags = Mechanism::value_variants().iter().map(|mechanism| mechanism.flag());
        assert_eq!(flags.clone().collect::<Mechanisms>(), Mechanisms::all());
        assert_eq!(flags.count() as u32, Mechanisms::all().bits().count_ones());
        let cli = Cli::try_parse_from(["launcher", "--without", "loops,fp-inline", "--without", "pairs"]).unwrap();
        assert_eq!(cli.without, [Mechanism::Loops, Mechanism::FpInline, Mechanism::Pairs]);
    }

    use std::ffi::OsString;

    fn rewritten(args: &[&str]) -> Vec<OsString> {
        rewrite(std::iter::once("launcher").chain(args.iter().copied()).map(OsString::from))
    }

    #[test]
    fn qemu_spellings_become_ours() {
        let args =
            rewritten(&["-M", "virt", "-cpu", "max", "-kernel", "a", "-append", "-kernel", "-nographic", "-m", "512"]);
        let cli = Cli::try_parse_from(args).unwrap();
        assert_eq!(cli.kernel.unwrap().to_str(), Some("a"));
        assert_eq!(cli.append.as_deref(), Some("-kernel"));
        assert_eq!(cli.memory, 512 << 20);
        assert!(cli.nographic && cli.machine.is_some());
    }

    #[test]
    fn our_spellings_stay() {
        let args = rewritten(&["--kernel", "-dtb", "--append", "x y", "--stats=json", "-vv", "--timeout", "1.5"]);
        assert_eq!(args[2], "-dtb");
        let cli = Cli::try_parse_from(args[..1].iter().chain(&args[3..]).cloned().collect::<Vec<_>>()).unwrap();
        assert_eq!(cli.stats, Some(StatsFormat::Json));
        assert_eq!(cli.verbose, 2);
        assert_eq!(cli.timeout, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert_eq!(parse_size("256"), Ok(256 << 20));
        assert_eq!(parse_size("64k"), Ok(64 << 10));
        assert!(parse_size("").is_err() && parse_size("1X").is_err() && parse_size("99999999T").is_err());
    }

    #[test]
    fn other_machines_are_refused() {
        for args in [["-M", "raspi3b"], ["-cpu", "cortex-a57"], ["-M", "virt,gic-version=3"]] {
            assert!(Cli::try_parse_from(rewritten(&args)).is_err(), "{args:?}");
        }
        assert!(Cli::try_parse_from(rewritten(&["-machine", "virt,gic-version=2"])).is_ok());
    }
}
