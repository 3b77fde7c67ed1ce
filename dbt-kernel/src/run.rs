//! Which blocks are translated at once: one that is needed, and those that control seems to come to from it.

use crate::code_cache::Key;
use crate::ram::PAGE;
use core::marker::PhantomData;
use x86_backend::guest::Guest;
use x86_backend::jit::Onward;

/// Most blocks that are translated at once.
pub(crate) const RUN: usize = 8;

/// Blocks of one page that are translated at once, or that those lead to.
pub(crate) struct Run<G> {
    /// The first is the one that is needed.
    pub keys: [Key; RUN],
    /// Host addresses of their code, 0 while they have none.
    pub entries: [u64; RUN],
    pub blocks: usize,
    /// Those control seems to come to, the likeliest last.
    ahead: [Key; RUN],
    waiting: usize,
    guest: PhantomData<G>,
}

impl<G: Guest> Run<G> {
    pub fn new(key: Key) -> Self {
        let all = [key; RUN];
        Self { keys: all, entries: [0; RUN], blocks: 0, ahead: all, waiting: 1, guest: PhantomData }
    }

    /// The next block to look at; it is the last of the run's now.
    pub fn next(&mut self) -> Option<Key> {
        while self.waiting != 0 && self.blocks != RUN {
            self.waiting -= 1;
            let key = self.ahead[self.waiting];
            if !self.keys[..self.blocks].contains(&key) {
                self.keys[self.blocks] = key;
                self.blocks += 1;
                return Some(key);
            }
        }
        None
    }

    /// Control goes on from a block of `len` bytes.
    pub fn goes_on(&mut self, from: &Key, len: u64, onward: Onward) {
        let behind = onward.behind.then(|| from.virt.wrapping_add(len));
        for virt in [onward.target, behind].into_iter().flatten() {
            // Of other pages, and of addresses that aren't aligned, it isn't known what a fetch gives.
            let here = (virt ^ from.virt) & !(PAGE - 1) == 0 && virt & u64::from(G::INSN_BYTES - 1) == 0;
            if here && self.waiting != RUN {
                self.ahead[self.waiting] = Self::near(from, virt);
                self.waiting += 1;
            }
        }
    }

    /// The block at an address in the same page, to which a direct jump comes.
    fn near(key: &Key, virt: u64) -> Key {
        let phys = key.phys & !(PAGE - 1) | virt & (PAGE - 1);
        Key { phys, virt, context: G::settled_context(key.context) }
    }

    /// Host address of the block at that address.
    pub fn entry_at(&self, virt: u64) -> Option<u64> {
        let key = Self::near(&self.keys[0], virt);
        let at = self.keys[..self.blocks].iter().position(|k| *k == key)?;
        Some(self.entries[at]).filter(|entry| *entry != 0)
    }
}
