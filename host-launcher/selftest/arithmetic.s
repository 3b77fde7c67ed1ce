// Integer arithmetic, logic, shifts, bit fields, and the flags.

test_arithmetic:
    mov x26, x30
    adr x27, arithmetic_name

    // Carry and overflow, at both widths.
    mov x1, #0x7fffffffffffffff
    adds x0, x1, #1
    mrs x2, nzcv
    bl expect
    .quad 0x8000000000000000
    mov x0, x2
    bl expect
    .quad 0x90000000            // N, V
    mov x1, #-1
    adds x0, x1, #1
    mrs x0, nzcv
    bl expect
    .quad 0x60000000            // Z, C
    mov w1, #0x80000000
    subs w0, w1, #1
    mrs x2, nzcv
    bl expect
    .quad 0x7fffffff
    mov x0, x2
    bl expect
    .quad 0x30000000            // C, V
    mov x1, #5
    cmp x1, #6
    mrs x0, nzcv
    bl expect
    .quad 0x80000000
    mov w1, #-1
    cmn w1, #1
    mrs x0, nzcv
    bl expect
    .quad 0x60000000

    // A sum of 128 bits, and a difference.
    mov x1, #-1
    mov x2, #3
    mov x3, #4
    adds x4, x1, x2
    adc x0, x3, xzr
    bl expect
    .quad 5
    mov x1, #0
    subs x4, x1, #1
    sbcs x0, x3, xzr
    mrs x2, nzcv
    bl expect
    .quad 3
    mov x0, x2
    bl expect
    .quad 0x20000000
    subs x4, x1, #1
    ngc x0, x3
    bl expect
    .quad 0xfffffffffffffffb

    // Operands shifted and extended.
    mov x1, #0x100
    mov x2, #-2
    add x0, x1, x2, lsl #4
    bl expect
    .quad 0xe0
    sub x0, x1, x2, asr #1
    bl expect
    .quad 0x101
    add x0, x1, w2, uxtb #2
    bl expect
    .quad 0x4f8
    add x0, x1, w2, sxtw
    bl expect
    .quad 0xfe
    add w0, w1, w2
    bl expect
    .quad 0xfe

    // Logic.
    mov x1, #0xff00ff00ff00ff
    mov x2, #0xf0f0f0f0f0f0f0f
    and x0, x1, x2
    bl expect
    .quad 0x000f000f000f000f
    orn x0, x1, x2
    bl expect
    .quad 0xf0fff0fff0fff0ff
    eon x0, x1, x2
    bl expect
    .quad 0xf00ff00ff00ff00f
    bics x0, x1, x1
    mrs x0, nzcv
    bl expect
    .quad 0x40000000
    tst w1, #0x80000000
    cset x0, eq
    bl expect
    .quad 1

    // Products and quotients.
    mov x1, #-3
    mov x2, #7
    mul x0, x1, x2
    bl expect
    .quad 0xffffffffffffffeb
    umulh x0, x1, x2
    bl expect
    .quad 6
    smulh x0, x1, x2
    bl expect
    .quad 0xffffffffffffffff
    smaddl x0, w1, w2, x2
    bl expect
    .quad 0xfffffffffffffff2
    umsubl x0, w1, w2, x2
    bl expect
    .quad 0xfffffff90000001c
    sdiv x0, x1, x2
    bl expect
    .quad 0
    mov x3, #-22
    sdiv x0, x3, x2
    bl expect
    .quad 0xfffffffffffffffd
    udiv x0, x3, xzr            // by zero: no exception
    bl expect
    .quad 0
    mov x1, #0x8000000000000000
    mov x2, #-1
    sdiv x0, x1, x2             // the one quotient that doesn't fit
    bl expect
    .quad 0x8000000000000000
    mov w1, #0x80000000
    sdiv w0, w1, w2
    bl expect
    .quad 0x80000000

    // Bits.
    mov x1, #0x5678
    movk x1, #0x1234, lsl #16
    movk x1, #0x9abc, lsl #32
    movk x1, #0xdef0, lsl #48
    rev x0, x1
    bl expect
    .quad 0x78563412bc9af0de
    rev16 x0, x1
    bl expect
    .quad 0xf0debc9a34127856
    rbit w0, w1
    bl expect
    .quad 0x1e6a2c48
    clz w0, w1
    bl expect
    .quad 3
    cls x0, x1
    bl expect
    .quad 1
    ubfx x0, x1, #8, #12
    bl expect
    .quad 0x456
    sbfx x0, x1, #44, #20
    bl expect
    .quad 0xfffffffffffdef09
    bfi x0, x1, #4, #8
    bl expect
    .quad 0xfffffffffffde789
    extr x0, x1, x0, #12
    bl expect
    .quad 0x678fffffffffffde
    ror x0, x1, #4
    bl expect
    .quad 0x8def09abc1234567
    mov x2, #68                 // modulo 64
    lsl x0, x1, x2
    bl expect
    .quad 0xef09abc123456780
    asr w0, w1, #31
    bl expect
    .quad 0

    // Conditions.
    mov x1, #1
    cmp x1, #1
    ccmp x1, #2, #0x0, eq
    cset x0, lt
    bl expect
    .quad 1
    cmp x1, #1
    ccmp x1, #2, #0xa, ne       // fails: the flags are the immediate
    mrs x0, nzcv
    bl expect
    .quad 0xa0000000
    cmp x1, #2
    csinc x0, x1, x1, cs
    bl expect
    .quad 2
    csinv x0, x1, xzr, hi
    bl expect
    .quad 0xffffffffffffffff
    csneg x0, x1, x1, gt
    bl expect
    .quad 0xffffffffffffffff
    b passed

arithmetic_name:
    .asciz "arithmetic, logic and flags"
    .align 2
