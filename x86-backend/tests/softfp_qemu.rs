//! Software floating point against QEMU's user-mode emulator: every operation, under every floating-point control,
//! result and cumulative flags bit for bit. Skipped where the cross compiler or the emulator is missing.
//!
//! One table gives each operation as Arm assembly and as [`EvalOp`]; a C program made from it reads (operation, FPCR,
//! operands) records and answers with (result, FPSR).

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use x86_backend::emit::{FpBinOp, FpCmpOp, FpFmt, FpUnOp, Rounding};
use x86_backend::eval::entry::{EvalOp, Negated};
use x86_backend::runtime::FpEnv;

const COMPILER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";
const CASES: usize = 3000;

/// Operands are in v1, v2, v3; the result is put in v0 (or the flags of a comparison in NZCV).
struct Case {
    asm: String,
    op: EvalOp,
    /// Format of the operands, `None` for integers.
    operand: Option<FpFmt>,
    /// The assembly's operand order is x, y, addend.
    fused: bool,
    flags: bool,
}

fn table() -> Vec<Case> {
    let mut all = Vec::new();
    for (fmt, r) in [(FpFmt::F16, 'h'), (FpFmt::F32, 's'), (FpFmt::F64, 'd')] {
        let mut add = |asm: String, op| {
            all.push(Case { asm, op, operand: Some(fmt), fused: false, flags: false });
        };
        for (name, op) in [
            ("fadd", FpBinOp::Add),
            ("fsub", FpBinOp::Sub),
            ("fmul", FpBinOp::Mul),
            ("fdiv", FpBinOp::Div),
            ("fmin", FpBinOp::Min),
            ("fmax", FpBinOp::Max),
            ("fminnm", FpBinOp::MinNum),
            ("fmaxnm", FpBinOp::MaxNum),
            ("fmulx", FpBinOp::MulX),
            ("frecps", FpBinOp::RecipStep),
            ("frsqrts", FpBinOp::RsqrtStep),
            ("fabd", FpBinOp::Abd),
        ] {
            add(format!("{name} {r}0, {r}1, {r}2"), EvalOp::FpBin { op, fmt, lanes: 1 });
        }
        let round = |rounding, exact| FpUnOp::RoundInt { rounding, exact };
        for (name, op) in [
            ("fsqrt", FpUnOp::Sqrt),
            ("frecpe", FpUnOp::RecipEstimate),
            ("frsqrte", FpUnOp::RsqrtEstimate),
            ("frecpx", FpUnOp::RecipExponent),
            ("frintn", round(Rounding::Nearest, false)),
            ("frintp", round(Rounding::Up, false)),
            ("frintm", round(Rounding::Down, false)),
            ("frintz", round(Rounding::Zero, false)),
            ("frinta", round(Rounding::NearestAway, false)),
            ("frinti", round(Rounding::Dynamic, false)),
            ("frintx", round(Rounding::Dynamic, true)),
        ] {
            add(format!("{name} {r}0, {r}1"), EvalOp::FpUn { op, fmt, lanes: 1 });
        }
        for (name, op) in [("fcmeq", FpCmpOp::Eq), ("fcmge", FpCmpOp::Ge), ("fcmgt", FpCmpOp::Gt)] {
            add(format!("{name} {r}0, {r}1, {r}2"), EvalOp::FpCmp { op, fmt, lanes: 1 });
        }
        for (to, t) in [(FpFmt::F16, 'h'), (FpFmt::F32, 's'), (FpFmt::F64, 'd')] {
            if to != fmt {
                add(format!("fcvt {t}0, {r}1"), EvalOp::FpConvert { from: fmt, to, rounding: Rounding::Dynamic });
            }
        }
        if fmt == FpFmt::F64 {
            add("fcvtxn s0, d1".into(), EvalOp::FpConvert { from: fmt, to: FpFmt::F32, rounding: Rounding::Odd });
        }
        for (signed, s) in [(true, 's'), (false, 'u')] {
            for (n, x) in [(32, 'w'), (64, 'x')] {
                for (name, rounding) in [
                    ('n', Rounding::Nearest),
                    ('p', Rounding::Up),
                    ('m', Rounding::Down),
                    ('z', Rounding::Zero),
                    ('a', Rounding::NearestAway),
                ] {
                    let op = EvalOp::FpToInt { fmt, n, signed, fbits: 0, rounding };
                    add(format!("fcvt{name}{s} {x}0, {r}1; fmov d0, x0"), op);
                }
                for fbits in [1, 16, n] {
                    let op = EvalOp::FpToInt { fmt, n, signed, fbits, rounding: Rounding::Zero };
                    add(format!("fcvtz{s} {x}0, {r}1, #{fbits}; fmov d0, x0"), op);
                }
            }
        }
        for signaling in [false, true] {
            all.push(Case {
                asm: format!("fcmp{} {r}1, {r}2", if signaling { "e" } else { "" }),
                op: EvalOp::FpCmpFlags { fmt, signaling },
                operand: Some(fmt),
                fused: false,
                flags: true,
            });
        }
        for (name, negated) in [
            ("fmadd", Negated::None),
            ("fnmsub", Negated::Addend),
            ("fmsub", Negated::Product),
            ("fnmadd", Negated::Both),
        ] {
            all.push(Case {
                asm: format!("{name} {r}0, {r}1, {r}2, {r}3"),
                op: EvalOp::FpFma { fmt, lanes: 1, negated },
                operand: Some(fmt),
                fused: true,
                flags: false,
            });
        }
        for (signed, s) in [(true, 's'), (false, 'u')] {
            for (n, x) in [(32, 'w'), (64, 'x')] {
                for fbits in [0, 1, 16, n] {
                    let suffix = if fbits == 0 { String::new() } else { format!(", #{fbits}") };
                    let asm = format!("fmov x0, d1; {s}cvtf {r}0, {x}0{suffix}");
                    let op = EvalOp::IntToFp { n, signed, fbits, fmt };
                    all.push(Case { asm, op, operand: None, fused: false, flags: false });
                }
            }
        }
    }
    all
}

