//! From encoding patterns to a decision tree, and the checks that encodings neither clash nor hide one another.
//!
//! The tree switches on runs of bits that all remaining patterns fix, or, where there are none, on the bit that
//! separates them best. A leaf holds the few patterns left, in the order in which they are tried, each with the bits
//! that nobody has looked at yet and, if it has one, its `where`/`undefined when` condition.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::diag::Error;
use crate::eval::{Evaluator, field_value};
use crate::fixed;
use crate::model::{Insn, Model, PieceKind};
use crate::ssa::{Body, FieldId, Op};

/// Fields of at most this many bits together are enumerated to show that conditions exclude each other.
const ENUMERATE_BITS: u32 = 16;
/// Widest switch.
const SWITCH_BITS: u32 = 8;

/// The fixed bits of one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    pub mask: u32,
    pub value: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Tried in order.
    Leaf(Vec<Candidate>),
    Switch {
        lo: u32,
        width: u32,
        /// By value of the bits; what is missing decodes to nothing.
        cases: BTreeMap<u32, Node>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Index into [`Model::insns`].
    pub insn: usize,
    /// Bits still to be compared.
    pub rest: Encoding,
    /// Its condition must be evaluated.
    pub conditional: bool,
}

/// The fixed bits of a pattern.
#[must_use]
pub fn encoding(insn: &Insn) -> Encoding {
    let (mut mask, mut value) = (0, 0);
    for piece in &insn.pattern.pieces {
        if let PieceKind::Fixed(v) = piece.kind {
            let m = fixed::mask(piece.width) as u32;
            mask |= m << piece.lo;
            value |= (v & m) << piece.lo;
        }
    }
    Encoding { mask, value }
}

/// Whether a word that matches the fixed bits is this instruction.
#[must_use]
pub fn valid(insn: &Insn, word: u32) -> bool {
    let Some(valid) = insn.decode.valid else { return true };
    let fields = |f: FieldId| field_value(&insn.pattern, f, word);
    let mut e = Evaluator::new(&insn.decode.body, &fields, 0);
    e.run().is_ok() && e.get(valid).is_ok_and(|v| v.truth())
}

/// Decodes one word by the patterns alone: slow, for the compiler's own use.
#[must_use]
pub fn decode(model: &Model, node: &Node, word: u32) -> Option<usize> {
    match node {
        Node::Leaf(candidates) => candidates
            .iter()
            .find(|c| word & c.rest.mask == c.rest.value && (!c.conditional || valid(&model.insns[c.insn], word)))
            .map(|c| c.insn),
        Node::Switch { lo, width, cases } => {
            decode(model, cases.get(&(word >> lo & fixed::mask(*width) as u32))?, word)
        }
    }
}

/// Builds the tree and checks the encodings.
///
/// # Errors
/// Overlapping, unreachable or impossible encodings.
pub fn build(model: &Model) -> Result<Node, Vec<Error>> {
    let encodings: Vec<Encoding> = model.insns.iter().map(encoding).collect();
    let mut errors = Vec::new();
    let index: BTreeMap<&str, usize> = model.insns.iter().enumerate().map(|(i, n)| (n.name.as_str(), i)).collect();
    let overrides: Vec<Vec<usize>> = model
        .insns
        .iter()
        .map(|insn| {
            let known = insn.overrides.iter().filter_map(|n| index.get(n.as_str()).copied());
            known.collect()
        })
        .collect();
    for (i, insn) in model.insns.iter().enumerate() {
        if never_valid(insn, encodings[i]) {
            errors.push(Error::new(insn.span, format!("no instruction word is ever `{}`", insn.name)));
        }
    }
    for i in 0..model.insns.len() {
        for j in i + 1..model.insns.len() {
            check_pair(model, &encodings, &overrides, i, j, &mut errors);
        }
    }
    let order = match try_order(model, &overrides) {
        Ok(order) => order,
        Err(e) => {
            errors.push(e);
            return Err(errors);
        }
    };
    if errors.is_empty() { Ok(tree(model, &encodings, &order, 0)) } else { Err(errors) }
}

/// Instructions so that overriding ones come first, otherwise as described.
fn try_order(model: &Model, overrides: &[Vec<usize>]) -> Result<Vec<usize>, Error> {
    fn visit(i: usize, by: &[Vec<usize>], state: &mut [u8], order: &mut Vec<usize>) -> Result<(), usize> {
        match state[i] {
            2 => return Ok(()),
            1 => return Err(i),
            _ => state[i] = 1,
        }
        for &first in &by[i] {
            visit(first, by, state, order)?;
        }
        state[i] = 2;
        order.push(i);
        Ok(())
    }
    let mut by = vec![Vec::new(); overrides.len()];
    for (i, list) in overrides.iter().enumerate() {
        for &j in list {
            by[j].push(i);
        }
    }
    let mut order = Vec::new();
    let mut state = vec![0; overrides.len()];
    for i in 0..overrides.len() {
        visit(i, &by, &mut state, &mut order).map_err(|i| {
            let insn = &model.insns[i];
            Error::new(insn.span, format!("`{}` overrides itself through others", insn.name))
        })?;
    }
    Ok(order)
}

