//! Flattened device trees: a blob into a tree, and back (Devicetree Specification 0.4, chapter 5).
//!
//! Reading trusts nothing in the blob; writing lays it out as version 17. Property values stay bytes: what they mean
//! depends on the property.

use std::collections::HashMap;

const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
const HEADER_BYTES: usize = 40;
const MAX_DEPTH: usize = 64;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FdtError {
    #[error("it is not a device tree blob: the magic number d00dfeed is missing")]
    Magic,
    #[error("it is truncated: {0} is not all there")]
    Truncated(&'static str),
    #[error("its version {0} is not supported")]
    Version(u32),
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub properties: Vec<(String, Vec<u8>)>,
    pub children: Vec<Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    pub reserved: Vec<(u64, u64)>,
    pub boot_cpu: u32,
    pub root: Node,
}

impl Node {
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    #[must_use]
    pub fn property(&self, name: &str) -> Option<&[u8]> {
        self.properties.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let value = value.into();
        match self.properties.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.properties.push((name.to_owned(), value)),
        }
    }

    pub fn set_str(&mut self, name: &str, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.set(name, bytes);
    }

    pub fn remove(&mut self, name: &str) {
        self.properties.retain(|(n, _)| n != name);
    }

    /// The property as one string, up to its first NUL.
    #[must_use]
    pub fn str(&self, name: &str) -> Option<&str> {
        self.strings(name).next()
    }

    /// The property as a list of strings; nothing if it isn't text.
    pub fn strings(&self, name: &str) -> impl Iterator<Item = &str> {
        let text = self.property(name).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or("");
        text.split('\0').filter(|part| !part.is_empty())
    }

    /// The property as 32-bit cells.
    #[must_use]
    pub fn cells(&self, name: &str) -> Vec<u32> {
        self.property(name).unwrap_or(&[]).chunks_exact(4).map(be32).collect()
    }

    #[must_use]
    pub fn cell(&self, name: &str) -> Option<u32> {
        self.cells(name).first().copied()
    }

    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn child_or_new(&mut self, name: &str) -> &mut Node {
        let index = self.children.iter().position(|child| child.name == name).unwrap_or_else(|| {
            self.children.push(Node::new(name));
            self.children.len() - 1
        });
        &mut self.children[index]
    }

    /// `compatible` holds one of `names`.
    #[must_use]
    pub fn is_compatible(&self, names: &[&str]) -> bool {
        self.strings("compatible").any(|own| names.contains(&own))
    }
}

/// Big-endian 32-bit number; the slice has four bytes.
fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

/// Joins cells to one number, most significant first; only the lowest 64 bits are kept.
#[must_use]
pub fn number(cells: &[u32]) -> u64 {
    cells.iter().fold(0, |value, cell| (value << 32) | u64::from(*cell))
}

/// A number as so many cells.
#[must_use]
pub fn to_cells(value: u64, cells: usize) -> Vec<u8> {
    let mut bytes = vec![0; cells * 4];
    for (byte, source) in bytes.iter_mut().rev().zip(value.to_le_bytes()) {
        *byte = source;
    }
    bytes
}

/// Reads 32-bit tokens of the structure block.
struct Reader<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn token(&mut self) -> Result<u32, FdtError> {
        let bytes = self.structure.get(self.at..self.at + 4).ok_or(FdtError::Truncated("the structure block"))?;
        self.at += 4;
        Ok(be32(bytes))
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(4);
    }

    /// A NUL-terminated string in `block` from `start`.
    fn string(block: &'a [u8], start: usize) -> Result<&'a str, FdtError> {
        let rest = block.get(start..).ok_or(FdtError::Damaged("a name lies outside its block"))?;
        let end = rest.iter().position(|b| *b == 0).ok_or(FdtError::Damaged("a name has no end"))?;
        std::str::from_utf8(&rest[..end]).map_err(|_| FdtError::Damaged("a name is not text"))
    }

    /// The node whose BEGIN_NODE was just read.
    fn node(&mut self, depth: usize) -> Result<Node, FdtError> {
        if depth > MAX_DEPTH {
            return Err(FdtError::Damaged("nodes are nested too deeply"));
        }
        let name = Self::string(self.structure, self.at)?;
        self.at += name.len() + 1;
        self.align();
        let mut node = Node::new(name);
        loop {
            match self.token()? {
                PROP => {
                    let len = self.token()? as usize;
                    let name = Self::string(self.strings, self.token()? as usize)?;
                    let end = self.at.checked_add(len).ok_or(FdtError::Damaged("a property's length"))?;
                    let value = self.structure.get(self.at..end).ok_or(FdtError::Truncated("a property"))?;
                    node.properties.push((name.to_owned(), value.to_vec()));
                    self.at = end;
                    self.align();
                }
                BEGIN_NODE => node.children.push(self.node(depth + 1)?),
                END_NODE => return Ok(node),
                NOP => {}
                _ => return Err(FdtError::Damaged("an unknown token")),
            }
        }
    }
}

