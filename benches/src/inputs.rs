//! Made-up input for the applications: always the same, a little like the real thing, nothing to fetch.

use std::fmt::Write;
use std::path::Path;

/// Xorshift: deterministic, and good enough to make up text.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    /// Small numbers more often than large ones, as the ranks of words are.
    fn skewed(&mut self, n: u64) -> u64 {
        self.below(n).min(self.below(n)).min(self.below(n))
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

fn vocabulary(random: &mut Random, count: usize) -> Vec<String> {
    const START: [&str; 16] = ["b", "c", "d", "f", "g", "l", "m", "n", "p", "r", "s", "st", "t", "th", "w", ""];
    const MIDDLE: [&str; 8] = ["a", "e", "i", "o", "u", "ea", "ou", "ie"];
    const END: [&str; 10] = ["", "n", "r", "s", "nd", "ing", "t", "ly", "l", "d"];
    (0..count)
        .map(|_| {
            let syllables = 1 + random.skewed(4);
            (0..syllables).map(|_| format!("{}{}{}", random.of(&START), random.of(&MIDDLE), random.of(&END))).collect()
        })
        .collect()
}

fn text(bytes: usize) -> String {
    let mut random = Random(1);
    let words = vocabulary(&mut random, 6000);
    let mut text = String::with_capacity(bytes + 100);
    while text.len() < bytes {
        for n in 0..4 + random.below(12) {
            let word = &words[random.skewed(words.len() as u64) as usize];
            let _ = write!(text, "{}{word}", if n > 0 { " " } else { "" });
        }
        text.push_str(random.of::<&str>(&[".\n", "\n", ",\n", "!\n"]));
    }
    text
}

fn people(count: u32) -> String {
    let mut random = Random(2);
    let (names, cities) = (vocabulary(&mut random, 400), vocabulary(&mut random, 25));
    let mut xml = "<?xml version=\"1.0\"?>\n<people>\n".to_owned();
    for id in 0..count {
        let (name, city, score) = (random.of(&names).clone(), random.of(&cities), random.below(1000));
        let _ = writeln!(
            xml,
            "<person id=\"{id}\"><name>{name} &amp; son</name><city>{city}</city><score>{score}</score></person>"
        );
    }
    xml + "</people>\n"
}

const ACIDS: &[u8] = b"ACDEFGHIKLMNPQRSTVWY";

fn protein(random: &mut Random, length: u64) -> String {
    (0..length).map(|_| char::from(*random.of(ACIDS))).collect()
}

/// Variations of one sequence, one below the other.
fn alignment() -> String {
    let mut random = Random(3);
    let ancestor = protein(&mut random, 180);
    let mut alignment = "# STOCKHOLM 1.0\n\n".to_owned();
    for n in 0..24 {
        let varied: String = ancestor
            .chars()
            .map(|acid| match random.below(10) {
                0 => '-',
                1 | 2 => char::from(*random.of(ACIDS)),
                _ => acid,
            })
            .collect();
        let _ = writeln!(alignment, "family{n:02} {varied}");
    }
    alignment + "//\n"
}

fn sequences(count: u32) -> String {
    let mut random = Random(4);
    let mut fasta = String::new();
    for n in 0..count {
        let length = 100 + random.below(500);
        let _ = writeln!(fasta, ">sequence{n}\n{}", protein(&mut random, length));
    }
    fasta
}

/// A C program as the preprocessor leaves it: many functions of loops, branches, structures and calls.
fn c_source(functions: u32) -> String {
    let mut random = Random(5);
    let mut source = "struct item { int key; long weight; struct item *next; double score; };\n\
        extern int table[256];\nextern struct item *items;\n"
        .to_owned();
    for f in 0..functions {
        let _ = writeln!(source, "int f{f}(int a, int b, struct item *p) {{\n  int x = a, y = b, i;\n  long w = 0;");
        for _ in 0..6 + random.below(10) {
            let (c, d, callee) = (random.below(1000), random.below(31) + 1, random.below(u64::from(f.max(1))));
            let statement = match random.below(8) {
                0 => format!("for (i = 0; i < {c}; i++) {{ table[(i + y) & 255] += x * {d}; y ^= table[i & 127]; }}"),
                1 => format!("if (x > {c} && (y & {d})) x -= y / {d}; else {{ y += x % {d}; w += y; }}"),
                2 => format!("while (p && p->key != {c}) {{ w += p->weight * {d}; p = p->next; }}"),
                3 => format!(
                    "switch (x & 7) {{ case 0: y += {c}; break; case 1: x <<= 2; case 2: x ^= y; break; case 5: \
                     w -= x; break; default: y--; }}"
                ),
                4 if f > 0 => format!("x += f{callee}(y, {d}, p);"),
                5 => format!("if (p) {{ p->score = p->score * {d}.5 + x; p->key = (int)p->score ^ {c}; }}"),
                6 => format!("w = (w << {d}) | ((unsigned long)w >> {});", 64 - d),
                _ => format!("x = (x * {c} + y) ^ (x >> {d});"),
            };
            let _ = writeln!(source, "  {statement}");
        }
        source.push_str("  return x + y + (int)w;\n}\n");
    }
    source
}

/// A cantilever of cubes for CalculiX: a static load, then its natural frequencies.
fn beam(length: u32, side: u32) -> String {
    let node = |x: u32, y: u32, z: u32| 1 + x + (length + 1) * (y + (side + 1) * z);
    let mut deck = "*NODE, NSET=ALL\n".to_owned();
    for z in 0..=side {
        for y in 0..=side {
            for x in 0..=length {
                let _ = writeln!(deck, "{}, {x}., {y}., {z}.", node(x, y, z));
            }
        }
    }
    deck.push_str("*ELEMENT, TYPE=C3D8, ELSET=BEAM\n");
    let mut element = 0;
    for z in 0..side {
        for y in 0..side {
            for x in 0..length {
                element += 1;
                let corners = [(0, 0), (1, 0), (1, 1), (0, 1)];
                let nodes =
                    [z, z + 1].into_iter().flat_map(|z| corners.map(|(i, j)| node(x + i, y + j, z).to_string()));
                let _ = writeln!(deck, "{element}, {}", nodes.collect::<Vec<_>>().join(", "));
            }
        }
    }
    let ends = |x: u32| {
        let nodes = (0..=side).flat_map(|z| (0..=side).map(move |y| node(x, y, z).to_string()));
        nodes.collect::<Vec<_>>().join(",\n")
    };
    let _ = writeln!(deck, "*NSET, NSET=FIXED\n{}\n*NSET, NSET=END\n{}", ends(0), ends(length));
    deck.push_str(
        "*MATERIAL, NAME=STEEL\n*ELASTIC\n210000., 0.3\n*DENSITY\n7.8E-9\n*SOLID SECTION, ELSET=BEAM, MATERIAL=STEEL\n\
         *BOUNDARY\nFIXED, 1, 3\n*STEP\n*STATIC\n*CLOAD\nEND, 2, -10.\n*NODE PRINT, NSET=END\nU\n*END STEP\n\
         *STEP\n*FREQUENCY\n6\n*END STEP\n",
    );
    deck
}

/// Writes all inputs.
pub fn write(directory: &Path) -> Result<(), String> {
    std::fs::create_dir_all(directory).map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
    for (name, contents) in [
        ("text", text(1 << 20)),
        ("data.xml", people(1100)),
        ("alignment", alignment()),
        ("sequences", sequences(600)),
        ("source.i", c_source(10)),
        ("book", text(4 << 20)),
        ("beam.inp", beam(88, 5)),
    ] {
        let path = directory.join(name);
        // Left alone when it's the same, so that nothing that depends on it is made again.
        if std::fs::read(&path).is_ok_and(|old| old == contents.as_bytes()) {
            continue;
        }
        std::fs::write(&path, contents).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_the_same_each_time_and_of_the_size_asked_for() {
        assert_eq!(text(10_000), text(10_000));
        assert!((10_000..10_200).contains(&text(10_000).len()));
        assert!(text(10_000).is_ascii());
        assert_eq!(sequences(3).matches('>').count(), 3);
        assert_eq!(people(5).matches("<person ").count(), 5);
    }

    #[test]
    fn aligned_sequences_are_equally_long() {
        let alignment = alignment();
        let lengths: Vec<usize> = alignment.lines().filter(|l| l.starts_with("family")).map(str::len).collect();
        assert!(lengths.len() == 24 && lengths.iter().all(|&l| l == lengths[0]));
    }

    #[test]
    fn the_beam_has_its_elements_and_nodes() {
        let deck = beam(2, 1);
        assert_eq!(deck.lines().filter(|l| l.ends_with("1.") && l.contains(", ")).count(), 6);
        assert!(deck.contains("\n1, 1, 2, 5, 4, 7, 8, 11, 10\n"), "{deck}");
    }
}