fn reaches(overrides: &[Vec<usize>], from: usize, to: usize) -> bool {
    let mut todo = vec![from];
    let mut seen = vec![false; overrides.len()];
    while let Some(i) = todo.pop() {
        if i == to {
            return true;
        }
        if !std::mem::replace(&mut seen[i], true) {
            todo.extend(&overrides[i]);
        }
    }
    false
}

/// Word bits that the instruction's condition depends on.
fn condition_bits(insn: &Insn) -> u32 {
    if insn.decode.valid.is_none() {
        return 0;
    }
    fields_of(&insn.decode.body, insn)
}

fn fields_of(body: &Body, insn: &Insn) -> u32 {
    let mut bits = 0;
    let live = crate::passes::dead::live(body, insn.decode.valid.as_slice());
    for (data, live) in body.values.iter().zip(live) {
        if let Op::Field(f) = data.op
            && live
        {
            for piece in &insn.pattern.pieces {
                if piece.kind == PieceKind::Field(f) {
                    bits |= (fixed::mask(piece.width) as u32) << piece.lo;
                }
            }
        }
    }
    bits
}

/// The bits of `n` put where `mask` has ones.
fn deposit(mut n: u32, mut mask: u32) -> u32 {
    let mut r = 0;
    while mask != 0 {
        let bit = mask & mask.wrapping_neg();
        if n & 1 != 0 {
            r |= bit;
        }
        n >>= 1;
        mask &= mask - 1;
    }
    r
}

fn never_valid(insn: &Insn, e: Encoding) -> bool {
    let free = condition_bits(insn) & !e.mask;
    if insn.decode.valid.is_none() || free.count_ones() > ENUMERATE_BITS {
        return false;
    }
    !(0..1_u32 << free.count_ones()).any(|n| valid(insn, e.value | deposit(n, free)))
}

fn check_pair(
    model: &Model,
    encodings: &[Encoding],
    overrides: &[Vec<usize>],
    i: usize,
    j: usize,
    errors: &mut Vec<Error>,
) {
    let (a, b) = (encodings[i], encodings[j]);
    if (a.value ^ b.value) & a.mask & b.mask != 0 {
        return;
    }
    for (first, second) in [(i, j), (j, i)] {
        if reaches(overrides, first, second) {
            let (f, s) = (encodings[first], encodings[second]);
            let (insn, hidden) = (&model.insns[first], &model.insns[second]);
            if f.mask & !s.mask == 0 && insn.decode.valid.is_none() {
                errors.push(
                    Error::new(hidden.span, format!("`{}` is unreachable", hidden.name))
                        .related(insn.span, "this overrides all of its encodings"),
                );
            }
            return;
        }
    }
    let (x, y) = (&model.insns[i], &model.insns[j]);
    let fixed_bits = a.mask | b.mask;
    let base = a.value | b.value;
    let free = (condition_bits(x) | condition_bits(y)) & !fixed_bits;
    let overlap = |word: u32, note: &str| {
        Error::new(y.span, format!("encodings of `{}` and `{}` overlap", x.name, y.name))
            .related(x.span, "the other one")
            .note(format!("for example {word:#010x}{note}"))
            .note("make their `where`s exclude each other, or let one `overrides` the other")
    };
    if free.count_ones() > ENUMERATE_BITS {
        errors.push(overlap(base, " (if the conditions hold; they depend on too many bits to try all)"));
        return;
    }
    let clash = (0..1_u32 << free.count_ones()).map(|n| base | deposit(n, free)).find(|&w| valid(x, w) && valid(y, w));
    if let Some(word) = clash {
        errors.push(overlap(word, ""));
    }
}

/// Bits `lo..lo+width` set.
fn run_mask(lo: u32, width: u32) -> u32 {
    (fixed::mask(width) as u32) << lo
}

/// The longest run of ones, at most [`SWITCH_BITS`] of it.
fn longest_run(bits: u32) -> (u32, u32) {
    let (mut best, mut lo) = ((0, 0), 0);
    while lo < 32 {
        let width = (bits >> lo).trailing_ones().min(32 - lo);
        if width > best.1 {
            best = (lo, width);
        }
        lo += width + 1;
    }
    // The high end of a run discriminates most in practice: major opcodes come first.
    if best.1 > SWITCH_BITS { (best.0 + best.1 - SWITCH_BITS, SWITCH_BITS) } else { best }
}

