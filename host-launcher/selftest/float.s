// Scalar floating point: results, roundings, and the cumulative flags of FPSR.

.equ IOC, 0x1
.equ DZC, 0x2
.equ OFC_IXC, 0x14
.equ UFC_IXC, 0x18
.equ IXC, 0x10
.equ IDC, 0x80

test_float:
    mov x26, x30
    adr x27, float_name
    msr fpcr, xzr
    msr fpsr, xzr
    mov x1, #0x3ff0000000000000
    fmov d1, x1                 // 1
    mov x1, #0x4008000000000000
    fmov d3, x1                 // 3
    fmov d0, xzr                // 0
    mov x1, #0x7fefffffffffffff
    fmov d4, x1                 // the largest
    mov x1, #1
    fmov d5, x1                 // the smallest

    // What each operation raises.
    fadd d2, d1, d3
    fmov x0, d2
    bl expect
    .quad 0x4010000000000000
    mrs x0, fpsr
    bl expect
    .quad 0
    fdiv d2, d1, d3
    fmov x0, d2
    bl expect
    .quad 0x3fd5555555555555
    mrs x0, fpsr
    bl expect
    .quad IXC
    msr fpsr, xzr
    fdiv d2, d1, d0
    fmov x0, d2
    bl expect
    .quad 0x7ff0000000000000
    mrs x0, fpsr
    bl expect
    .quad DZC
    msr fpsr, xzr
    fdiv d6, d0, d0
    fmov x0, d6
    bl expect
    .quad 0x7ff8000000000000    // the default NaN is positive
    mrs x0, fpsr
    bl expect
    .quad IOC
    msr fpsr, xzr
    fadd d2, d4, d4
    fmov x0, d2
    bl expect
    .quad 0x7ff0000000000000
    mrs x0, fpsr
    bl expect
    .quad OFC_IXC
    msr fpsr, xzr
    fmul d2, d5, d5
    fmov x0, d2
    bl expect
    .quad 0
    mrs x0, fpsr
    bl expect
    .quad UFC_IXC
    msr fpsr, xzr

    // Roots and fused products.
    fadd d2, d1, d1
    fsqrt d2, d2
    fmov x0, d2
    bl expect
    .quad 0x3ff6a09e667f3bcd
    msr fpsr, xzr
    fneg d2, d0
    fsqrt d2, d2
    fmov x0, d2
    bl expect
    .quad 0x8000000000000000
    mov x1, #0x3ff0000000000000
    add x1, x1, #1
    fmov d2, x1
    add x1, x1, #1
    fmov d7, x1
    fnmsub d2, d2, d2, d7       // (1 + e)^2 - (1 + 2e)
    fmov x0, d2
    bl expect
    .quad 0x3970000000000000
    mrs x0, fpsr
    bl expect
    .quad 0

    // The directed roundings, and back to nearest.
    mov x1, #0x400000
    msr fpcr, x1                // up
    fdiv d2, d1, d3
    fmov x0, d2
    bl expect
    .quad 0x3fd5555555555556
    mov x1, #0x800000
    msr fpcr, x1                // down
    fneg d7, d3
    fdiv d2, d1, d7
    fmov x0, d2
    bl expect
    .quad 0xbfd5555555555556
    mov x1, #0xc00000
    msr fpcr, x1                // to zero
    fadd d2, d4, d4
    fmov x0, d2
    bl expect
    .quad 0x7fefffffffffffff
    msr fpcr, xzr
    fdiv d2, d1, d3
    fmov x0, d2
    bl expect
    .quad 0x3fd5555555555555

    // Subnormal numbers flushed to zero.
    msr fpsr, xzr
    mov x1, #0x1000000
    msr fpcr, x1
    fadd d2, d5, d5
    fmov x0, d2
    bl expect
    .quad 0
    mrs x0, fpsr
    bl expect
    .quad IDC
    msr fpcr, xzr
    msr fpsr, xzr
    fadd d2, d5, d5
    fmov x0, d2
    bl expect
    .quad 2
    mrs x0, fpsr
    bl expect
    .quad 0

    // NaNs: a signalling one becomes quiet and is noticed, a quiet one passes.
    mov x1, #0x123
    movk x1, #0x7ff0, lsl #48
    fmov d7, x1
    fadd d2, d1, d7
    fmov x0, d2
    bl expect
    .quad 0x7ff8000000000123
    mrs x0, fpsr
    bl expect
    .quad IOC
    msr fpsr, xzr
    fadd d2, d2, d1
    fmov x0, d2
    bl expect
    .quad 0x7ff8000000000123
    fmaxnm d2, d2, d3
    fmov x0, d2
    bl expect
    .quad 0x4008000000000000
    fmin d2, d6, d3
    fmov x0, d2
    bl expect
    .quad 0x7ff8000000000000
    fcmp d6, d1
    mrs x0, nzcv
    bl expect
    .quad 0x30000000
    mrs x0, fpsr
    bl expect
    .quad 0
    fcmpe d6, d1
    mrs x0, fpsr
    bl expect
    .quad IOC
    msr fpsr, xzr
    fcmp d1, d3
    mrs x0, nzcv
    bl expect
    .quad 0x80000000
    fneg d2, d0
    fcmp d2, #0.0
    mrs x0, nzcv
    bl expect
    .quad 0x60000000
    fcsel d2, d1, d3, eq
    fmov x0, d2
    bl expect
    .quad 0x3ff0000000000000

    // Conversions: rounded, and saturated where the integer is too small.
    mov x1, #0xc004000000000000
    fmov d7, x1                 // -2.5
    fcvtzs x0, d7
    bl expect
    .quad 0xfffffffffffffffe
    fcvtns w0, d7
    bl expect
    .quad 0xfffffffe
    fcvtas x0, d7
    bl expect
    .quad 0xfffffffffffffffd
    fcvtms x0, d7
    bl expect
    .quad 0xfffffffffffffffd
    fcvtps x0, d7
    bl expect
    .quad 0xfffffffffffffffe
    mrs x0, fpsr
    bl expect
    .quad IXC
    msr fpsr, xzr
    fcvtzu x0, d7
    bl expect
    .quad 0
    mrs x0, fpsr
    bl expect
    .quad IOC
    fcvtzs w0, d4
    bl expect
    .quad 0x7fffffff
    fcvtzs x0, d6
    bl expect
    .quad 0
    msr fpsr, xzr
    mov x1, #-1
    ucvtf d2, x1
    fmov x0, d2
    bl expect
    .quad 0x43f0000000000000
    scvtf s2, w1
    fmov w0, s2
    bl expect
    .quad 0xbf800000
    scvtf d2, x1, #3            // fixed point: -1/8
    fmov x0, d2
    bl expect
    .quad 0xbfc0000000000000
    fdiv d2, d1, d3
    fcvt s2, d2
    fmov w0, s2
    bl expect
    .quad 0x3eaaaaab
    fcvt h2, s2
    fmov w1, s2
    and x0, x1, #0xffff
    bl expect
    .quad 0x3555
    frintn d2, d7
    fmov x0, d2
    bl expect
    .quad 0xc000000000000000
    frinta d2, d7
    fmov x0, d2
    bl expect
    .quad 0xc008000000000000
    msr fpsr, xzr
    b passed

float_name:
    .asciz "scalar floating point"
    .align 2
