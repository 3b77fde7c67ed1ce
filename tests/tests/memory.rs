//! A guest program that does to its address space whatever a program can, and checks every byte: under every accelerator and
//! memory strategy it computes what it does under QEMU's user mode.
//!
//! `MEMORY_SEED=n MEMORY_ROUNDS=n` run one case, as long as wanted.

use std::process::Command;
use std::time::Duration;
use tests::console::Console;
use tests::files;
use tests::programs;

const BOOT: Duration = Duration::from_secs(120);

/// Seeds, and rounds of each.
fn cases() -> (Vec<u64>, u64) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = number("MEMORY_SEED").map_or_else(|| (1..=4).collect(), |seed| vec![seed]);
    (seeds, number("MEMORY_ROUNDS").unwrap_or(200))
}

#[test]
fn a_busy_address_space_is_right_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("memory_stress");
    programs::compile("tests/data/memory_stress.c", &program);
    let initramfs = programs::initramfs(dir.path(), &program, "memory_stress");
    let (seeds, rounds) = cases();
    let timeout = Duration::from_secs(120 + rounds);
    let expected: Vec<String> = seeds
        .iter()
        .map(|seed| {
            // A model whose DC ZVA zeroes as much as ours.
            let mut qemu = Command::new("qemu-aarch64");
            let output = qemu.args(["-cpu", "cortex-a57"]).arg(&program).args([seed.to_string(), rounds.to_string()]);
            let output = output.output().expect("QEMU's user mode is installed");
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    for machine in files::machines() {
        let mut command = Command::new(files::launcher());
        command.args(machine).args(["-m", "512M", "--append", "console=ttyAMA0 quiet", "--kernel"]);
        command.arg(files::guest("generic/Image")).arg("--initrd").arg(&initramfs);
        let mut console = Console::start(&mut command);
        console.expect("guest# ", BOOT);
        console.send("stty columns 999\n");
        console.expect("guest# ", BOOT);
        for (seed, expected) in seeds.iter().zip(&expected) {
            let output = console.shell(&format!("memory_stress {seed} {rounds}"), timeout);
            assert!(output.starts_with("memory sum "), "{machine:?}, seed {seed}: {output}");
            assert_eq!(output, *expected, "{machine:?}, seed {seed}");
        }
        console.send("poweroff -f\n");
        assert_eq!(console.wait(BOOT).code(), Some(0), "{machine:?}:\n{}", console.errors());
    }
}