fn program(cases: &[Case]) -> String {
    let mut text = String::from(
        "#include <stdint.h>\n#include <stdio.h>\nstruct in { uint64_t op, fpcr, a, b, c; };\n\
         struct out { uint64_t value, fpsr; };\n\
         #define RUN(text) asm volatile(\"msr fpsr, xzr; msr fpcr, %3; fmov d1, %4; fmov d2, %5; fmov d3, %6;\" text \
         \"; mrs %2, nzcv; fmov %0, d0; mrs %1, fpsr; msr fpcr, xzr\" \
         : \"=&r\"(o.value), \"=&r\"(o.fpsr), \"=&r\"(nzcv) : \"r\"(i.fpcr), \"r\"(i.a), \"r\"(i.b), \"r\"(i.c) \
         : \"x0\", \"v0\", \"v1\", \"v2\", \"v3\", \"cc\")\n\
         int main(void) { struct in i; struct out o; uint64_t nzcv;\n\
         while (fread(&i, sizeof i, 1, stdin) == 1) { switch (i.op) {\n",
    );
    for (i, case) in cases.iter().enumerate() {
        let _ = write!(text, "case {i}: RUN(\"{}\");", case.asm);
        text.push_str(if case.flags { " o.value = nzcv >> 28; break;\n" } else { " break;\n" });
    }
    text.push_str("}\nfwrite(&o, sizeof o, 1, stdout); } return 0; }\n");
    text
}

