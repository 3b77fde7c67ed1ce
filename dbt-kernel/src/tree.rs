//! What a region consists of: the path that it began as, its *trunk*, and the branches that grew where the guest often left it.
//!
//! Only trunks that end where they began, loops, grow branches, and every branch leads back to the loop's head. (So traces form a
//! tree as in Gal and Franz, "Incremental dynamic code generation with trace trees", 2006.) Code behind the place where branches
//! would meet again is part of each.

use crate::code_cache::Key;
use alloc::vec::Vec;
use x86_backend::jit::BlockEnd;

/// Limits of a tree.
const MAX_PATHS: usize = 24;
const MAX_BLOCKS: usize = 160;

/// Blocks in the order in which they run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path {
    /// The path and the block of it that this one branches off behind; a trunk's are not used.
    from: (usize, usize),
    blocks: Vec<Key>,
}

/// The blocks of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The trunk comes first, and a path before its branches.
    paths: Vec<Path>,
    /// The trunk ends where it began.
    closed: bool,
}

impl Tree {
    #[must_use]
    pub fn new(trunk: Vec<Key>, closed: bool) -> Self {
        Self { paths: alloc::vec![Path { from: (0, 0), blocks: trunk }], closed }
    }

    #[must_use]
    pub fn is_loop(&self) -> bool {
        self.closed
    }

    /// The block that the region begins with.
    #[must_use]
    pub fn head(&self) -> Key {
        self.paths[0].blocks[0]
    }

    #[must_use]
    pub fn trunk(&self) -> &[Key] {
        &self.paths[0].blocks
    }

    /// The blocks of a path, by number: the trunk is 0.
    #[must_use]
    pub fn path(&self, number: usize) -> &[Key] {
        &self.paths[number].blocks
    }

    /// All blocks, the head first; some several times.
    pub fn blocks(&self) -> impl Iterator<Item = &Key> {
        self.paths.iter().flat_map(|path| &path.blocks)
    }

    /// All blocks of branches.
    pub fn branch_blocks(&self) -> impl Iterator<Item = &Key> {
        self.paths[1..].iter().flat_map(|path| &path.blocks)
    }

    /// The numbers of the paths that branch off behind block `at` of path `path`.
    pub fn branches(&self, path: usize, at: usize) -> impl Iterator<Item = usize> {
        (1..self.paths.len()).filter(move |&i| self.paths[i].from == (path, at))
    }

    /// Where control goes behind block `at` of path `path`; `None`: out of the region.
    #[must_use]
    pub fn next(&self, path: usize, at: usize) -> Option<u64> {
        match self.paths[path].blocks.get(at + 1) {
            Some(next) => Some(next.virt),
            None => self.closed.then(|| self.head().virt),
        }
    }

