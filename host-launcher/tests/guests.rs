//! Tiny bare-metal guests: what a run's end means, with each accelerator and memory strategy.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Prints the text at [`TEXT`] through the PL011, then goes on.
const PRINT: [u32; 6] = [
    0xd2a1_2001, // mov   x1, #0x9000000
    0x1000_0de2, // adr   x2, TEXT
    0x3840_1440, // ldrb  w0, [x2], #1
    0x3400_0060, // cbz   w0, over the loop
    0xb900_0020, // str   w0, [x1]
    0x17ff_fffd, // b     to the load
];
const TEXT: usize = 0x200;
/// PSCI SYSTEM_OFF and SYSTEM_RESET by HVC.
const POWER_OFF: [u32; 3] = [0x5280_0100, 0x72b0_8000, 0xd400_0002];
const RESET: [u32; 3] = [0x5280_0120, 0x72b0_8000, 0xd400_0002];
/// Stores to the 256 pages behind this one, then to 256 in the next 2 MiB; PSCI SYSTEM_OFF.
const TOUCH: [u32; 15] = [
    0x1000_0003, // adr   x3, here
    0xd280_2004, // mov   x4, #256
    0x9140_0463, // add   x3, x3, #0x1000
    0xb900_0064, // str   w4, [x3]
    0xf100_0484, // subs  x4, x4, #1
    0x54ff_ffa1, // b.ne  to the addition
    0x9148_0063, // add   x3, x3, #0x200000
    0xd280_2004, // mov   x4, #256
    0xd140_0463, // sub   x3, x3, #0x1000
    0xb900_0064, // str   w4, [x3]
    0xf100_0484, // subs  x4, x4, #1
    0x54ff_ffa1, // b.ne  to the subtraction
    POWER_OFF[0],
    POWER_OFF[1],
    POWER_OFF[2],
];
/// A branch to itself, and waiting for interrupts for ever.
const SPIN: [u32; 1] = [0x1400_0000];
const SLEEP: [u32; 2] = [0xd503_207f, 0x17ff_ffff];

/// An Image that prints `text` and then does `end`.
fn image(text: &str, end: &[u32]) -> Vec<u8> {
    const HEADER: usize = 64;
    let mut bytes = vec![0; 4096];
    let code = PRINT.iter().chain(end);
    bytes[..4].copy_from_slice(&0x1400_0010u32.to_le_bytes()); // over the header
    bytes[16..24].copy_from_slice(&4096u64.to_le_bytes());
    bytes[0x38..0x3c].copy_from_slice(b"ARM\x64");
    for (slot, word) in bytes[HEADER..TEXT].chunks_exact_mut(4).zip(code) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    bytes[TEXT..TEXT + text.len()].copy_from_slice(text.as_bytes());
    bytes
}

/// Accelerators and memory strategies that work here.
fn machines() -> Vec<(&'static str, &'static str)> {
    let kvm = fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
    let all = [("hosted", "soft"), ("hosted", "auto"), ("kvm", "soft"), ("kvm", "host"), ("kvm", "auto")];
    all.into_iter().filter(|(accel, _)| kvm || *accel != "kvm").collect()
}

struct Guest {
    _dir: TempDir,
    child: Child,
    started: Instant,
}

impl Guest {
    fn start((accel, mmu): (&str, &str), text: &str, end: &[u32], args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Image");
        fs::write(&path, image(text, end)).unwrap();
        // Before it can begin to run.
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_host-launcher"))
            .args(["--accel", accel, "--mmu", mmu, "-m", "64M", "--kernel"])
            .arg(path)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { _dir: dir, child, started }
    }

    /// Waits until the guest has said `text`: it runs.
    fn says(&mut self, text: &str) {
        let mut seen = vec![0; text.len()];
        self.child.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
        assert_eq!(String::from_utf8_lossy(&seen), text);
    }

    fn end(self) -> Output {
        self.child.wait_with_output().unwrap()
    }
}

#[track_caller]
fn ended(output: &Output, code: i32, stdout: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
}

/// One of the figures of `--stats=json`.
#[track_caller]
fn figure(stats: &str, name: &str) -> f64 {
    let (_, rest) = stats.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name}: {stats}"));
    let end = rest.find([',', '}']).unwrap();
    rest[..end].parse().unwrap_or_else(|_| panic!("{name}: {stats}"))
}

