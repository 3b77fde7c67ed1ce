//! Branch target identification under Linux: a program with guarded pages (`data/bti.c`) is told about it and is caught where it is
//! under QEMU's user mode, under every accelerator and memory strategy.

use std::process::Command;
use std::time::Duration;
use tests::console::Console;
use tests::files;
use tests::programs;

const BOOT: Duration = Duration::from_secs(120);

#[test]
fn indirect_branches_are_checked_in_guarded_pages() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("bti");
    programs::compile("tests/data/bti.c", &program);
    let initramfs = programs::initramfs(dir.path(), &program, "bti");
    let qemu = Command::new("qemu-aarch64").args(["-cpu", "max"]).arg(&program).output();
    let mut expected = String::from_utf8(qemu.expect("QEMU's user mode is installed").stdout).unwrap();
    // QEMU's user mode says nothing of it in HWCAP2 if it is old.
    expected = expected.replacen("HWCAP2_BTI 0", "HWCAP2_BTI 1", 1);
    assert_eq!(expected.lines().filter(|line| line.contains("btype 3")).count(), 2 * 8, "{expected}");
    for machine in files::machines() {
        let mut command = Command::new(files::launcher());
        command.args(machine).args(["-m", "512M", "--append", "console=ttyAMA0 quiet", "--kernel"]);
        command.arg(files::guest("generic/Image")).arg("--initrd").arg(&initramfs);
        let mut console = Console::start(&mut command);
        console.expect("guest# ", BOOT);
        console.send("stty columns 999\n");
        console.expect("guest# ", BOOT);
        let output = console.shell("bti", BOOT);
        assert_eq!(output, expected, "{machine:?}");
        console.send("poweroff -f\n");
        assert_eq!(console.wait(BOOT).code(), Some(0), "{machine:?}:\n{}", console.errors());
    }
}
