//! A guest architecture that engine and backend have never heard of runs on them unchanged.
//!
//! Every program runs interpreted and translated, and must leave the same registers, memory and console output behind.

mod harness;

use dbt_kernel::shared::{option, stopped};
use harness::{ENTRY, Setup, StopRequest, agree, assemble, check, run};
use std::fmt::Write;
use std::time::Duration;
use toy_guest::cause;

/// Random programs per run; each runs interpreted once and translated twice.
const PROGRAMS: usize = 300;

/// A vector that nobody should get to: prints the cause's digit and ends.
const UNEXPECTED: &str = "addi r12, r12, #0x30\n put r12\n sys #0";

/// Every condition after every kind of flag setting, with operands around the edges, at both sizes.
#[test]
fn arithmetic_and_flags() {
    let values = [0_u64, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 1 << 63, u64::MAX];
    let conditions = ["eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al", "nv"];
    let mut text = String::from("b start\n.align 3\nvalues:\n");
    for value in values {
        writeln!(text, ".quad {value:#x}").unwrap();
    }
    let end = 8 * values.len();
    writeln!(text, "start:\naddi r8, zero, #0\nouter:\naddi r9, zero, #0\ninner:").unwrap();
    text.push_str("ldd r1, [r8, #values]\nldd r2, [r9, #values]\n");
    let operations =
        ["adds r3, r1, r2", "subs r3, r1, r2", "adds r3.w, r1.w, r2.w", "subs r3.w, r1.w, r2.w", "addsi r3, r1, #-1"];
    for (i, operation) in operations.iter().enumerate() {
        writeln!(text, "{operation}\nmix r5, r5, r3").unwrap();
        for cc in conditions {
            writeln!(text, "b.{cc} l{i}{cc}\naddi r5, r5, #1\nl{i}{cc}:\nshl r6, r5, #1\nxor r5, r6, r1").unwrap();
        }
    }
    text.push_str("max r3, r1, r2\nminc r4, r1, r2\nmix r5, r3, r4\nsum r3, r1, #3\nshl r4, r1, r2\nmix r5, r3, r4\n");
    writeln!(text, "addi r9, r9, #8\naddi r10, r9, #-{end}\nbnz r10, inner").unwrap();
    writeln!(text, "addi r8, r8, #8\naddi r10, r8, #-{end}\nbnz r10, outer\nsys #0").unwrap();
    let outcome = check(&assemble(UNEXPECTED, &text));
    assert_eq!(outcome.console, "");
    assert_ne!(outcome.r[5], 0);
}

