//! objdump, if the cross binutils are installed.

use super::{Decoder, PC};
use std::process::Command;

const OBJDUMP: &str = "aarch64-linux-gnu-objdump";

pub struct Objdump(tempfile::TempDir);

impl Objdump {
    /// `None`: it isn't installed.
    #[must_use]
    pub fn find() -> Option<Self> {
        Command::new(OBJDUMP).arg("--version").output().ok()?;
        tempfile::tempdir().ok().map(Self)
    }
}

/// The text of one line of `objdump -D`.
fn line(line: &str) -> Option<&str> {
    let mut columns = line.splitn(3, '\t');
    columns.next()?.trim().strip_suffix(':')?;
    columns.next()?;
    columns.next()
}

impl Decoder for Objdump {
    fn name(&self) -> &'static str {
        "binutils"
    }

    /// Each word is followed by padding, so that all are at a multiple of a large distance; targets are made relative to [`PC`].
    fn decode(&mut self, words: &[u32]) -> Vec<Option<String>> {
        let file = self.0.path().join("words");
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let listing = std::fs::write(&file, bytes).and_then(|()| {
            Command::new(OBJDUMP)
                .args(["-D", "-z", "-b", "binary", "-m", "aarch64", "--adjust-vma", &PC.to_string()])
                .arg(&file)
                .output()
        });
        let Ok(listing) = listing else { return vec![None; words.len()] };
        let text = String::from_utf8_lossy(&listing.stdout);
        let mut lines = text.lines().filter_map(line);
        (0..words.len() as u64)
            .map(|i| {
                let text = lines.next()?.split("//").next()?.split(" <").next()?.trim();
                let undefined = text.contains("undefined") || text.starts_with(".inst");
                (!undefined).then(|| relocated(text, 4 * i))
            })
            .collect()
    }
}

/// A PC-relative target as it would be at [`PC`]. Only addresses are printed without `#`.
fn relocated(text: &str, by: u64) -> String {
    let Some((head, last)) = text.rsplit_once([' ', '\t']) else { return text.to_owned() };
    let Some(target) = last.strip_prefix("0x").and_then(|t| u64::from_str_radix(t, 16).ok()) else {
        return text.to_owned();
    };
    let page = head.starts_with("adrp");
    let moved = if page { target.wrapping_sub(((PC + by) & !0xfff) - PC) } else { target.wrapping_sub(by) };
    format!("{head} {moved:#x}")
}
