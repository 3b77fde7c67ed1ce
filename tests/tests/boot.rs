//! Boots Debian's kernel with BusyBox and uses it, under every accelerator and memory strategy of this machine.

use std::process::Command;
use std::time::Duration;
use tests::console::Console;
use tests::files;

const BOOT: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_secs(60);

fn boot(machine: &[&str], extra: &[&str]) -> Console {
    let mut command = Command::new(files::launcher());
    command.args(machine).args(["-m", "512M", "--append", "console=ttyAMA0"]);
    command.arg("--kernel").arg(files::guest("generic/Image"));
    command.arg("--initrd").arg(files::guest("initramfs.cpio"));
    command.args(extra);
    let mut console = Console::start(&mut command);
    console.expect("guest# ", BOOT);
    // The shell's line editor breaks lines at the terminal's width, which would tear the markers of `shell` apart.
    console.send("stty columns 999\n");
    console.expect("guest# ", STEP);
    console
}

fn power_off(mut console: Console) {
    console.send("poweroff -f\n");
    let status = console.wait(STEP);
    assert_eq!(status.code(), Some(0), "power-off is a success:\n{}", console.errors());
}

/// CPU time of a process so far, in clock ticks (utime + stime; proc(5)).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process exists");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("has a name").split_whitespace().collect();
    fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
}

#[test]
fn shell_commands_give_the_results_of_a_real_machine() {
    for machine in files::machines() {
        let mut console = boot(machine, &[]);
        assert_eq!(console.shell("uname -m", STEP).trim(), "aarch64");
        // printf %s "" | sha256sum and 64 MiB of zeros: known values of FIPS 180-4 implementations.
        assert_eq!(
            console.shell("dd if=/dev/zero bs=1M count=64 2>/dev/null | sha256sum", STEP).trim(),
            "3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351  -",
        );
        assert_eq!(
            console.shell("seq 1 20000 | gzip | gunzip | md5sum", STEP).trim(),
            "e071f707df7bbeee2a6a1eb48011ddd0  -",
        );
        let sum = "BEGIN { for (i = 1; i < 5000; i++) s += i / (i + 0.5); printf \"%.17g %g\", s, 1e300 * 1e-5 }";
        assert_eq!(console.shell(&format!("awk '{sum}'"), STEP), "4994.7596483904435 1e+295");
        assert_eq!(console.shell("seq 1 1000 | sort -r | head -n 3 | tr '\\n' ' '", STEP).trim(), "999 998 997");
        assert_eq!(
            console.shell("i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done; echo $i", STEP).trim(),
            "100"
        );
        power_off(console);
    }
}

#[test]
fn an_idle_guest_leaves_the_cpu_alone() {
    for machine in files::machines() {
        let console = boot(machine, &[]);
        std::thread::sleep(Duration::from_secs(2));
        let before = cpu_ticks(console.id());
        std::thread::sleep(Duration::from_secs(10));
        let used = cpu_ticks(console.id()) - before;
        assert!(used < 100, "{machine:?}: an idle guest used {used} of 1000 clock ticks");
        power_off(console);
    }
}