/// xorshift64*: deterministic, so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn float(&mut self, fmt: FpFmt) -> u64 {
        let (width, fraction) = match fmt {
            FpFmt::F16 => (16, 10),
            FpFmt::F32 => (32, 23),
            FpFmt::F64 => (64, 52),
        };
        let ones = (1u64 << (width - 1 - fraction)) - 1;
        let top = (1u64 << fraction) - 1;
        let exp = match self.below(8) {
            0 | 1 => self.next() & ones,
            2 => 0,
            3 => 1,
            4 => ones,
            5 => ones - 1 - self.below(2),
            6 => ones / 2 - 3 + self.below(7),
            _ => (ones / 2 + self.below(70)).min(ones),
        };
        let frac = match self.below(6) {
            0 | 1 => self.next() & top,
            2 => 0,
            3 => self.next() & 3,
            4 => top & !self.below(2),
            _ => 1 << self.below(fraction) | self.below(2),
        };
        (self.next() & 1) << (width - 1) | exp << fraction | frac
    }

    fn integer(&mut self) -> u64 {
        match self.below(4) {
            0 => self.next(),
            1 => self.next() >> self.below(64),
            2 => (self.next() as i64 >> self.below(64)) as u64,
            _ => (1u64 << self.below(64)).wrapping_sub(self.below(3)),
        }
    }
}

fn control(fpcr: u64) -> u32 {
    let bit = |from: u32, to| if fpcr >> from & 1 != 0 { to } else { 0 };
    (fpcr >> 22) as u32 & FpEnv::ROUNDING
        | bit(24, FpEnv::FLUSH)
        | bit(25, FpEnv::DEFAULT_NAN)
        | bit(19, FpEnv::FLUSH16)
        | bit(26, FpEnv::ALT_HALF)
}

#[test]
fn agrees_with_qemu() {
    for tool in [COMPILER, EMULATOR] {
        if Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            eprintln!("skipped: {tool} is not installed");
            return;
        }
    }
    let cases = table();
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, binary) = (directory.join("softfp_qemu.c"), directory.join("softfp_qemu.elf"));
    fs::write(&source, program(&cases)).expect("the test's directory is writable");
    let compiled = Command::new(COMPILER)
        .args(["-static", "-O1", "-march=armv8.2-a+fp16", "-o"])
        .args([&binary, &source])
        .status()
        .expect("the compiler runs");
    assert!(compiled.success());

    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut inputs = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        for _ in 0..CASES {
            let fpcr = (random.next() & 0xf << 22) | (random.next() & 1 << 26) | (random.next() & 1 << 19);
            let mut value = || match case.operand {
                Some(fmt) => random.float(fmt),
                None => random.integer(),
            };
            inputs.push([i as u64, fpcr, value(), value(), value()]);
        }
    }
    let mut child = Command::new(EMULATOR)
        .args(["-cpu", "max"])
        .arg(&binary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the emulator runs");
    let mut stdin = child.stdin.take().expect("piped");
    let bytes: Vec<u8> = inputs.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let mut answers = Vec::new();
    child.stdout.take().expect("piped").read_to_end(&mut answers).expect("the emulator answers");
    writer.join().expect("the writer ends").expect("the emulator reads");
    assert!(child.wait().expect("the emulator ends").success());
    assert_eq!(answers.len(), inputs.len() * 16);

    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let mut wrong = Vec::new();
    let mut counts = vec![0; cases.len()];
    for (&[i, fpcr, a, b, c], answer) in inputs.iter().zip(answers.chunks(16)) {
        let case = &cases[i as usize];
        let mut env = FpEnv { control: control(fpcr), ..FpEnv::default() };
        let args = if case.fused { [c, a, b] } else { [a, b, c] }.map(u128::from);
        let got = (case.op.eval(&mut env, args) as u64, u64::from(env.raised));
        let want = (word(&answer[..8]), word(&answer[8..]) & 0x9f);
        if got != want {
            counts[i as usize] += 1;
            if counts[i as usize] <= 3 {
                wrong.push(format!(
                    "{:32} fpcr {fpcr:#x} {a:#x} {b:#x} {c:#x}: {:#x} {:#x}, expected {:#x} {:#x}",
                    case.asm, got.0, got.1, want.0, want.1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} operations differ:\n{}", counts.iter().filter(|&&n| n > 0).count(), wrong.join("\n"));
}
