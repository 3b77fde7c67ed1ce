// Branch target identification: every kind of indirect branch to every kind of landing pad, in a page that is guarded and under another
// address where it is not. Runs with the tables of the test of address translation.

.equ GUARDED, 0x8000            // from WINDOW: the page with the landing pads, guarded
.equ PADS, 7

test_bti:
    mov x26, x30
    adr x27, bti_name
    mov x6, #WINDOW
    mov x8, #TABLES
    mov x1, #ENTRIES
    add x8, x8, x1

    // The ID register, and BTYPE as software may set it, before there is a guarded page.
    mrs x0, id_aa64pfr1_el1
    and x0, x0, #0xf
    bl expect
    .quad 1
    adr x2, bti_stubs
    and x1, x2, #0xfffffffffffff000
    add x1, x1, #PAGE_RO
    str x1, [x8, #72]           // 9: not guarded
    movk x1, #0x4, lsl #48
    str x1, [x8, #64]           // 8: guarded
    dsb ishst
    isb
    and x9, x2, #0xfff
    add x9, x9, x6
    mov x1, #GUARDED
    add x9, x9, x1              // the stubs in the guarded page
    add x10, x9, #0x1, lsl #12  // and in the other one

    // A fetch that fails tells how it was branched to, guarded page or not.
    mov x1, #0x2000
    add x1, x6, x1
    adr x25, bti_no_page
    blr x1
bti_no_page:
    mov x0, x20
    bl expect
    .quad 0x86000007
    ubfx x0, x23, #10, #2
    bl expect
    .quad 2

    // Bit 3 * pad + branch of x0: that landing failed as it should have. Branches: by X16, a call, by another register.
    add x11, x9, #0x80
    bl bti_all
    bl expect
    .quad 0x53f                 // not BTI c by a jump, not BTI j by a call, nor anything without
    // With SCTLR_EL1.BT1 PACIASP is a BTI c, without also a BTI j.
    mrs x12, sctlr_el1
    mov x1, #0x1000000000
    orr x1, x12, x1
    msr sctlr_el1, x1
    isb
    add x11, x9, #0x80
    bl bti_all
    bl expect
    .quad 0x12053f
    msr sctlr_el1, x12
    isb
    add x11, x10, #0x80
    bl bti_all
    bl expect
    .quad 0                     // where nothing is guarded

    // RET may lead anywhere.
    mov x0, #0
    adr x30, bti_returned
    add x1, x9, #0x80
    ret x1
bti_returned:
    bl expect
    .quad 0
    // So may an exception return, but it brings BTYPE along.
    add x1, x9, #0x80
    msr elr_el1, x1
    mov x2, #0x3c5
    msr spsr_el1, x2
    adr x30, bti_resumed
    eret
bti_resumed:
    add x1, x9, #0x80
    msr elr_el1, x1
    mov x2, #0xbc5
    msr spsr_el1, x2
    adr x25, bti_not_resumed
    eret
bti_not_resumed:
    mov x0, x20
    bl expect
    .quad 0x36000002
    sub x0, x22, x9
    bl expect
    .quad 0x80
    mov x0, x23
    bl expect
    .quad 0xbc5

    // BRK is a landing pad, and its exception has BTYPE; after a landing it is zero.
    add x1, x9, #0xf0
    adr x25, bti_brk
    blr x1
bti_brk:
    lsr x0, x20, #26
    bl expect
    .quad 0x3c
    ubfx x0, x23, #10, #2
    bl expect
    .quad 2
    add x1, x9, #0x100
    adr x25, bti_landed
    blr x1
bti_landed:
    mov x0, x20
    bl expect
    .quad 0xf2000003
    ubfx x0, x23, #10, #2
    bl expect
    .quad 0

    // Again and again, so that it becomes a region: the call lands, and is caught when the page becomes guarded otherwise.
    mov x3, #4000
    add x1, x10, #0x80          // a plain instruction, where nothing is guarded
bti_often:
    blr x1
    sub x3, x3, #1
    cbnz x3, bti_often
    mov x0, x3
    bl expect
    .quad 0
    ldr x2, [x8, #64]
    str x2, [x8, #72]           // now it is
    dsb ishst
    tlbi vmalle1
    dsb ish
    isb
    adr x25, bti_caught
    blr x1
    mov x20, #0
bti_caught:
    mov x0, x20
    bl expect
    .quad 0x36000002
    add x1, x9, #0xa0           // BTI c
    mov x3, #4000
bti_landing:
    blr x1
    sub x3, x3, #1
    cbnz x3, bti_landing
    mov x0, x3
    bl expect
    .quad 0
    b passed

// Every branch to every pad from x11 on; the stubs for branches are at x9. Uses x0 to x5, x7, x13 to x17.
bti_all:
    mov x13, x30
    mov x14, #0                 // the result
    mov x15, #0                 // its bit
    mov x7, #0
bti_pad:
    add x1, x11, x7, lsl #4
    mov x2, #1
bti_branch:
    mov x16, x1
    add x17, x9, x2, lsl #4     // the stub
    adr x25, bti_failed
    adr x30, bti_ran
    br x17
bti_failed:
    // Syndrome, address and BTYPE must be right.
    sub x3, x20, x2
    mov x4, #0x36000000
    cmp x3, x4
    b.ne bti_wrong
    cmp x22, x1
    b.ne bti_wrong
    ubfx x3, x23, #10, #2
    cmp x3, x2
    b.ne bti_wrong
    mov x3, #1
    lsl x3, x3, x15
    orr x14, x14, x3
bti_ran:
    mov x25, #0
    add x15, x15, #1
    add x2, x2, #1
    cmp x2, #4
    b.ne bti_branch
    add x7, x7, #1
    cmp x7, #PADS
    b.ne bti_pad
    mov x0, x14
    ret x13
bti_wrong:
    mov x0, #-1
    ret x13

    .align 9
bti_stubs:
    bti jc
    bti jc
    bti jc
    bti jc
    bti jc                      // BTYPE 1
    br x16
    nop
    nop
    bti jc                      // BTYPE 2: comes back here
    mov x5, x30
    blr x16
    ret x5
    bti jc                      // BTYPE 3
    br x1
    nop
    nop
    nop                         // at 0x40
    nop
    nop
    nop
    nop
    nop
    nop
    nop
    nop
    nop
    nop
    nop
    nop
    nop
    nop
    nop
    // Landing pads, at 0x80.
    nop
    ret
    nop
    nop
    bti
    ret
    nop
    nop
    bti c
    ret
    nop
    nop
    bti j
    ret
    nop
    nop
    bti jc
    ret
    nop
    nop
    paciasp
    ret
    nop
    nop
    pacibsp
    ret
    nop
    nop
    brk #0                      // at 0xf0
    nop
    nop
    nop
    bti jc
    brk #3

bti_name:
    .asciz "branch target identification"
    .align 2
