// Address translation: 4 KiB pages, permissions, maintenance of the TLB. The MMU stays on for the tests that follow.
//
// The first GiB is device memory, the second one RAM at its own addresses by pages of 4 KiB (the 2 MiB of the image) and
// blocks of 2 MiB. At WINDOW are pages with permissions of their own, most of them of the page at SCRATCH.

.equ WINDOW, 0x40400000
.equ RAM_START, 0x40000000
.equ PAGE_RW, 0x703             // AF, inner shareable, attributes 0, EL1 only
.equ PAGE_RO, 0x783
.equ PAGE_USER_RO, 0x7c3
.equ PAGE_USER_RW, 0x743

test_mmu:
    mov x26, x30
    adr x27, mmu_name

    // Empty tables.
    mov x5, #TABLES
    mov x1, #0x4000
mmu_clear:
    sub x1, x1, #16
    add x2, x5, x1
    stp xzr, xzr, [x2]
    cbnz x1, mmu_clear

    // Level 1, level 2, and the pages of the image.
    mov x1, #0x405              // a block of device memory
    movk x1, #0x60, lsl #48     // never executable
    str x1, [x5]
    add x6, x5, #0x1, lsl #12
    orr x1, x6, #0x3
    str x1, [x5, #8]
    add x7, x5, #0x2, lsl #12
    orr x1, x7, #0x3
    str x1, [x6]
    mov x1, #0x701
    mov x2, #0x40200000
    orr x1, x1, x2
    str x1, [x6, #8]            // a block of RAM
    add x8, x5, #0x3, lsl #12
    orr x1, x8, #0x3
    str x1, [x6, #16]
    mov x1, #RAM_START
    add x1, x1, #PAGE_RW
    mov x2, #512
mmu_identity:
    str x1, [x7], #8
    add x1, x1, #0x1, lsl #12
    sub x2, x2, #1
    cbnz x2, mmu_identity

    // The window.
    mov x5, #SCRATCH
    add x1, x5, #PAGE_RW
    str x1, [x8]                // 0: as it is
    add x1, x5, #PAGE_RO
    str x1, [x8, #8]            // 1: read only
    add x1, x5, #PAGE_RW        // 2: nothing
    movk x1, #0x60, lsl #48
    str x1, [x8, #24]           // 3: not executable
    adr x1, mmu_user
    and x1, x1, #0xfffffffffffff000
    add x1, x1, #PAGE_USER_RO
    str x1, [x8, #32]           // 4: the program for EL0
    add x1, x5, #PAGE_USER_RW
    str x1, [x8, #40]           // 5: data for EL0
    add x1, x5, #0x303          // without the access flag
    str x1, [x8, #48]           // 6

    mov x1, #0xff
    msr mair_el1, x1
    mov x1, #0x3519             // 39 bits, 4 KiB, cacheable tables
    movk x1, #0x80, lsl #16     // nothing behind TTBR1
    movk x1, #0x2, lsl #32
    msr tcr_el1, x1
    mov x1, #TABLES
    msr ttbr0_el1, x1
    dsb ish
    tlbi vmalle1
    dsb ish
    isb
    mrs x1, sctlr_el1
    mov x2, #0x1005             // M, C, I
    orr x1, x1, x2
    msr sctlr_el1, x1
    isb

    // One page under several addresses, and accesses that no alignment holds back.
    mov x6, #WINDOW
    mov x1, #0x1111
    str x1, [x6]
    ldr x0, [x5]
    bl expect
    .quad 0x1111
    add x7, x6, #0x1, lsl #12
    ldr x0, [x7]
    bl expect
    .quad 0x1111
    mov x1, #0x2233
    stur x1, [x5, #3]
    ldr x0, [x7]
    bl expect
    .quad 0x2233001111
    mov x1, #0xffd
    add x1, x6, x1
    adr x25, mmu_crossed
    str x0, [x1]                // over the end of the page, into one that is read only
mmu_crossed:
    mov x0, x20
    bl expect
    .quad 0x9600004f            // permission fault at level 3, by a store
    sub x0, x21, x6
    bl expect
    .quad 0x1000

    // A block of zeros, which takes normal memory.
    mov x1, #-1
    stp x1, x1, [x5, #304]
    stp x1, x1, [x5, #320]
    add x2, x5, #333
    dc zva, x2
    ldr x0, [x5, #312]
    bl expect
    .quad 0xffffffffffffffff
    ldp x0, x1, [x5, #320]
    orr x0, x0, x1
    bl expect
    .quad 0

    // What isn't permitted, or isn't there.
    adr x25, mmu_read_only
    str x1, [x7, #24]
mmu_read_only:
    mov x0, x20
    bl expect
    .quad 0x9600004f
    sub x0, x21, x6
    bl expect
    .quad 0x1018
    mov x1, #0x2018
    add x1, x6, x1
    adr x25, mmu_unmapped
    ldr x0, [x1]
mmu_unmapped:
    mov x0, x20
    bl expect
    .quad 0x96000007            // translation fault at level 3
    sub x0, x21, x6
    bl expect
    .quad 0x2018
    mov x1, #0xc0000000
    adr x25, mmu_unmapped_high
    ldr x0, [x1]
mmu_unmapped_high:
    mov x0, x20
    bl expect
    .quad 0x96000005            // at level 1
    mov x1, #-8
    adr x25, mmu_no_ttbr1
    ldr x0, [x1]
mmu_no_ttbr1:
    mov x0, x20
    bl expect
    .quad 0x96000004            // walks are off: as at level 0
    mov x1, #0x3000
    add x1, x6, x1
    adr x25, mmu_not_executable
    br x1
mmu_not_executable:
    mov x0, x20
    bl expect
    .quad 0x8600000f            // permission fault of a fetch
    sub x0, x21, x6
    bl expect
    .quad 0x3000
    sub x0, x22, x6
    bl expect
    .quad 0x3000
    mov x1, #0x6000
    add x1, x6, x1
    adr x25, mmu_not_accessed
    ldr x0, [x1]
mmu_not_accessed:
    mov x0, x20
    bl expect
    .quad 0x9600000b            // access flag fault at level 3

    // EL0 may read what is shown to it and nothing else; EL1 may not execute what EL0 may write.
    mov x1, #0x5000
    add x9, x6, x1
    mov x18, #0
    adr x0, mmu_user
    and x0, x0, #0xfff
    mov x1, #0x4000
    add x0, x0, x1
    add x0, x0, x6
    bl exceptions_drop
    mov x0, x20
    bl expect
    .quad 0x9200000f            // permission fault from a lower level
    sub x0, x21, x6
    bl expect
    .quad 0
    mov x0, x18
    bl expect
    .quad 0x2233001111
    ldr x0, [x5, #8]
    bl expect
    .quad 0x2233001112
    adr x25, mmu_user_writable
    br x9
mmu_user_writable:
    mov x0, x20
    bl expect
    .quad 0x8600000f

    // Translation by instruction.
    mov x3, #0xffe
    at s1e1r, x7
    isb
    mrs x0, par_el1
    ubfx x0, x0, #0, #48
    bic x0, x0, x3
    bl expect
    .quad SCRATCH
    at s1e1w, x7
    isb
    mrs x0, par_el1
    and x0, x0, #0x7f
    bl expect
    .quad 0x1f                  // a fault: permission, level 3

    // A page moves: after TLBI its address shows the other one.
    mov x1, #0x3333
    add x2, x5, #0x1, lsl #12
    str x1, [x2]
    add x3, x2, #PAGE_RW
    str x3, [x8]
    dsb ishst
    lsr x1, x6, #12
    tlbi vae1is, x1
    dsb ish
    isb
    ldr x0, [x6]
    bl expect
    .quad 0x3333
    mov x1, #0
    str x1, [x8]                // and goes
    dsb ishst
    tlbi vmalle1
    dsb ish
    isb
    adr x25, mmu_gone
    ldr x0, [x6]
mmu_gone:
    mov x0, x20
    bl expect
    .quad 0x96000007
    b passed

// At EL0: reads and writes its own page, then reads one that is not for it.
mmu_user:
    ldr x18, [x9]
    add x10, x18, #1
    str x10, [x9, #8]
    ldr x18, [x9]
    ldr x10, [x6]
    mov x18, #0                 // not reached
    svc #0x0

mmu_name:
    .asciz "address translation"
    .align 2
