// Exclusive loads and stores, and the atomic instructions.

test_atomics:
    mov x26, x30
    adr x27, atomics_name
    mov x5, #SCRATCH
    mov x1, #5
    str x1, [x5]

    // A pair of exclusive accesses succeeds; a store without a load, or after CLREX, doesn't.
atomics_again:
    ldaxr x1, [x5]
    add x1, x1, #1
    stlxr w2, x1, [x5]
    cbnz w2, atomics_again
    ldr x0, [x5]
    bl expect
    .quad 6
    ldxr x1, [x5]
    clrex
    stxr w2, xzr, [x5]
    mov x0, x2
    bl expect
    .quad 1
    stxr w0, xzr, [x5]
    bl expect
    .quad 1
    ldr x0, [x5]
    bl expect
    .quad 6
    stp x1, xzr, [x5]
    mov x3, #7
    mov x4, #8
atomics_pair:
    ldxp x0, x1, [x5]
    stxp w2, x3, x4, [x5]
    cbnz w2, atomics_pair
    bl expect
    .quad 6
    ldr x0, [x5, #8]
    bl expect
    .quad 8
    ldxrb w0, [x5]
    stxrb w2, wzr, [x5]
    bl expect
    .quad 7

    // Atomic arithmetic gives the old value.
    mov x1, #0xf0
    str x1, [x5]
    mov x2, #0x11
    ldadd x2, x0, [x5]
    bl expect
    .quad 0xf0
    ldclr x2, x0, [x5]
    bl expect
    .quad 0x101
    ldset x2, x0, [x5]
    bl expect
    .quad 0x100
    ldeoral x2, x0, [x5]
    bl expect
    .quad 0x111
    mov x2, #-1
    ldsmax x2, x0, [x5]
    bl expect
    .quad 0x100
    ldumax x2, x0, [x5]
    bl expect
    .quad 0x100
    mov x2, #3
    ldsmin x2, x0, [x5]
    bl expect
    .quad 0xffffffffffffffff
    ldumin x2, x0, [x5]
    bl expect
    .quad 0xffffffffffffffff
    swpa x2, x0, [x5]
    bl expect
    .quad 3
    stadd x2, [x5]
    ldaddb w2, w0, [x5]
    bl expect
    .quad 6
    ldaddalh w2, w0, [x5]
    bl expect
    .quad 9

    // Compare and swap: with what is there, and with something else.
    mov x0, #12
    mov x2, #20
    casal x0, x2, [x5]
    bl expect
    .quad 12
    mov x0, #12
    mov x2, #30
    cas x0, x2, [x5]
    bl expect
    .quad 20
    ldr x0, [x5]
    bl expect
    .quad 20
    mov x0, #20
    mov x1, #8
    mov x2, #1
    mov x3, #2
    caspal x0, x1, x2, x3, [x5]
    bl expect
    .quad 20
    ldp x0, x1, [x5]
    add x0, x0, x1, lsl #8
    bl expect
    .quad 0x201
    b passed

atomics_name:
    .asciz "exclusives and atomics"
    .align 2
