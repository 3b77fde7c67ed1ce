//! SHA-1 and SHA-256 with the host's instructions for them. Without those the reference semantics are called.

use super::asm::{Opc, Xmm};
use super::features::HostFeatures;
use super::ir::{Op, Val};
use super::regs::Gen;
use super::simd::p;
use crate::emit::VBinOp;
use crate::eval;

const PSUBD: Opc = p(0xfa);
const SHA1RNDS4: Opc = Opc::new(0, 3, 0xcc);
const SHA1MSG2: Opc = Opc::new(0, 2, 0xca);
const SHA256RNDS2: Opc = Opc::new(0, 2, 0xcb);
const SHA256MSG1: Opc = Opc::new(0, 2, 0xcc);
const SHA256MSG2: Opc = Opc::new(0, 2, 0xcd);

/// How an operation with two operands is done.
pub(super) enum Hash {
    /// By SHA1RNDS4 with this immediate, which adds this constant to each word.
    Rounds(u8, u32),
    /// One instruction.
    Direct(Opc),
}

impl Hash {
    pub const fn of(kind: VBinOp) -> Option<Self> {
        Some(match kind {
            VBinOp::Sha1Choose => Self::Rounds(0, 0x5a82_7999),
            VBinOp::Sha1Parity => Self::Rounds(1, 0x6ed9_eba1),
            VBinOp::Sha1Majority => Self::Rounds(2, 0x8f1b_bcdc),
            VBinOp::Sha1Schedule => Self::Direct(SHA1MSG2),
            VBinOp::Sha256Schedule0 => Self::Direct(SHA256MSG1),
            VBinOp::Sha256Schedule1 => Self::Direct(SHA256MSG2),
            _ => return None,
        })
    }
}

impl Gen {
    pub(super) fn lower_hash(&mut self, v: Val, op: Op, hash: Hash) -> bool {
        if !self.has(HostFeatures::SHA) {
            return false;
        }
        let b = self.use_xmm(op.vb());
        let d = self.def_xmm_from(v, op.va());
        match hash {
            Hash::Direct(opc) => self.asm.sse(opc, d, b),
            Hash::Rounds(kind, constant) => {
                // The operand's words have their constants already.
                let t = self.scratch_xmm();
                self.v3k(PSUBD, t, b, eval::splat(32, u128::from(constant)));
                self.asm.sse_i(SHA1RNDS4, d, t, kind);
            }
        }
        true
    }

    pub(super) fn lower_sha256_rounds(&mut self, v: Val, op: Op) -> bool {
        if !self.has(HostFeatures::SHA) {
            return false;
        }
        // The words are an implicit operand.
        const WORDS: Xmm = Xmm(0);
        if self.loc(op.vc()).xmm() == Some(WORDS) {
            self.pin_xmm(WORDS);
        } else {
            self.fixed_xmm(WORDS);
            self.copy_to_xmm(WORDS, op.vc());
        }
        let abef = self.use_xmm(op.va());
        let d = self.def_xmm_from(v, op.vb());
        self.asm.sse(SHA256RNDS2, d, abef);
        true
    }
}