fn tree(model: &Model, encodings: &[Encoding], set: &[usize], known: u32) -> Node {
    let word_mask = fixed::mask(model.word_bits) as u32;
    let leaf = || {
        let candidate = |&i: &usize| {
            let mask = encodings[i].mask & !known;
            let rest = Encoding { mask, value: encodings[i].value & mask };
            Candidate { insn: i, rest, conditional: model.insns[i].decode.valid.is_some() }
        };
        Node::Leaf(set.iter().map(candidate).collect())
    };
    if set.len() <= 1 {
        return leaf();
    }
    let common = set.iter().fold(word_mask & !known, |m, &i| m & encodings[i].mask);
    // Bits that all have and that tell some apart.
    let differing = set.iter().fold(0, |d, &i| d | (encodings[i].value ^ encodings[set[0]].value)) & common;
    let (lo, width) = if differing != 0 {
        longest_run(differing)
    } else {
        let mut best = None;
        for bit in 0..model.word_bits {
            let m = 1 << bit;
            if known & m != 0 || set.iter().all(|&i| encodings[i].mask & m == 0) {
                continue;
            }
            let side =
                |v: u32| set.iter().filter(|&&i| encodings[i].mask & m == 0 || encodings[i].value & m == v).count();
            let (zero, one) = (side(0), side(m));
            let cost = (zero.max(one), zero + one);
            if zero.max(one) < set.len() && best.is_none_or(|(c, _)| cost < c) {
                best = Some((cost, bit));
            }
        }
        match best {
            // Two or three that differ by little are cheaper to try in turn.
            Some((_, bit)) if set.len() > 2 => (bit, 1),
            _ => return leaf(),
        }
    };
    let tested = run_mask(lo, width);
    let mut cases = BTreeMap::new();
    for v in 0..1_u32 << width {
        let inside: Vec<usize> = set
            .iter()
            .copied()
            .filter(|&i| (encodings[i].value ^ (v << lo)) & encodings[i].mask & tested == 0)
            .collect();
        if !inside.is_empty() {
            cases.insert(v, tree(model, encodings, &inside, known | tested));
        }
    }
    Node::Switch { lo, width, cases }
}

/// The tree as text, for dumps.
#[must_use]
pub fn print(model: &Model, node: &Node) -> String {
    fn go(model: &Model, node: &Node, depth: usize, out: &mut String) {
        match node {
            Node::Leaf(candidates) => {
                for c in candidates {
                    let _ = writeln!(out, "{:depth$}{}", "", model.insns[c.insn].name);
                }
            }
            Node::Switch { lo, width, cases } => {
                for (v, n) in cases {
                    let _ = writeln!(out, "{:depth$}[{}:{lo}] = {v:#x}", "", lo + width - 1);
                    go(model, n, depth + 2, out);
                }
            }
        }
    }
    let mut out = String::new();
    go(model, node, 0, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Field, Pattern, Piece};

    fn insn(name: &str, pattern: &str) -> Insn {
        let (mut pieces, mut fields, mut lo) = (Vec::new(), Vec::new(), 32);
        for part in pattern.split_whitespace() {
            if let Some((field, width)) = part.split_once(':') {
                let width = width.parse().expect("a width");
                lo -= width;
                pieces.push(Piece { lo, width, kind: PieceKind::Field(FieldId(fields.len() as u32)) });
                fields.push(Field { name: field.to_owned(), width });
            } else {
                let width = part.len() as u32;
                lo -= width;
                pieces.push(Piece { lo, width, kind: PieceKind::Fixed(u32::from_str_radix(part, 2).expect("bits")) });
            }
        }
        assert_eq!(lo, 0);
        Insn {
            name: name.to_owned(),
            doc: String::new(),
            span: crate::diag::Span::default(),
            pattern: Pattern { pieces, fields },
            requires: Vec::new(),
            overrides: Vec::new(),
            decode: crate::model::Decode::default(),
            lands: None,
            asm: Vec::new(),
            exec: Body::default(),
        }
    }

    fn model(insns: Vec<Insn>) -> Model {
        Model { word_bits: 32, insns, ..Model::default() }
    }

    #[test]
    fn distinct_patterns_decode() {
        let m = model(vec![
            insn("a", "00000001 x:24"),
            insn("b", "00000010 x:24"),
            insn("c", "1 y:15 0000000000000001"),
            insn("d", "1 y:15 0000000000000010"),
        ]);
        let t = build(&m).expect("no clash");
        let name = |w| decode(&m, &t, w).map(|i| m.insns[i].name.as_str());
        assert_eq!(name(0x0100_0000), Some("a"));
        assert_eq!(name(0x02ff_ffff), Some("b"));
        assert_eq!(name(0x8000_0001), Some("c"));
        assert_eq!(name(0xffff_0002), Some("d"));
        assert_eq!(name(0xffff_0003), None);
        assert_eq!(name(0x0300_0000), None);
    }

    #[test]
    fn overlap_is_an_error_unless_overridden() {
        let general = insn("general", "1111 x:28");
        let mut special = insn("special", "1111 0000000000000000000000000000");
        let e = build(&model(vec![general.clone(), special.clone()])).expect_err("overlap");
        assert!(e[0].message.contains("overlap"));
        special.overrides.push("general".to_owned());
        let m = model(vec![general, special]);
        let t = build(&m).expect("excused");
        assert_eq!(decode(&m, &t, 0xf000_0000), Some(1));
        assert_eq!(decode(&m, &t, 0xf000_0001), Some(0));
    }

    #[test]
    fn hidden_encoding_is_an_error() {
        let mut general = insn("general", "1111 x:28");
        general.overrides.push("special".to_owned());
        let special = insn("special", "1111 0000000000000000000000000000");
        let e = build(&model(vec![general, special])).expect_err("unreachable");
        assert!(e[0].message.contains("unreachable"));
    }
}