/// Calls, returns and computed jumps, within a page and across pages; a loop hot enough to run linked and from the jump cache.
#[test]
fn calls_and_indirect_branches() {
    let outcome = check(&assemble(
        UNEXPECTED,
        "   addi r1, zero, #20
            ldd  r13, [zero, #stack]
            call fib
            add  r11, r1, zero
            addi r4, zero, #3000
        again:
            call far
            addi r7, zero, #8
            and  r5, r4, r7
            ldd  r6, [r5, #table]
            br   r6
        even:
            addi r8, r8, #1
            b    next
        next:
            addi r4, r4, #-1
            bnz  r4, again
            sys  #0
        // fib(r1), recursive; the stack grows up.
        fib:
            addi r2, r1, #-1
            bz   r1, done
            bz   r2, done
            std  lr, [r13, #0]
            std  r1, [r13, #8]
            addi r13, r13, #24
            addi r1, r1, #-1
            call fib
            std  r1, [r13, #-8]
            ldd  r1, [r13, #-16]
            addi r1, r1, #-2
            call fib
            ldd  r2, [r13, #-8]
            add  r1, r1, r2
            addi r13, r13, #-24
            ldd  lr, [r13, #0]
        done:
            ret
        .align 3
        table:
            .quad even, odd
        stack:
            .quad 0x20000
        .align 12
        far:
            addi r9, r9, #2
            ret
        .align 12
        odd:
            addi r10, r10, #1
            b    next",
    ));
    assert_eq!(outcome.console, "");
    assert_eq!((outcome.r[11], outcome.r[8], outcome.r[9], outcome.r[10]), (6765, 1503, 6000, 1497));
}

/// Page tables for user mode: `table` is at 0x10000, a second one at 0x11000, and the code after [`harness::ENTRY`]'s page is
/// mapped where it stands.
const TABLES: &str = ".align 16
    // 0x10000: pages 0 to 7
    .quad 0, 0, 0x200d, 0x300d, 0x20003, 0x21003, 0x22001, 0
    .space 0xfc0
    // 0x11000
    .quad 0, 0, 0x200d, 0x300d, 0x24003, 0, 0x22001, 0x25007
    .space 0xfc0";

/// The system's start for tests in user mode, and its page's end.
const TO_USER: &str = "
        addi r0, zero, #1
        shl  r0, r0, #16
        sys  #3
        addi lr, zero, #user
        sys  #2
    .align 12
    user:";

/// Memory in user mode: sizes, signs, accesses across pages, and faults that the system answers by mapping or changing the page.
#[test]
fn memory_translation_and_faults() {
    // 0x20: number of faults. Reads of page 7 map it; writes to page 6 allow them; a call ends.
    let vector = "
            std  r1, [zero, #0x40]
            std  r2, [zero, #0x48]
            ldd  r1, [zero, #0x20]
            addi r1, r1, #1
            std  r1, [zero, #0x20]
            shl  r1, r1, #4
            std  r12, [r1, #0x400]
            std  r13, [r1, #0x408]
            addi r12, r12, #-2
            bz   r12, off
            addi r1, zero, #1
            shl  r1, r1, #16
            addi r12, r12, #-1
            bz   r12, map
            addi r12, r12, #-1
            bz   r12, allow
            addi r12, r12, #0x34
            put  r12
        off:
            sys  #0
        map:
            addi r2, zero, #0x23
            shl  r2, r2, #12
            addi r2, r2, #3
            std  r2, [r1, #0x38]
            b    back
        allow:
            addi r2, zero, #0x22
            shl  r2, r2, #12
            addi r2, r2, #3
            std  r2, [r1, #0x30]
            addi r0, zero, #0x6000
            sys  #5
        back:
            ldd  r1, [zero, #0x40]
            ldd  r2, [zero, #0x48]
            sys  #2";
    let program = format!(
        "{TO_USER}
            addi r1, zero, #0x4000
            addi r2, zero, #-2
            shl  r3, r2, #31
            xor  r2, r2, r3
            addi r11, zero, #50
        loop:
            std  r2, [r1, #0]
            stw  r2, [r1, #0x11]
            sth  r2, [r1, #0x21]
            stb  r2, [r1, #0x2f]
            ldb  r3, [r1, #1]
            ldsb r4, [r1, #3]
            mix  r10, r3, r4
            ldsh r5, [r1, #0x21]
            mix  r10, r10, r5
            ldsw r6, [r1, #0x11]
            mix  r10, r10, r6
            ldw  r6, [r1, #4]
            mix  r10, r10, r6
            // Across the boundary of pages 4 and 5, which are adjacent, then of 5 and 6, where the second may not be written.
            std  r10, [r1, #0xffd]
            ldd  r6, [r1, #0xffb]
            mix  r10, r10, r6
            std  r10, [r1, #0x1ffa]
            std  r10, [r1, #0x2008]
            // Page 7 is not there at first.
            ldd  r6, [r1, #0x3010]
            ldh  r7, [r1, #0x2fff]
            mix  r10, r6, r7
            std  r10, [r1, #0x3010]
            add  r2, r2, r10
            addi r11, r11, #-1
            bnz  r11, loop
            sys  #0x10
        {TABLES}"
    );
    let outcome = check(&assemble(vector, &program));
    assert_eq!(outcome.console, "");
    let faults: Vec<(u64, u64)> = (1..=outcome.word(0x20) as usize)
        .map(|i| (outcome.word(0x400 + 16 * i), outcome.word(0x408 + 16 * i)))
        .collect();
    assert_eq!(
        faults,
        [(cause::WRITE_FAULT, 0x6000), (cause::READ_FAULT, 0x7010), (cause::SYSTEM_CALL, 0x10)],
        "the fault of a store across pages names the page that refuses"
    );
}

/// Devices in system mode: the console through its registers; what is nowhere is a bus fault.
#[test]
fn devices_and_bus_faults() {
    let vector = "
            addi r12, r12, #0x30
            put  r12
            addi lr, lr, #4
            br   r11";
    let outcome = check(&assemble(
        vector,
        "   ldd  r1, [zero, #uart]
            addi r2, zero, #0x68
            stw  r2, [r1, #0]
            addi r2, r2, #1
            stb  r2, [r1, #0]
            addi r11, zero, #one
            ldw  r3, [r1, #0x7000]
        one:
            addi r11, zero, #two
            std  r2, [r1, #-8]
        two:
            // Not aligned, where that matters.
            addi r11, zero, #three
            ldw  r3, [r1, #-2]
        three:
            addi r11, zero, #four
            br   r1
        four:
            addi r11, zero, #five
            addi r1, zero, #0x1002
            br   r1
        five:
            sys  #0
        .align 3
        uart:
            .quad 0x9000000",
    ));
    assert_eq!(outcome.console, "hi66767");
}

/// Code that is overwritten runs as overwritten: in another page at once, in its own page after a synchronisation; the data beside
/// code in one page can be written all the time.
#[test]
fn self_modifying_code() {
    let outcome = check(&assemble(
        UNEXPECTED,
        "   addi r11, zero, #40
        again:
            ldw  r2, [zero, #first]
            stw  r2, [zero, #site]
            call function
            ldw  r2, [zero, #second]
            stw  r2, [zero, #site]
            call function
            call function
            ldw  r2, [zero, #first]
            stw  r2, [zero, #here]
            sys  #8
            call local
            ldw  r2, [zero, #second]
            stw  r2, [zero, #here]
            sys  #8
            call local
            addi r11, r11, #-1
            bnz  r11, again
            sys  #0
        local:
        here:
            .word 0
            ret
        first:
            addi r1, r1, #1
        second:
            add  r1, r1, r1
        .align 12
        function:
            ldd  r3, [zero, #count]
            addi r3, r3, #1
            std  r3, [zero, #count]
        site:
            .word 0
            ret
        .align 8
        count:
            .quad 0",
    ));
    let expected = (0..40).fold(0_u64, |v, _| v.wrapping_add(1).wrapping_mul(4).wrapping_add(1).wrapping_mul(2));
    assert_eq!((outcome.r[1], outcome.r[3]), (expected, 120));
}

/// A region dies because one of its pages is overwritten; then the page that it begins in is, to which the jump cache leads by way
/// of the region.
#[test]
fn both_pages_of_a_region_are_rewritten() {
    let outcome = check(&assemble(
        UNEXPECTED,
        "   addi r11, zero, #8
            ldw  r2, [zero, #first]
            ldw  r3, [zero, #second]
        round:
            stw  r2, [zero, #there]
            stw  r2, [zero, #function]
            addi r4, r2, #0
            addi r2, r3, #0
            addi r3, r4, #0
            addi r10, zero, #40
        again:
            addi r5, zero, #6
            call function
            addi r10, r10, #-1
            bnz  r10, again
            addi r11, r11, #-1
            bnz  r11, round
            sys  #0
        first:
            addi r1, r1, #1
        second:
            addi r1, r1, #100
        .align 12
        function:
            .word 0
            b    there
        .align 12
        there:
            .word 0
            addi r5, r5, #-1
            bnz  r5, function
            ret",
    ));
    assert_eq!(outcome.r[1], 4 * 40 * 6 * 2 * 101);
}

/// What stands behind a call and where a branch there goes is translated with it, and rewritten by the function that is called: in the
/// same page and in another.
#[test]
fn code_behind_a_call_is_rewritten() {
    let outcome = check(&assemble(
        UNEXPECTED,
        "   addi r11, zero, #40
            ldw  r2, [zero, #first]
            ldw  r3, [zero, #second]
        again:
            call near
        one:
            .word 0
            call far
            b    two
        three:
            addi r4, r2, #0
            addi r2, r3, #0
            addi r3, r4, #0
            addi r11, r11, #-1
            bnz  r11, again
            sys  #0
        two:
            .word 0
            b    three
        near:
            stw  r2, [zero, #one]
            sys  #8
            ret
        first:
            addi r1, r1, #1
        second:
            add  r1, r1, r1
        .align 12
        far:
            stw  r3, [zero, #two]
            sys  #8
            ret",
    ));
    let turn = |v: u64, i: u32| if i.is_multiple_of(2) { (v + 1) * 2 } else { v * 2 + 1 };
    assert_eq!(outcome.r[1], (0..40).fold(0, turn));
}

/// Code that is rewritten through more virtual addresses than the engine remembers for a page, by turns.
#[test]
fn code_with_many_aliases_is_rewritten() {
    // A call synchronises; anything else ends.
    let vector = "
            addi r12, r12, #-2
            bz   r12, back
            sys  #0
        back:
            addi lr, lr, #4
            sys  #2";
    let write = |page: &str, source: &str, n: u32| {
        format!(
            "stw  {source}, [{page}, #0]
            sys  #0x10
            addi lr, zero, #behind{n}
            br   r9
        behind{n}:\n"
        )
    };
    let aliases = [("r4", "r3"), ("r5", "r2"), ("r6", "r3"), ("r7", "r2"), ("r8", "r3")];
    let writes: String = (0..).zip(aliases).map(|(n, (page, source))| write(page, source, n)).collect();
    let program = format!(
        "{TO_USER}
            addi r11, zero, #40
            ldw  r2, [zero, #first]
            ldw  r3, [zero, #second]
            addi r4, zero, #0x4000
            addi r5, zero, #0x5000
            addi r6, zero, #0x6000
            addi r7, zero, #0x7000
            add  r8, r4, r4
            add  r9, r4, r5
        again:
            // All of them at once, so that all may write then.
            stw  r2, [r4, #0]
            stw  r2, [r5, #0]
            stw  r2, [r6, #0]
            stw  r2, [r7, #0]
            stw  r2, [r8, #0]
            sys  #0x10
            addi lr, zero, #written
            br   r9
        written:
            {writes}
            addi r11, r11, #-1
            bnz  r11, again
            .word 0xffffffff
        first:
            addi r1, r1, #1
        second:
            add  r1, r1, r1
        .align 16
            .quad 0, 0, 0x200d, 0, 0x20003, 0x20003, 0x20003, 0x20003, 0x20003, 0x20005
        .align 17
            .word 0
            ret"
    );
    let outcome = check(&assemble(vector, &program));
    let turn = |v: u64| (0..3).fold(v, |v, _| v.wrapping_add(1).wrapping_mul(2));
    assert_eq!((outcome.r[1], outcome.r[11]), ((0..40).fold(0, |v, _| turn(v)), 0));
}

/// Two address spaces with different code and data at the same addresses, and code that is the same in both.
#[test]
fn address_spaces_and_modes() {
    // A call (16) switches the address space; r9 counts.
    let vector = "
            addi r12, r12, #-2
            bz   r12, switch
            addi r12, r12, #0x32
            put  r12
            sys  #0
        switch:
            addi r9, r9, #-1
            bz   r9, off
            ldd  r0, [zero, #8]
            addi r1, zero, #1
            shl  r1, r1, #12
            xor  r0, r0, r1
            sys  #3
            addi lr, lr, #4
            sys  #2
        off:
            sys  #0";
    let program = format!(
        "   addi r9, zero, #200
            {TO_USER}
        loop:
            call private
            ldd  r2, [zero, #0x4000]
            add  r2, r2, r3
            std  r2, [zero, #0x4000]
            sys  #0x10
            b    loop
        private:
            addi r4, zero, #0x5000
            br   r4
        {TABLES}
        .align 17
            // 0x20000: data of the first, 0x21000: its page 5
            .space 0x1000
            addi r3, zero, #3
            ret
            .align 12
            // 0x22000, 0x23000, 0x24000: data of the second; 0x25000: its page 5
            .space 0x3000
            addi r3, zero, #5
            mix  r5, r5, r3
            ret"
    )
    .replace("0x21003,", "0x21005,")
    .replace("0x24003, 0, ", "0x24003, 0x25005, ");
    let outcome = check(&assemble(vector, &program));
    assert_eq!(outcome.console, "");
    assert_eq!((outcome.word(0x20000), outcome.word(0x24000)), (300, 500));
}

/// `mode` changes what the next instruction may do and how addresses are translated.
#[test]
fn mode_changes_within_a_page() {
    let vector = "
            addi r12, r12, #0x30
            put  r12
            addi r9, r9, #-1
            bz   r9, off
            addi lr, lr, #4
            br   lr
        off:
            sys  #0";
    let program = format!(
        "   addi r9, zero, #60
            addi r0, zero, #1
            shl  r0, r0, #16
            sys  #3
            b    body
        .align 12
        body:
            mode #0
            ldd  r1, [zero, #0x4000]
            mode #1
            ldd  r2, [zero, #0x4000]
            .word 0xffffffff
            mode #0
            sys  #3
            b    body
        {TABLES}"
    );
    let outcome = check(&assemble(vector, &program));
    assert_eq!(outcome.console, "111".repeat(20));
}

/// A loop without exits, linked to itself, and one through the jump cache, end when the outside asks.
#[test]
fn endless_loops_can_be_stopped() {
    let setup = Setup { stop: StopRequest::After(Duration::from_millis(20)), ..Setup::default() };
    for program in
        ["loop:\n b loop", "loop:\n addi r1, r1, #1\n bnz lr, loop\n call loop", "addi r1, zero, #0x1000\n br r1"]
    {
        let outcome = run(&assemble(UNEXPECTED, program), &setup);
        assert_eq!(outcome.stopped, stopped::REQUESTED);
        assert_eq!(outcome.pc & !0xfff, ENTRY);
    }
}

#[test]
fn resets_end_the_run() {
    let image = assemble(UNEXPECTED, "sys #1");
    assert_eq!(agree(&image, 10, "of a reset").map(|o| o.stopped), Some(stopped::REBOOT));
    assert_eq!(run(&image, &Setup { options: option::NO_REBOOT, ..Setup::default() }).stopped, stopped::RESET);
}

/// The timer ends a wait of the system, and interrupts user code that never leaves its loop.
#[test]
fn timer_interrupts() {
    let vector = "
            addi r12, r12, #0x30
            put  r12
            sys  #0";
    let program = format!(
        "   ldd  r0, [zero, #ticks]
            sys  #7
            sys  #6
            sys  #7
            {TO_USER}
        loop:
            addi r1, r1, #1
            b    loop
        .align 3
        ticks:
            .quad 625000
        {TABLES}"
    );
    let outcome = run(&assemble(vector, &program), &Setup::default());
    assert_eq!((outcome.stopped, outcome.console.as_str()), (stopped::POWER_OFF, "8"));
    assert!(outcome.r[1] > 0 && outcome.r[14] >= 0x2000);
}

/// More code than the cache holds: it is reclaimed as often as needed.
#[test]
fn code_cache_overflows() {
    const UNITS: usize = 2000;
    let unit = "adds r1, r1, r9\nmix r2, r2, r1\nstd r2, [zero, #0x200]\nb.ne next\nsys #0\nnext:";
    let unit = &assemble(UNEXPECTED, unit)[ENTRY as usize..];
    let space = UNITS * unit.len();
    let around = format!("addi r9, zero, #4\nstart:\n.space {space}\naddi r9, r9, #-1\nbnz r9, start\nsys #0");
    let mut image = assemble(UNEXPECTED, &around);
    image[ENTRY as usize + 4..][..space].copy_from_slice(&unit.repeat(UNITS));
    let expected = check(&image);
    let outcome = run(&image, &Setup { code_bytes: 1 << 16, ..Setup::default() });
    assert!(outcome == expected, "{:x?} {:x?}", outcome.r, expected.r);
    assert_eq!(expected.r[9], 0);
}

/// A generator of test programs (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A word that is mostly an instruction, and mostly one that goes on nearby or touches mapped memory.
    fn word(&mut self) -> u32 {
        let word = self.next() as u32 & 0x0fff_ffff;
        let offset = |r: &mut Self, bits: u32| (r.below(40) as u32).wrapping_sub(2) & ((1 << bits) - 1);
        match self.below(32) {
            0..=5 => word,
            6..=9 => 1 << 28 | word,
            10..=12 => 2 << 28 | word,
            13..=14 => 3 << 28 | word,
            kind @ 15..=21 => {
                let base = if self.below(4) == 0 { word & 0x00f0_0000 } else { 0x00f0_0000 };
                let address = 0x4000 + self.below(0x2ff0) as u32;
                (4 + (kind as u32 & 1)) << 28 | (word & 0x0f0f_0000) | base | address
            }
            22 => 6 << 28 | word,
            23..=24 => 8 << 28 | (word & 0x0f00_0000) | offset(self, 24),
            25..=26 => 9 << 28 | (word & 0x0f00_0000) | offset(self, 24),
            27 => 10 << 28 | (word & 0x0ff0_0000) | offset(self, 20),
            28 => 12 << 28 | word,
            29..=30 => 14 << 28 | (word & 0x03ff_ffff),
            _ => self.next() as u32,
        }
    }
}

/// Random code in user mode, with random values to start from and its data around page boundaries; the system skips what traps.
#[test]
fn random_programs() {
    let vector = "
            std  r12, [zero, #0x28]
            ldd  r12, [zero, #0x20]
            addi r12, r12, #-1
            std  r12, [zero, #0x20]
            bz   r12, off
            ldd  r12, [zero, #0x28]
            addi r12, r12, #-5
            bz   r12, elsewhere
            addi r12, r12, #-2
            bz   r12, elsewhere
            addi lr, lr, #4
            sys  #2
        elsewhere:
            ldd  lr, [zero, #0x20]
            shl  lr, lr, #4
            addi lr, lr, #0x2000
            sys  #2
        off:
            sys  #0";
    let loads: String = (1..14).map(|i| format!("ldd r{i}, [zero, #{:#x}]\n", 0x300 + 8 * i)).collect();
    let mut base = assemble(vector, &format!("{loads}{TO_USER}\n{TABLES}"));
    base.resize(0x23000, 0);
    base[0x20] = 15;
    let mut random = Random(1);
    let mut ended = 0;
    for program in 0..PROGRAMS {
        let mut image = base.clone();
        for at in (0x308..0x370).step_by(8) {
            let value = random.next() >> random.below(64);
            image[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        for at in (0x2000..0x2600).step_by(4) {
            image[at..at + 4].copy_from_slice(&random.word().to_le_bytes());
        }
        for at in (0x20000..0x23000).step_by(8) {
            image[at..at + 8].copy_from_slice(&random.next().to_le_bytes());
        }
        ended += usize::from(agree(&image, 5_000, &format!("program {program}")).is_some());
    }
    assert!(ended > PROGRAMS / 3, "only {ended} programs of {PROGRAMS} end");
}
