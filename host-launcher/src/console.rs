//! The guest's console on the launcher's side: escapes in what the user types, and what the guest's output gives away.

/// What a typed byte turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Goes to the guest.
    Byte(u8),
    /// Part of an escape.
    Nothing,
    Quit,
    Help,
}

pub const HELP: &str = "\nCtrl-a h  this help\nCtrl-a x  quit\nCtrl-a Ctrl-a  send Ctrl-a\n";
const ESCAPE: u8 = 1;

/// Recognises escapes, as QEMU has them.
#[derive(Debug, Default)]
pub struct Escapes {
    pending: bool,
}

impl Escapes {
    pub fn typed(&mut self, byte: u8) -> Typed {
        if !std::mem::take(&mut self.pending) {
            if byte != ESCAPE {
                return Typed::Byte(byte);
            }
            self.pending = true;
            return Typed::Nothing;
        }
        match byte {
            ESCAPE | b'a' => Typed::Byte(ESCAPE),
            b'x' => Typed::Quit,
            b'h' | b'?' => Typed::Help,
            _ => Typed::Nothing,
        }
    }
}

/// Finds a text in a stream of bytes. The text's first byte must not occur in it again.
#[derive(Debug)]
pub struct Finder {
    text: &'static [u8],
    matched: usize,
    /// The text counts when its line is whole.
    line: bool,
    seen: bool,
    found: bool,
}

impl Finder {
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        debug_assert!(!text.as_bytes()[1..].contains(&text.as_bytes()[0]));
        Self { text: text.as_bytes(), matched: 0, line: false, seen: false, found: false }
    }

    /// Finds a line with the text, when it ends.
    #[must_use]
    pub fn line(text: &'static str) -> Self {
        Self { line: true, ..Self::new(text) }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.matched =
                if *byte == self.text[self.matched] { self.matched + 1 } else { usize::from(*byte == self.text[0]) };
            if self.matched == self.text.len() {
                self.matched = 0;
                self.seen = true;
            }
            self.found |= self.seen && (!self.line || *byte == b'\n');
        }
    }

    #[must_use]
    pub fn found(&self) -> bool {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let mut escapes = Escapes::default();
        let typed: Vec<_> = b"a\x01\x01\x01x\x01h\x01qb".iter().map(|byte| escapes.typed(*byte)).collect();
        use Typed::*;
        assert_eq!(typed, [Byte(b'a'), Nothing, Byte(1), Nothing, Quit, Nothing, Help, Nothing, Nothing, Byte(b'b')]);
    }

    #[test]
    fn a_text_is_found_across_pieces() {
        let mut finder = Finder::new("Kernel panic - not syncing");
        finder.feed(b"[    1.0] KeKernel pan");
        assert!(!finder.found());
        finder.feed(b"ic - not syncing: VFS");
        assert!(finder.found());
    }

    #[test]
    fn a_line_is_found_when_it_ends() {
        let mut finder = Finder::line("[ end Kernel panic");
        finder.feed(b"\n---[ end Kernel panic - not");
        assert!(!finder.found());
        finder.feed(b" syncing ]---\r\n");
        assert!(finder.found());
    }
}
