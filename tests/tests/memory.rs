//! A guest program that does to its address space whatever a program can, and checks every byte: under every accelerator and
//! memory strategy it computes what it does under QEMU's user mode.
//!
//! `MEMORY_SEED=n MEMORY_ROUNDS=n` run one case, as long as wanted. `MEMORY_SECONDS=n` goes on with the next seeds for so long,
//! on every machine; `MEMORY_MMU=soft|host|auto` is only the virtual machine with that strategy.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::console::Console;
use tests::files;
use tests::programs;

const BOOT: Duration = Duration::from_secs(120);
/// After so many seeds a fresh guest is started: what one of them leaves behind is the next one's surroundings, but not for ever.
const SEEDS_PER_BOOT: u64 = 50;

/// What the environment asks for.
struct Wanted {
    seed: u64,
    seeds: u64,
    rounds: u64,
    /// Instead of a number of seeds.
    time: Option<Duration>,
    mmu: Option<String>,
}

impl Wanted {
    fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
        let seed = number("MEMORY_SEED");
        Self {
            seed: seed.unwrap_or(1),
            seeds: if seed.is_some() { 1 } else { 4 },
            rounds: number("MEMORY_ROUNDS").unwrap_or(200),
            time: number("MEMORY_SECONDS").map(Duration::from_secs),
            mmu: std::env::var("MEMORY_MMU").ok(),
        }
    }

    fn machines(&self) -> Vec<&'static [&'static str]> {
        let machines = files::machines().into_iter();
        machines.filter(|machine| self.mmu.as_ref().is_none_or(|mmu| machine.contains(&mmu.as_str()))).collect()
    }

    fn goes_on(&self, seed: u64, started: Instant) -> bool {
        self.time.map_or(seed < self.seed + self.seeds, |time| started.elapsed() < time)
    }
}

/// What the program says under QEMU's user mode. That is now and then stuck for ever in the child of a fork: what takes too long is
/// killed, with its children, which hold the pipe and block all other signals; and done again.
fn oracle(program: &Path, seed: u64, rounds: u64) -> String {
    const TRIES: usize = 3;
    let (seed, seconds, rounds) = (seed.to_string(), (60 + rounds).to_string(), rounds.to_string());
    let run = || {
        let mut qemu = Command::new("timeout");
        // A model whose DC ZVA zeroes as much as ours.
        qemu.args(["--signal=KILL", &seconds, "qemu-aarch64", "-cpu", "cortex-a57"]);
        let output = qemu.arg(program).args([&seed, &rounds, "user"]).output().expect("coreutils are installed");
        String::from_utf8(output.stdout).unwrap()
    };
    let first = run();
    (1..TRIES).fold(first, |answer, _| if answer.starts_with("memory sum ") { answer } else { run() })
}

fn boot(machine: &[&str], initramfs: &Path) -> Console {
    let mut command = Command::new(files::launcher());
    command.args(machine).args(["-m", "512M", "--append", "console=ttyAMA0 quiet", "--kernel"]);
    command.arg(files::guest("generic/Image")).arg("--initrd").arg(initramfs);
    let mut console = Console::start(&mut command);
    console.expect("guest# ", BOOT);
    console.send("stty columns 999\n");
    console.expect("guest# ", BOOT);
    console
}

fn power_off(mut console: Console, machine: &[&str]) {
    console.send("poweroff -f\n");
    assert_eq!(console.wait(BOOT).code(), Some(0), "{machine:?}:\n{}", console.errors());
}

#[test]
fn a_busy_address_space_is_right_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("memory_stress");
    programs::compile("tests/data/memory_stress", &program);
    let initramfs = programs::initramfs(dir.path(), &program, "memory_stress");
    let wanted = Wanted::from_environment();
    let timeout = Duration::from_secs(120 + wanted.rounds);
    let mut expected: HashMap<u64, String> = HashMap::new();
    for machine in wanted.machines() {
        let (started, mut seed) = (Instant::now(), wanted.seed);
        while wanted.goes_on(seed, started) {
            let mut console = boot(machine, &initramfs);
            let end = seed + SEEDS_PER_BOOT;
            while seed < end && wanted.goes_on(seed, started) {
                let expected = expected.entry(seed).or_insert_with(|| oracle(&program, seed, wanted.rounds));
                assert!(expected.starts_with("memory sum "), "QEMU, seed {seed}: {expected}");
                let output = console.shell(&format!("memory_stress {seed} {}", wanted.rounds), timeout);
                assert_eq!(output, *expected, "{machine:?}, seed {seed}");
                seed += 1;
            }
            power_off(console, machine);
            eprintln!("{machine:?}: right up to seed {}, {:.0} s", seed - 1, started.elapsed().as_secs_f64());
        }
    }
}
