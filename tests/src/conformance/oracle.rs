//! QEMU's user mode executes cases: a program (`data/oracle.c`) reads them from a pipe and answers with outcomes.

use super::{Case, End, FPSR_MASK, MAX_WORDS, Outcome, SLOTS};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const COMPILER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";
/// Where the program is: not where numbers of 32 bits, which cases are full of, lead branches and stores.
const PLACE: &str = "-Wl,-Ttext-segment=0x4a3154000000";
const OUTPUT_BYTES: usize = 8 * (31 + 7) + 512;

/// A running QEMU with the program in it.
pub struct Oracle {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    _directory: tempfile::TempDir,
}

/// Whether the emulator and the cross compiler are installed. Tests that need them say so and pass without.
#[must_use]
pub fn available() -> bool {
    let runs = |program: &str| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    let both = runs(COMPILER) && runs(EMULATOR);
    if !both {
        eprintln!("{COMPILER} or {EMULATOR} is not installed: no comparison with QEMU");
    }
    both
}

impl Oracle {
    /// Compiles and starts the program.
    ///
    /// # Errors
    /// The compiler or the emulator fails.
    pub fn start() -> std::io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let program = directory.path().join("oracle");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/oracle.c");
        let compiled =
            Command::new(COMPILER).args(["-O2", "-static", PLACE, "-o"]).arg(&program).arg(source).status()?;
        if !compiled.success() {
            return Err(std::io::Error::other("the oracle does not compile"));
        }
        let mut child = Command::new(EMULATOR)
            .args(["-cpu", "max,sve=off,sme=off"])
            .arg(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = stdout.ok_or_else(|| std::io::Error::other("no pipe"))?;
        Ok(Self { child, stdin, stdout, _directory: directory })
    }

    /// Executes cases, of which each must stand in the slot that is its index modulo [`SLOTS`].
    ///
    /// # Errors
    /// The emulator died.
    pub fn run(&mut self, cases: &[Case]) -> std::io::Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(cases.len());
        for batch in cases.chunks(SLOTS as usize) {
            let mut bytes = (batch.len() as u32).to_le_bytes().to_vec();
            batch.iter().for_each(|c| encode(c, &mut bytes));
            let stdin = self.stdin.as_mut().ok_or_else(|| std::io::Error::other("no pipe"))?;
            stdin.write_all(&bytes)?;
            stdin.flush()?;
            let mut answer = vec![0; batch.len() * OUTPUT_BYTES];
            self.stdout.read_exact(&mut answer)?;
            outcomes.extend(batch.iter().zip(answer.chunks(OUTPUT_BYTES)).map(|(c, bytes)| decode(c, bytes)));
        }
        Ok(outcomes)
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

fn encode(case: &Case, out: &mut Vec<u8>) {
    let code = case.code();
    out.extend((code.len() as u32).to_le_bytes());
    out.extend(case.fpcr.to_le_bytes());
    (0..MAX_WORDS).for_each(|i| out.extend(code.get(i).copied().unwrap_or(0).to_le_bytes()));
    out.extend(case.nzcv.to_le_bytes());
    out.extend(case.sp.to_le_bytes());
    case.x.iter().for_each(|x| out.extend(x.to_le_bytes()));
    case.v.iter().for_each(|v| out.extend(v.to_le_bytes()));
}

fn decode(case: &Case, bytes: &[u8]) -> Outcome {
    const SIGILL: u64 = 4;
    const SIGTRAP: u64 = 5;
    const SIGBUS: u64 = 7;
    const SIGSEGV: u64 = 11;
    let word = |i: usize| u64::from_le_bytes(std::array::from_fn(|k| bytes[8 * i + k]));
    let pc = word(32);
    let within = case.holds(pc);
    let end = match word(36) {
        SIGTRAP => End::Ran,
        SIGSEGV | SIGBUS if within => End::Fault,
        SIGILL if within => End::Undefined,
        // A fetch from the target of a branch.
        SIGSEGV | SIGBUS | SIGILL => End::Ran,
        signal => End::Other(signal),
    };
    Outcome {
        end,
        pc,
        nzcv: word(33),
        fpsr: word(34) & FPSR_MASK,
        sp: word(31),
        memory: word(35),
        x: std::array::from_fn(word),
        v: std::array::from_fn(|i| u128::from(word(38 + 2 * i)) | u128::from(word(39 + 2 * i)) << 64),
    }
}
