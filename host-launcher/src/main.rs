//! Runs an arm64 machine under dynamic binary translation: the command line program.
//!
//! [`boot`] finds every mistake of the user before anything runs; an accelerator ([`kvm`] or [`hosted`]) runs the engine;
//! [`serve`] serves console, clock and the user's wishes until the run is over. Exit codes: 0 power-off, reset with
//! `--no-reboot`, or the user quit; 1 guest panic with `--exit-on-panic`, or the self-test failed; 2 bad input; 70 engine bug; 124 `--timeout`
//! expired; 128 + n ended by signal n.

mod board;
mod boot;
mod cli;
mod console;
mod crash;
mod dtb;
mod elf;
mod engine;
mod event_fd;
mod fdt;
mod host_cpu;
mod hosted;
mod image;
mod kvm;
mod link;
mod machine;
mod mapping;
mod paging;
mod serve;
mod stats;
mod terminal;

use boot::{BootError, Images, Ram};
use clap::Parser;
use cli::{Accel, Cli, Mmu};
use hosted::HostedMachine;
use kvm::{KvmError, KvmMachine};
use machine::{Options, Running};
use serve::{Exit, Input, Server, Signals};
use std::io::{self, Write};
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why nothing could be started.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error("the host can't run the machine: {0}")]
    Host(#[from] io::Error),
    #[error("KVM can't run the machine: {0}")]
    Kvm(#[from] KvmError),
    #[error("--mmu host needs a virtual machine: it does not work with --accel hosted")]
    HostMmu,
    #[error("--mmu host needs KVM, which can't be used: {0}")]
    HostMmuWithoutKvm(KvmError),
}

const EXIT_BAD_INPUT: i32 = 2;
/// The self-test takes a fraction of a second; one that hangs has failed.
const SELF_TEST_TIMEOUT: Duration = Duration::from_secs(60);

fn main() {
    let cli = Cli::parse_from(cli::rewrite(std::env::args_os()));
    init_log(cli.verbose);
    let code = match launch(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("host-launcher: {error}");
            EXIT_BAD_INPUT
        }
    };
    terminal::restore();
    let _ = io::stdout().flush();
    // Hosted translated code that doesn't listen any more ends with the process.
    process::exit(code);
}

fn init_log(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        2 => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    };
    env_logger::Builder::new().filter_level(level).format_timestamp(None).parse_default_env().init();
}

/// The accelerator a machine really got.
enum Chosen {
    Kvm,
    Hosted,
}

impl Chosen {
    fn name(&self) -> &'static str {
        match self {
            Chosen::Kvm => "kvm",
            Chosen::Hosted => "hosted",
        }
    }
}

/// Reads what the user gave, runs the machine through all its reboots, and gives the process's exit code.
fn launch(cli: &Cli) -> Result<i32, LaunchError> {
    let images = Images::load(cli)?;
    let ram = Arc::new(Ram::new(images.ram_size())?);
    let accel = choose(cli.accel, cli.mmu)?;
    let signals = Signals::take()?;
    let timeout = cli.timeout.or_else(|| images.is_self_test().then_some(SELF_TEST_TIMEOUT));
    let until = timeout.map(|time| Instant::now() + time);
    let options = Options {
        count: cli.stats.is_some(),
        no_reboot: cli.no_reboot,
        hot_after: cli.hot_after,
        without: cli.without.iter().map(|mechanism| mechanism.flag()).collect(),
        mmu: cli.mmu,
    };
    let mut input = Input::default();
    let raw = terminal::RawMode::enter();
    let started = Instant::now();
    loop {
        let start = images.place(&ram)?;
        let running: Box<dyn Running> = match accel {
            Chosen::Kvm => Box::new(KvmMachine::start(&images, &ram, &start, options)?),
            Chosen::Hosted => {
                crash::install();
                Box::new(HostedMachine::start(&images, &ram, &start, options)?)
            }
        };
        let link = Arc::clone(running.link());
        let exit = Server {
            link: &link,
            signals: &signals,
            input: &mut input,
            exit_on_panic: cli.exit_on_panic,
            no_reboot: cli.no_reboot,
            self_test: images.is_self_test(),
            until,
            kick: &|| running.kick(),
            announced: u64::MAX,
        }
        .run();
        if exit == Exit::Reboot {
            continue;
        }
        drop(raw);
        tell(&exit, &link);
        if let Some(format) = cli.stats {
            let report = stats::Report {
                stats: &link.control.stats,
                accel: accel.name(),
                wall: started.elapsed(),
                tsc_hz: link.control.tsc_hz,
                exit_code: exit.code(),
            };
            eprint!("{}", report.render(format));
        }
        return Ok(exit.code());
    }
}

/// Tells the user about an end that isn't the guest's own wish.
fn tell(exit: &Exit, link: &link::Link) {
    match exit {
        Exit::EngineBug(reason) => {
            link.print_log();
            eprintln!("host-launcher: engine bug: {reason}");
        }
        Exit::Timeout => eprintln!("host-launcher: the time given by --timeout is over"),
        Exit::GuestPanic => eprintln!("host-launcher: the guest's kernel panicked"),
        Exit::SelfTestFailed => eprintln!("host-launcher: the self-test failed"),
        _ => {}
    }
}

/// Decides between the accelerators.
fn choose(wanted: Accel, mmu: Mmu) -> Result<Chosen, LaunchError> {
    match wanted {
        Accel::Hosted if mmu == Mmu::Host => Err(LaunchError::HostMmu),
        Accel::Auto if mmu == Mmu::Host => kvm::usable().map(|()| Chosen::Kvm).map_err(LaunchError::HostMmuWithoutKvm),
        Accel::Hosted => Ok(Chosen::Hosted),
        Accel::Kvm => Ok(kvm::usable().map(|()| Chosen::Kvm)?),
        Accel::Auto => Ok(kvm::usable().map_or_else(
            |error| {
                log::warn!("running in the launcher's own process, because {error}");
                Chosen::Hosted
            },
            |()| Chosen::Kvm,
        )),
    }
}
