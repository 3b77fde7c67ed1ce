//! Keys that make jump cache entries valid in one situation only.
//!
//! Translated code compares `target ^ key` with an entry's tag. A key stands for a context word, an address space (only if the
//! context has executed mappings that are not global) and a mapping generation. Keys are unpredictable 64-bit
//! numbers, never reused: a guest can't craft a target address that hits an entry made under another key.

use alloc::vec::Vec;

/// Contexts known at once before all are forgotten; guests have a handful.
const MAX_CONTEXTS: usize = 64;
/// Address spaces remembered per context.
const MAX_SPACES: usize = 256;

struct Context {
    word: u64,
    /// Executed code through mappings that belong to one address space.
    private: bool,
    global_key: u64,
    space_keys: Vec<(u64, u64)>,
}

/// Keys that were asked for lately, two to this power: each exception and each return from one asks.
const RECENT_BITS: u32 = 5;
const RECENT: usize = 1 << RECENT_BITS;

/// A key and what it stands for.
#[derive(Clone, Copy)]
struct Known {
    word: u64,
    space: u64,
    key: u64,
}

/// The keys in use.
pub struct JumpKeys {
    contexts: Vec<Context>,
    recent: [Option<Known>; RECENT],
    random: u64,
}

impl JumpKeys {
    /// `seed` should be hard to guess.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { contexts: Vec::new(), recent: [None; RECENT], random: seed }
    }

    /// SplitMix64 (Steele, Lea, Flood, 2014).
    fn fresh(random: &mut u64) -> u64 {
        *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number as hard to guess as a key.
    pub fn number(&mut self) -> u64 {
        Self::fresh(&mut self.random)
    }

    /// The key for code that runs in context `word` and address space `space`.
    #[inline]
    pub fn key(&mut self, word: u64, space: u64) -> u64 {
        let place = ((word ^ space).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - RECENT_BITS)) as usize;
        if let Some(known) = self.recent[place]
            && known.word == word
            && known.space == space
        {
            return known.key;
        }
        let key = self.find(word, space);
        self.recent[place] = Some(Known { word, space, key });
        key
    }

    #[inline(never)]
    fn find(&mut self, word: u64, space: u64) -> u64 {
        let position = match self.contexts.iter().position(|c| c.word == word) {
            Some(position) => position,
            None => {
                if self.contexts.len() == MAX_CONTEXTS {
                    self.contexts.clear();
                    self.recent = [None; RECENT];
                }
                let global_key = Self::fresh(&mut self.random);
                self.contexts.push(Context { word, private: false, global_key, space_keys: Vec::new() });
                self.contexts.len() - 1
            }
        };
        let context = &mut self.contexts[position];
        if !context.private {
            return context.global_key;
        }
        if let Some(&(_, key)) = context.space_keys.iter().find(|&&(s, _)| s == space) {
            return key;
        }
        if context.space_keys.len() == MAX_SPACES {
            context.space_keys.clear();
            self.recent = [None; RECENT];
        }
        let key = Self::fresh(&mut self.random);
        context.space_keys.push((space, key));
        key
    }

    /// Code of context `word` was reached through a mapping that holds in the current address space only. Gives whether
    /// that is news: then the key in use has changed.
    pub fn make_private(&mut self, word: u64) -> bool {
        match self.contexts.iter_mut().find(|c| c.word == word) {
            Some(context) if !context.private => {
                self.recent = [None; RECENT];
                context.private = true;
                true
            }
            _ => false,
        }
    }

    /// No entry made so far through mappings of address space `space` alone may be hit again.
    pub fn retire_space(&mut self, space: u64) {
        self.recent = [None; RECENT];
        for context in &mut self.contexts {
            context.space_keys.retain(|&(s, _)| s != space);
        }
    }

    /// No entry made so far through mappings of one address space, whichever, may be hit again.
    pub fn retire_private(&mut self) {
        self.recent = [None; RECENT];
        for context in &mut self.contexts {
            context.space_keys.clear();
        }
    }

    /// No entry made so far may be hit again.
    pub fn retire_all(&mut self) {
        self.recent = [None; RECENT];
        for context in &mut self.contexts {
            context.global_key = Self::fresh(&mut self.random);
            context.space_keys.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_contexts_share_a_key_across_spaces() {
        let mut keys = JumpKeys::new(1);
        let kernel = keys.key(5, 1);
        assert_eq!(kernel, keys.key(5, 2));
        assert_ne!(kernel, keys.key(6, 1));
        assert!(keys.make_private(5));
        assert!(!keys.make_private(5));
        let one = keys.key(5, 1);
        assert_ne!(one, kernel);
        assert_ne!(one, keys.key(5, 2));
        assert_eq!(one, keys.key(5, 1));
        keys.retire_all();
        assert_ne!(one, keys.key(5, 1));
    }

    #[test]
    fn contexts_and_spaces_beyond_the_most_are_known_anew() {
        let mut keys = JumpKeys::new(1);
        let all = MAX_CONTEXTS as u64;
        let first = keys.key(0, 1);
        (1..all).for_each(|word| assert_ne!(keys.key(word, 1), first));
        assert_eq!(keys.key(0, 1), first);
        // One more, and the first is forgotten: what it was asked for lately doesn't hide that.
        keys.key(all, 1);
        assert_ne!(keys.key(0, 1), first);
        assert!(keys.make_private(0));
        let spaces: Vec<u64> = (0..=MAX_SPACES as u64).map(|space| keys.key(0, space)).collect();
        assert_ne!(keys.key(0, 0), spaces[0]);
        assert_eq!(keys.key(0, MAX_SPACES as u64), spaces[MAX_SPACES]);
    }

    #[test]
    fn an_address_space_is_retired_alone() {
        let mut keys = JumpKeys::new(1);
        keys.key(5, 1);
        keys.make_private(5);
        let before = (keys.key(6, 1), keys.key(5, 1), keys.key(5, 2));
        keys.retire_space(1);
        assert_eq!((before.0, before.2), (keys.key(6, 1), keys.key(5, 2)));
        assert_ne!(before.1, keys.key(5, 1));
        keys.retire_private();
        assert_eq!(before.0, keys.key(6, 1));
        assert_ne!(before.2, keys.key(5, 2));
    }
}
