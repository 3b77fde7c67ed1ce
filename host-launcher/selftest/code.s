// A program that writes programs: new code is executed once the instruction cache has been told.

test_code:
    mov x26, x30
    adr x27, code_name
    mov x5, #SCRATCH
    add x5, x5, #0x100
    adr x6, code_template
    ldp w7, w8, [x6]
    stp w7, w8, [x5]
    bl code_call
    bl expect
    .quad 0

    // The immediate of the first instruction counts up.
    mov x9, #0
    mov x10, #200
code_again:
    add w7, w7, #32
    str w7, [x5]
    bl code_call
    add x9, x9, x0
    sub x10, x10, #1
    cbnz x10, code_again
    mov x0, x9
    bl expect
    .quad 20100

    // Code on the page that is being executed: the next instruction but one changes.
    adr x6, code_patched
    ldr w7, [x6]
    ldr w8, code_replacement
    mov x9, #0
    mov x10, #3
code_patch:
    mov x0, #0
    bl code_patched
    add x9, x9, x0
    str w8, [x6]
    dc cvau, x6
    dsb ish
    ic ivau, x6
    dsb ish
    isb
    sub x10, x10, #1
    cbnz x10, code_patch
    mov x0, x9
    bl expect
    .quad 13                    // 1 + 6 + 6
    str w7, [x6]
    dc cvau, x6
    dsb ish
    ic ialluis
    dsb ish
    isb
    mov x0, #0
    bl code_patched
    bl expect
    .quad 1

    // The instruction behind the barrier changes with every turn.
    adr x6, code_behind
    ldr w7, [x6]
    ldr w8, code_behind_other
    eor w8, w8, w7
    mov x9, #0
    mov x10, #40
code_turn:
    str w7, [x6]
    dc cvau, x6
    dsb ish
    ic ivau, x6
    dsb ish
    isb
code_behind:
    add x9, x9, #1
    eor w7, w7, w8
    sub x10, x10, #1
    cbnz x10, code_turn
    mov x0, x9
    bl expect
    .quad 140                   // 20 * (1 + 6)
    b passed

// Makes the code at x5 visible and jumps there.
code_call:
    dc cvau, x5
    dsb ish
    ic ivau, x5
    dsb ish
    isb
    br x5

code_template:
    mov w0, #0
    ret
code_patched:
    add x0, x0, #1
    ret
code_replacement:
    add x0, x0, #6
code_behind_other:
    add x9, x9, #6

code_name:
    .asciz "self-modifying code"
    .align 2