    /// The tree with a branch of `blocks`, which the guest went through on its way back to the head, wherever they can branch
    /// off. `shape` gives how a block ends and the address behind it. `None`: nowhere, or it would be too large.
    #[must_use]
    pub fn grown(&self, blocks: &[Key], shape: impl Fn(&Key) -> (BlockEnd, u64)) -> Option<Self> {
        let to = blocks.first()?.virt;
        if !self.closed || blocks.iter().any(|key| key.context != self.head().context) {
            return None;
        }
        let free = |path: usize, at: usize| self.branches(path, at).all(|i| self.paths[i].blocks[0].virt != to);
        let (mut exits, mut computed) = (Vec::new(), Vec::new());
        for (number, path) in self.paths.iter().enumerate() {
            for (at, key) in path.blocks.iter().enumerate() {
                let next = self.next(number, at);
                if next == Some(to) || !free(number, at) {
                    continue;
                }
                match shape(key) {
                    (BlockEnd::Conditional(target), behind) if [target, behind].contains(&to) => {
                        exits.push((number, at))
                    }
                    (BlockEnd::Indirect, _) => computed.push((number, at)),
                    _ => {}
                }
            }
        }
        // A computed branch may go anywhere: with several, who knows which of them it was.
        if exits.is_empty() && computed.len() == 1 {
            exits = computed;
        }
        let mut tree = self.clone();
        for from in exits {
            let full = tree.paths.len() == MAX_PATHS || tree.blocks().count() + blocks.len() > MAX_BLOCKS;
            if full {
                break;
            }
            tree.paths.push(Path { from, blocks: blocks.to_vec() });
        }
        (tree.paths.len() > self.paths.len()).then_some(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pcs: &[u64]) -> Vec<Key> {
        pcs.iter().map(|&pc| Key { phys: pc, virt: pc, context: 7 }).collect()
    }

    /// Blocks of four instructions; those at multiples of 0x100 end with a conditional branch to twice their address, that at
    /// 0x50 with a computed one.
    fn shape(key: &Key) -> (BlockEnd, u64) {
        let end = match key.virt {
            0x50 => BlockEnd::Indirect,
            pc if pc.is_multiple_of(0x100) => BlockEnd::Conditional(2 * pc),
            _ => BlockEnd::Other,
        };
        (end, key.virt + 0x10)
    }

    #[test]
    fn a_branch_grows_wherever_its_beginning_is_the_other_way() {
        let tree = Tree::new(keys(&[0x100, 0x110, 0x400, 0x410]), true);
        assert_eq!(tree.next(0, 0), Some(0x110));
        assert_eq!(tree.next(0, 3), Some(0x100));
        let tree = tree.grown(&keys(&[0x200, 0x400, 0x410]), shape).expect("the head can go there");
        assert_eq!(tree.branches(0, 0).collect::<Vec<_>>(), [1]);
        assert_eq!(tree.next(1, 2), Some(0x100));
        // Both copies of the block at 0x400 can go on at 0x800.
        let tree = tree.grown(&keys(&[0x800]), shape).expect("two blocks can go there");
        assert_eq!([(0, 2), (1, 1)].map(|(p, at)| tree.branches(p, at).collect::<Vec<_>>()), [[2], [3]]);
        assert_eq!(tree.grown(&keys(&[0x800]), shape), None);
        assert_eq!(tree.grown(&keys(&[0x900]), shape), None);
        assert_eq!(tree.blocks().count(), 9);
    }

    #[test]
    fn what_is_no_loop_grows_nothing() {
        assert_eq!(Tree::new(keys(&[0x100, 0x110]), false).grown(&keys(&[0x200]), shape), None);
        let elsewhere = [Key { context: 8, ..keys(&[0x200])[0] }];
        assert_eq!(Tree::new(keys(&[0x100, 0x110]), true).grown(&elsewhere, shape), None);
    }

    #[test]
    fn a_computed_branch_grows_several_ways() {
        let tree = Tree::new(keys(&[0x40, 0x50, 0x60]), true);
        let tree = tree.grown(&keys(&[0x70]), shape).and_then(|tree| tree.grown(&keys(&[0x80]), shape));
        let tree = tree.expect("the only computed branch goes anywhere");
        assert_eq!(tree.branches(0, 1).collect::<Vec<_>>(), [1, 2]);
        let two = Tree::new(keys(&[0x50, 0x60, 0x50, 0x70]), true);
        assert_eq!(two.grown(&keys(&[0x80]), shape), None);
    }

    #[test]
    fn trees_stay_small() {
        let long: Vec<u64> = core::iter::once(0x200).chain((0..100).map(|i| 0x1001 + i)).collect();
        let tree = Tree::new(keys(&[0x100, 0x110]), true);
        let grown = tree.grown(&keys(&long), shape).expect("there is room for one");
        let other: Vec<u64> = core::iter::once(0x400).chain((0..100).map(|i| 0x1001 + i)).collect();
        assert_eq!(grown.grown(&keys(&other), shape), None);
    }
}
