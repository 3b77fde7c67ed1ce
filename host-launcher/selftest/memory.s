// Loads and stores of all sizes, with all ways to write an address.

test_memory:
    mov x26, x30
    adr x27, memory_name
    mov x5, #SCRATCH
    mov x1, #0xcdef
    movk x1, #0x89ab, lsl #16
    movk x1, #0x4567, lsl #32
    movk x1, #0x8123, lsl #48
    str x1, [x5]
    str x1, [x5, #8]

    // Sizes, with and without sign.
    ldrb w0, [x5, #1]
    bl expect
    .quad 0xcd
    ldrsb x0, [x5]
    bl expect
    .quad 0xffffffffffffffef
    ldrsb w0, [x5]
    bl expect
    .quad 0xffffffef
    ldrh w0, [x5, #2]
    bl expect
    .quad 0x89ab
    ldrsh x0, [x5, #6]
    bl expect
    .quad 0xffffffffffff8123
    ldr w0, [x5, #4]
    bl expect
    .quad 0x81234567
    ldrsw x0, [x5, #4]
    bl expect
    .quad 0xffffffff81234567
    ldr x0, [x5, #8]
    bl expect
    .quad 0x8123456789abcdef

    // Addresses: before, after, by register, relative to the program.
    mov x6, x5
    ldr x0, [x6, #8]!
    sub x0, x6, x5
    bl expect
    .quad 8
    ldr w0, [x6], #-4
    bl expect
    .quad 0x89abcdef
    sub x0, x6, x5
    bl expect
    .quad 4
    ldur w0, [x6, #-4]
    bl expect
    .quad 0x89abcdef
    mov x7, #-2
    ldrh w0, [x6, w7, sxtw #1]
    bl expect
    .quad 0xcdef
    mov x7, #1
    ldr x0, [x5, x7, lsl #3]
    bl expect
    .quad 0x8123456789abcdef
    ldr x0, memory_literal
    bl expect
    .quad 0x1122334455667788
    ldrsw x0, memory_word
    bl expect
    .quad 0xfffffffffedcba98

    // Pairs.
    mov x2, #1
    stp x1, x2, [x5, #16]
    ldp x3, x4, [x5, #16]
    sub x0, x3, x4
    bl expect
    .quad 0x8123456789abcdee
    ldpsw x3, x4, [x5, #16]
    mov x0, x3
    bl expect
    .quad 0xffffffff89abcdef
    mov x6, x5
    stp w1, w2, [x6, #32]!
    ldr x0, [x5, #32]
    bl expect
    .quad 0x189abcdef
    ldp w3, w4, [x6], #8
    mov x0, x4
    bl expect
    .quad 1
    sub x0, x6, x5
    bl expect
    .quad 40

    // Stores leave the neighbours alone.
    strb wzr, [x5, #1]
    strh wzr, [x5, #4]
    ldr x0, [x5]
    bl expect
    .quad 0x8123000089ab00ef
    str wzr, [x5, #4]
    ldr x0, [x5]
    bl expect
    .quad 0x89ab00ef

    // Ordered ones.
    stlr x1, [x5]
    ldar x0, [x5]
    bl expect
    .quad 0x8123456789abcdef
    b passed

memory_name:
    .asciz "loads and stores"
    .align 3
memory_literal:
    .quad 0x1122334455667788
memory_word:
    .word 0xfedcba98
