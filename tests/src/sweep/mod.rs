//! The decoder and the disassembler against independent ones: which words are instructions, and how they read.
//!
//! Texts are compared as [`tokens`], because assemblers differ in the base of numbers, the spelling of conditions and such.
//! A disagreement must be covered by a line of `data/triage.txt`, which gives its reason.

pub mod binutils;
pub mod capstone;
pub mod llvm;
pub mod triage;

use armv8_guest::isa::{self, INSNS};

use crate::conformance::states::Rng;

/// Where words are taken to be.
pub const PC: u64 = 0x8000_0000;

/// A disassembler that isn't ours.
pub trait Decoder {
    fn name(&self) -> &'static str;
    /// The texts of words, all at [`PC`]; `None`: no instruction.
    fn decode(&mut self, words: &[u32]) -> Vec<Option<String>>;
}

/// Our text, if the word is an instruction.
#[must_use]
pub fn ours(word: u32) -> Option<String> {
    isa::decode(word)?;
    let mut text = String::new();
    isa::disassemble(word, PC, &mut text).ok()?;
    Some(text)
}

/// Words to compare: `count` random ones of every encoding and as many with one bit of those changed, which often are just no
/// instruction any more, and as many of anything.
#[must_use]
pub fn stratified(seed: u64, count: usize) -> Vec<u32> {
    let mut rng = Rng::new(seed);
    let mut words = Vec::new();
    for insn in INSNS {
        for _ in 0..count {
            let word = insn.value | rng.word() as u32 & !insn.mask;
            words.extend([word, word ^ 1 << rng.below(32), rng.word() as u32]);
        }
    }
    words
}

/// A text as a list of names, numbers and brackets, with what is mere style removed.
#[must_use]
pub fn tokens(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let text = text.split("//").next().unwrap_or("").to_ascii_lowercase();
    let mut chars = text.chars().peekable();
    let mut word = String::new();
    let mut flush = |word: &mut String| {
        if !word.is_empty() {
            out.push(canonical(word));
            word.clear();
        }
    };
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_alphanumeric() || c == '_' => word.push(c),
            // A decimal point, the sign of an exponent, a vector's arrangement or a condition.
            '.' => word.push(c),
            '+' | '-' if word.ends_with('e') && word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                word.push(c)
            }
            '-' if chars.peek().is_some_and(char::is_ascii_digit) => {
                flush(&mut word);
                word.push(c);
            }
            '-' => {
                flush(&mut word);
                flush(&mut "to".to_owned());
            }
            c => {
                flush(&mut word);
                if matches!(c, '[' | ']' | '!' | '{' | '}') {
                    flush(&mut c.to_string());
                }
            }
        }
    }
    flush(&mut word);
    lists(out)
}

/// Ranges of vector registers written out.
fn lists(tokens: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut tokens = tokens.into_iter();
    let part = |t: &str| {
        let (number, arrangement) = t.strip_prefix('v')?.split_once('.')?;
        Some((number.parse::<u32>().ok()?, arrangement.to_owned()))
    };
    while let Some(token) = tokens.next() {
        let first = out.last().and_then(|t| part(t));
        match first {
            Some((first, arrangement)) if token == "to" => {
                let last = tokens.next().as_deref().and_then(part).map_or(first, |(n, _)| n);
                let count = last.wrapping_sub(first) % 32;
                out.extend((1..=count).map(|i| format!("v{}.{arrangement}", (first + i) % 32)));
            }
            _ => out.push(token),
        }
    }
    out
}

/// One spelling for numbers and names with several.
fn canonical(word: &str) -> String {
    let (sign, digits) = word.strip_prefix('-').map_or((1, word), |d| (-1, d));
    let number = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|n| n as i128),
        None => digits.parse::<i128>().ok(),
    };
    if let Some(n) = number {
        return ((sign * n) as i64).to_string();
    }
    if let Ok(f) = word.parse::<f64>()
        && word.starts_with(|c: char| c.is_ascii_digit() || c == '-')
    {
        return format!("{f:?}");
    }
    match word {
        "hs" => "cs".to_owned(),
        "lo" => "cc".to_owned(),
        "b.hs" => "b.cs".to_owned(),
        "b.lo" => "b.cc".to_owned(),
        _ => word.to_owned(),
    }
}