impl Tree {
    /// Reads a blob.
    ///
    /// # Errors
    /// It isn't one, or not all of it is there.
    pub fn parse(blob: &[u8]) -> Result<Self, FdtError> {
        if blob.len() < 4 || be32(&blob[..4]) != MAGIC {
            return Err(FdtError::Magic);
        }
        if blob.len() < HEADER_BYTES {
            return Err(FdtError::Truncated("the header"));
        }
        let field = |index: usize| be32(&blob[index * 4..index * 4 + 4]);
        let total = field(1) as usize;
        let blob = blob.get(..total).ok_or(FdtError::Truncated("the blob"))?;
        let (version, compatible) = (field(5), field(6));
        if version < 17 || compatible > 17 {
            return Err(FdtError::Version(version));
        }
        let block = |offset: u32, size: u32, what: &'static str| {
            let (offset, size) = (offset as usize, size as usize);
            offset.checked_add(size).and_then(|end| blob.get(offset..end)).ok_or(FdtError::Truncated(what))
        };
        let strings = block(field(3), field(8), "the strings block")?;
        let structure = block(field(2), field(9), "the structure block")?;
        let mut reader = Reader { structure, strings, at: 0 };
        let root = loop {
            match reader.token()? {
                NOP => {}
                BEGIN_NODE => break reader.node(0)?,
                _ => return Err(FdtError::Damaged("there is no root node")),
            }
        };
        let mut reserved = Vec::new();
        let map = blob.get(field(4) as usize..).ok_or(FdtError::Truncated("the reservation map"))?;
        for entry in map.chunks_exact(16) {
            let (address, size) =
                (number(&[be32(&entry[..4]), be32(&entry[4..8])]), number(&[be32(&entry[8..12]), be32(&entry[12..])]));
            if (address, size) == (0, 0) {
                break;
            }
            reserved.push((address, size));
        }
        Ok(Self { reserved, boot_cpu: field(7), root })
    }

    /// The blob.
    #[must_use]
    pub fn to_blob(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.node(&self.root);
        writer.token(END);
        let mut reserved = Vec::new();
        for (address, size) in self.reserved.iter().copied().chain([(0, 0)]) {
            reserved.extend_from_slice(&address.to_be_bytes());
            reserved.extend_from_slice(&size.to_be_bytes());
        }
        let structure_at = HEADER_BYTES + reserved.len();
        let strings_at = structure_at + writer.structure.len();
        let total = (strings_at + writer.strings.len()).next_multiple_of(8);
        let header = [
            MAGIC,
            total as u32,
            structure_at as u32,
            strings_at as u32,
            HEADER_BYTES as u32,
            17,
            16,
            self.boot_cpu,
            writer.strings.len() as u32,
            writer.structure.len() as u32,
        ];
        let mut blob: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
        blob.extend_from_slice(&reserved);
        blob.extend_from_slice(&writer.structure);
        blob.extend_from_slice(&writer.strings);
        blob.resize(total, 0);
        blob
    }
}

#[derive(Default)]
struct Writer {
    structure: Vec<u8>,
    strings: Vec<u8>,
    offsets: HashMap<String, u32>,
}

impl Writer {
    fn token(&mut self, value: u32) {
        self.structure.extend_from_slice(&value.to_be_bytes());
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.structure.extend_from_slice(bytes);
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
    }

    fn node(&mut self, node: &Node) {
        self.token(BEGIN_NODE);
        let mut name = node.name.as_bytes().to_vec();
        name.push(0);
        self.padded(&name);
        for (name, value) in &node.properties {
            let offset = *self.offsets.entry(name.clone()).or_insert_with(|| {
                let offset = self.strings.len() as u32;
                self.strings.extend_from_slice(name.as_bytes());
                self.strings.push(0);
                offset
            });
            self.token(PROP);
            self.token(value.len() as u32);
            self.token(offset);
            self.padded(value);
        }
        for child in &node.children {
            self.node(child);
        }
        self.token(END_NODE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tree {
        let mut root = Node::new("");
        root.set("#address-cells", to_cells(2, 1));
        root.set_str("compatible", "linux,dummy-virt");
        let mut uart = Node::new("pl011@9000000");
        uart.set("reg", [to_cells(0x900_0000, 2), to_cells(0x1000, 2)].concat());
        uart.set("compatible", b"arm,pl011\0arm,primecell\0".to_vec());
        uart.set("empty", Vec::new());
        root.children.push(uart);
        Tree { reserved: vec![(0x1000, 0x2000)], boot_cpu: 0, root }
    }

    #[test]
    fn a_tree_survives_writing_and_reading() {
        let tree = sample();
        assert_eq!(Tree::parse(&tree.to_blob()).unwrap(), tree);
    }

    #[test]
    fn properties_read_as_what_they_are() {
        let tree = sample();
        let uart = &tree.root.children[0];
        assert!(uart.is_compatible(&["arm,primecell"]) && !uart.is_compatible(&["arm,pl0"]));
        assert_eq!(number(&uart.cells("reg")[..2]), 0x900_0000);
        assert_eq!(tree.root.cell("#address-cells"), Some(2));
        assert_eq!(uart.str("compatible"), Some("arm,pl011"));
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_survived() {
        let blob = sample().to_blob();
        for len in 0..blob.len() {
            assert!(Tree::parse(&blob[..len]).is_err(), "{len}");
        }
        for at in 0..blob.len() {
            for bit in 0..8 {
                let mut damaged = blob.clone();
                damaged[at] ^= 1 << bit;
                let _ = Tree::parse(&damaged);
            }
        }
    }

    #[test]
    fn what_is_no_blob_is_refused() {
        assert_eq!(Tree::parse(b"not a tree at all"), Err(FdtError::Magic));
        assert_eq!(Tree::parse(&[]), Err(FdtError::Magic));
    }
}
