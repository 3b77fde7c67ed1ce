//! Which disagreements are known, and why.
//!
//! A line of `data/triage.txt` is `DECODER KIND MASK VALUE reason`: the decoder's name, or `*`; who takes the word for an
//! instruction, `ours`, `theirs`, or `both` when only the texts differ; the words concerned; why it is so.

use super::{Decoder, ours, tokens};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Ours,
    Theirs,
    Both,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Class {
    pub decoder: String,
    pub kind: Kind,
    pub mask: u32,
    pub value: u32,
    pub reason: String,
}

/// The known classes.
///
/// # Panics
/// A line isn't understood.
#[must_use]
pub fn known() -> Vec<Class> {
    let parse = |line: &str| {
        let mut columns = line.splitn(5, ' ');
        let decoder = columns.next()?.to_owned();
        let kind = match columns.next()? {
            "ours" => Kind::Ours,
            "theirs" => Kind::Theirs,
            "both" => Kind::Both,
            _ => return None,
        };
        let mut number = || u32::from_str_radix(columns.next()?, 16).ok();
        let (mask, value) = (number()?, number()?);
        let reason = columns.next()?.to_owned();
        Some(Class { decoder, kind, mask, value, reason })
    };
    let lines = include_str!("../../data/triage.txt").lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    lines.map(|l| parse(l).unwrap_or_else(|| panic!("triage.txt: {l}"))).collect()
}

/// Disagreements: how many, by class; and those without one.
#[derive(Debug, Default)]
pub struct Report {
    pub words: u64,
    pub instructions: u64,
    /// By index into [`known`].
    pub triaged: BTreeMap<usize, u64>,
    /// Decoder, kind, our and their first names; number and an example.
    pub unknown: BTreeMap<(String, Kind, String, String), (u64, String)>,
}

impl Report {
    /// Compares one decoder with ours on `words`.
    pub fn compare(&mut self, decoder: &mut dyn Decoder, words: &[u32], classes: &[Class]) {
        self.words += words.len() as u64;
        let name = decoder.name();
        for (&word, theirs) in words.iter().zip(decoder.decode(words)) {
            let ours = ours(word);
            self.instructions += u64::from(ours.is_some());
            let kind = match (&ours, &theirs) {
                (None, None) => continue,
                (Some(_), None) => Kind::Ours,
                (None, Some(_)) => Kind::Theirs,
                (Some(a), Some(b)) if tokens(a) == tokens(b) => continue,
                _ => Kind::Both,
            };
            let class = classes
                .iter()
                .position(|c| (c.decoder == "*" || c.decoder == name) && c.kind == kind && word & c.mask == c.value);
            if let Some(class) = class {
                *self.triaged.entry(class).or_default() += 1;
                continue;
            }
            let first =
                |t: &Option<String>| t.as_deref().and_then(|t| t.split_whitespace().next()).unwrap_or("-").to_owned();
            let key = (name.to_owned(), kind, first(&ours), first(&theirs));
            let example =
                || format!("{word:08x} {} | {}", ours.as_deref().unwrap_or("-"), theirs.as_deref().unwrap_or("-"));
            self.unknown.entry(key).or_insert_with(|| (0, example())).0 += 1;
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.words += other.words;
        self.instructions += other.instructions;
        other.triaged.into_iter().for_each(|(k, n)| *self.triaged.entry(k).or_default() += n);
        for (k, (n, example)) in other.unknown {
            self.unknown.entry(k).or_insert((0, example)).0 += n;
        }
    }

    /// What was found, for people.
    #[must_use]
    pub fn text(&self, classes: &[Class]) -> String {
        use std::fmt::Write as _;
        let mut out = format!("{} comparisons, {} of instructions\n", self.words, self.instructions);
        for (&i, n) in &self.triaged {
            let c = &classes[i];
            let _ = writeln!(out, "{n:10} {} {:?} {:08x}/{:08x}: {}", c.decoder, c.kind, c.value, c.mask, c.reason);
        }
        let unknown: u64 = self.unknown.values().map(|(n, _)| n).sum();
        let _ = writeln!(out, "{unknown} without a reason");
        for ((decoder, kind, _, _), (n, example)) in &self.unknown {
            let _ = writeln!(out, "{n:10} {decoder} {kind:?}: {example}");
        }
        out
    }
}