#[test]
fn power_off_exits_with_0() {
    for machine in machines() {
        let output = Guest::start(machine, "bye\n", &POWER_OFF, &["--stats=json"]).end();
        ended(&output, 0, "bye\n");
        let stats = String::from_utf8_lossy(&output.stderr);
        assert!(
            stats.contains(&format!("\"accel\":\"{}\"", machine.0)) && stats.contains("\"exit_code\":0"),
            "{stats}"
        );
        // Text read from memory, most of it without the engine's help, and stores to a device, none of them so.
        let number = |name: &str| figure(&stats, name);
        let (all, slow) = (number("accesses_run"), number("slow_accesses"));
        assert!(all >= 9.0 && slow >= 4.0 && slow < all && number("device_accesses") == 4.0, "{machine:?}: {stats}");
        assert!((number("hit_rate") - (1.0 - slow / all)).abs() < 1e-6, "{machine:?}: {stats}");
        assert_eq!(number("vm_exits_other") > 0.0, machine.0 == "kvm", "{machine:?}: {stats}");
    }
}

#[test]
fn a_fault_maps_neighbours_too() {
    for machine in machines().into_iter().filter(|(_, mmu)| *mmu == "host") {
        let output = Guest::start(machine, "", &TOUCH, &["--stats=json"]).end();
        ended(&output, 0, "");
        let stats = String::from_utf8_lossy(&output.stderr);
        // 64 pages at a time beside code, which 2 MiB at once would make writable, and those where there is none.
        let (faults, large) = (figure(&stats, "window_faults"), figure(&stats, "window_fills_large"));
        assert!((4.0..=9.0).contains(&faults) && large == 1.0, "{stats}");
    }
}

#[test]
fn reset_reboots_or_ends_the_run() {
    for machine in machines() {
        ended(&Guest::start(machine, "once\n", &RESET, &["-no-reboot"]).end(), 0, "once\n");
        let mut guest = Guest::start(machine, "again\n", &RESET, &[]);
        guest.says("again\nagain\nagain\n");
        guest.child.stdin.as_mut().unwrap().write_all(b"\x01x").unwrap();
        assert_eq!(guest.end().status.code(), Some(0));
    }
}

#[test]
fn the_time_limit_ends_every_guest() {
    for machine in machines() {
        for end in [&SPIN[..], &SLEEP] {
            let guest = Guest::start(machine, "on\n", end, &["--timeout", "0.5"]);
            let started = guest.started;
            let output = guest.end();
            ended(&output, 124, "on\n");
            assert!(started.elapsed() >= Duration::from_millis(500));
            assert!(String::from_utf8_lossy(&output.stderr).contains("--timeout"));
        }
    }
}

#[test]
fn a_kernel_panic_is_seen() {
    for machine in machines() {
        let text = "Kernel panic - not syncing: no init\n---[ end Kernel panic - not syncing ]---\n";
        ended(&Guest::start(machine, text, &SPIN, &["--exit-on-panic"]).end(), 1, text);
        ended(&Guest::start(machine, text, &SLEEP, &["--exit-on-panic"]).end(), 1, text);
    }
}

#[test]
fn the_user_ends_a_run() {
    for machine in machines() {
        for end in [&SPIN[..], &SLEEP] {
            let mut guest = Guest::start(machine, "on\n", end, &[]);
            guest.says("on\n");
            guest.child.stdin.as_mut().unwrap().write_all(b"typed\x01x").unwrap();
            assert_eq!(guest.end().status.code(), Some(0));

            let mut guest = Guest::start(machine, "on\n", end, &[]);
            guest.says("on\n");
            let killed = Command::new("kill").arg("-TERM").arg(guest.child.id().to_string()).status().unwrap();
            assert!(killed.success());
            assert_eq!(guest.end().status.code(), Some(128 + 15));
        }
    }
}

#[test]
fn a_sleeping_guest_costs_next_to_nothing() {
    for machine in machines() {
        let mut guest = Guest::start(machine, "on\n", &SLEEP, &[]);
        guest.says("on\n");
        std::thread::sleep(Duration::from_millis(200));
        let cpu = |id: u32| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
            let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        let before = cpu(guest.child.id());
        std::thread::sleep(Duration::from_secs(1));
        let ticks = cpu(guest.child.id()) - before;
        assert!(ticks < 10, "{ticks}% of a processor with {machine:?}");
        guest.child.kill().unwrap();
        guest.end();
    }
}
