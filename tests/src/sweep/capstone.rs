//! Capstone, which is built with the tests.

use super::{Decoder, PC};
use capstone::arch::arm64::ArchMode;
use capstone::prelude::*;

pub struct Cap(Capstone);

impl Cap {
    /// # Panics
    /// The library was built without this architecture.
    #[must_use]
    pub fn new() -> Self {
        Self(Capstone::new().arm64().mode(ArchMode::Arm).build().expect("Capstone knows the architecture"))
    }
}

impl Default for Cap {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder for Cap {
    fn name(&self) -> &'static str {
        "capstone"
    }

    fn decode(&mut self, words: &[u32]) -> Vec<Option<String>> {
        words
            .iter()
            .map(|w| {
                let list = self.0.disasm_count(&w.to_le_bytes(), PC, 1).ok()?;
                let insn = list.iter().next()?;
                Some(format!("{} {}", insn.mnemonic()?, insn.op_str().unwrap_or_default()))
            })
            .collect()
    }
}
