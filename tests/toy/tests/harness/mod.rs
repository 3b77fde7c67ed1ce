//! Runs a program on the engine and on the reference interpreter, and compares everything a guest can see.

mod engine;
mod reference;

use dbt_kernel::shared::{host_feature, stopped};
use spec_compiler::asm::Assembler;
use std::path::Path;
use toy_guest::isa::State;
use x86_backend::emit::flags;
use x86_backend::jit::Mechanisms;

pub use engine::{Setup, StopRequest, run};

pub const RAM_BYTES: usize = 512 << 10;
/// Where programs begin.
pub const ENTRY: u64 = 0x1000;
/// Every program of these tests ends long before.
const STEPS: u64 = 3_000_000;

/// What is left of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A [`stopped`] code.
    pub stopped: u32,
    pub r: [u64; 16],
    pub nzcv: u8,
    pub pc: u64,
    pub mode: u8,
    pub console: String,
    pub ram: Vec<u8>,
}

impl Outcome {
    fn new(stopped: u32, state: &State, console: &[u8], ram: &[u8]) -> Self {
        Self {
            stopped,
            r: state.r,
            nzcv: flags::to_nzcv(state.nzcv),
            pc: state.pc,
            mode: state.mode,
            console: String::from_utf8_lossy(console).into_owned(),
            ram: ram.to_vec(),
        }
    }

    /// The 64-bit word at a physical address.
    pub fn word(&self, phys: usize) -> u64 {
        u64::from_le_bytes(self.ram[phys..phys + 8].try_into().expect("eight bytes"))
    }

    /// Fails with what differs: memory is too much to print.
    fn assert_same(&self, other: &Self, what: &str) {
        let visible = |o: &Self| format!("{:#x?}", Self { ram: Vec::new(), ..o.clone() });
        assert_eq!(visible(self), visible(other), "interpreted (left) and translated (right), {what}");
        if let Some(at) = self.ram.iter().zip(&other.ram).position(|(a, b)| a != b) {
            panic!("memory at {at:#x}: interpreted {:#x}, translated {:#x}, {what}", self.ram[at], other.ram[at]);
        }
    }
}

/// Assembles the contents of memory from address 0 on. Traps go to the code before [`ENTRY`].
pub fn assemble(vector: &str, program: &str) -> Vec<u8> {
    let checked = spec_compiler::build::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("toy.isa"))
        .unwrap_or_else(|e| panic!("{e}"));
    let text = format!(".space 0x100\n{vector}\n.align 12\n{program}");
    let image = Assembler::new(&checked.model).program(&text, 0).unwrap_or_else(|e| panic!("{e} of\n{text}"));
    assert!(image.len() <= RAM_BYTES);
    image
}

/// What the host has, as far as the backend asks.
fn all_features() -> u64 {
    let mut features = host_feature::SSE41 | host_feature::SSE42 | host_feature::POPCNT | host_feature::CX16;
    for (there, bit) in [
        (is_x86_feature_detected!("avx"), host_feature::AVX),
        (is_x86_feature_detected!("avx2"), host_feature::AVX2),
        (is_x86_feature_detected!("bmi1"), host_feature::BMI1),
        (is_x86_feature_detected!("bmi2"), host_feature::BMI2),
        (is_x86_feature_detected!("lzcnt"), host_feature::LZCNT),
    ] {
        features |= if there { bit } else { 0 };
    }
    features
}

/// Runs the memory image translated, for a plain and for the present host, and interpreted; gives what all agree on, or `None` if
/// the program does not end within `steps` instructions.
pub fn agree(image: &[u8], steps: u64, what: &str) -> Option<Outcome> {
    let expected = reference::run(image, steps)?;
    let all = all_features();
    for (features, without) in [(0, 0), (all, 0), (all, Mechanisms::all().bits())] {
        let outcome = run(image, &Setup { features, without, ..Setup::default() });
        expected.assert_same(&outcome, what);
    }
    Some(expected)
}

/// [`agree`] for a program that ends.
pub fn check(image: &[u8]) -> Outcome {
    let outcome = agree(image, STEPS, "of the whole program").expect("the program ends");
    assert_eq!(outcome.stopped, stopped::POWER_OFF);
    outcome
}
