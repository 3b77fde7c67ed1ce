// Vectors: lanes, saturation, permutation, widening and narrowing, structures in memory, floating point.

test_simd:
    mov x26, x30
    adr x27, simd_name
    msr fpcr, xzr
    msr fpsr, xzr
    adr x6, simd_data
    ldp q1, q2, [x6]            // 00 01 .. 0f, and 80 ff 7f 01 four times

    // Lanes.
    mov v0.16b, v2.16b
    bl expect_vector
    .quad 0x17fff80017fff80, 0x17fff80017fff80
    add v0.16b, v1.16b, v2.16b
    bl expect_vector
    .quad 0x885048404810080, 0x108d0c8c0c890888
    sub v0.4s, v1.4s, v2.4s
    bl expect_vector
    .quad 0x586058401820180, 0xd8e0d8c098a0988
    mul v0.8h, v1.8h, v2.8h
    bl expect_vector
    .quad 0x81fa7e007ffe8000, 0x85f27a0083f67c00
    mul v0.4h, v1.4h, v2.4h
    bl expect_vector
    .quad 0x81fa7e007ffe8000, 0x0
    cmgt v0.16b, v1.16b, v2.16b
    bl expect_vector
    .quad 0xff00ffffff00ffff, 0xff00ffffff00ffff
    cmhi v0.16b, v1.16b, v2.16b
    bl expect_vector
    .quad 0xff000000ff000000, 0xff000000ff000000
    smax v0.8h, v1.8h, v2.8h
    bl expect_vector
    .quad 0x706050403020100, 0xf0e0d0c0b0a0908
    umin v0.16b, v1.16b, v2.16b
    bl expect_vector
    .quad 0x106050401020100, 0x10e0d0c010a0908
    mov v0.16b, v1.16b
    bsl v0.16b, v2.16b, v1.16b
    bl expect_vector
    .quad 0x106050001020100, 0x10e0d00010a0900
    neg v0.2d, v1.2d
    bl expect_vector
    .quad 0xf8f9fafbfcfdff00, 0xf0f1f2f3f4f5f6f8
    cnt v0.16b, v2.16b
    bl expect_vector
    .quad 0x107080101070801, 0x107080101070801

    // Saturation, and the flag that tells of it.
    mrs x0, fpsr
    bl expect
    .quad 0x0
    uqadd v0.16b, v1.16b, v2.16b
    bl expect_vector
    .quad 0x885ff840481ff80, 0x108dff8c0c89ff88
    mrs x0, fpsr
    msr fpsr, xzr
    bl expect
    .quad 0x8000000
    sqsub v0.16b, v2.16b, v1.16b
    bl expect_vector
    .quad 0xfa79fa80fe7dfe80, 0xf271f280f675f680
    mrs x0, fpsr
    msr fpsr, xzr
    bl expect
    .quad 0x8000000
    sqxtn v0.8b, v2.8h
    bl expect_vector
    .quad 0x7f807f807f807f80, 0x0
    sqdmulh v0.8h, v2.8h, v1.8h
    bl expect_vector
    .quad 0x15fffa0008ffff, 0x2dfff20021fff6
    msr fpsr, xzr

    // Shifts.
    shl v0.8h, v1.8h, #3
    bl expect_vector
    .quad 0x3830282018100800, 0x7870686058504840
    sshr v0.16b, v2.16b, #2
    bl expect_vector
    .quad 0x1fffe0001fffe0, 0x1fffe0001fffe0
    ursra v0.16b, v2.16b, #2
    bl expect_vector
    .quad 0x3f3f00003f3f00, 0x3f3f00003f3f00
    ushl v0.16b, v2.16b, v1.16b
    bl expect_vector
    .quad 0x80c0e00008fcfe80, 0x0
    shrn v0.8b, v1.8h, #4
    bl expect_vector
    .quad 0xf0d0b09070503010, 0x0
    shrn2 v0.16b, v2.8h, #8
    bl expect_vector
    .quad 0xf0d0b09070503010, 0x1ff01ff01ff01ff

    // Permutations.
    ext v0.16b, v1.16b, v2.16b, #5
    bl expect_vector
    .quad 0xc0b0a0908070605, 0x80017fff800f0e0d
    zip1 v0.16b, v1.16b, v2.16b
    bl expect_vector
    .quad 0x1037f02ff018000, 0x1077f06ff058004
    zip2 v0.8h, v1.8h, v2.8h
    bl expect_vector
    .quad 0x17f0b0aff800908, 0x17f0f0eff800d0c
    uzp1 v0.16b, v1.16b, v2.16b
    bl expect_vector
    .quad 0xe0c0a0806040200, 0x7f807f807f807f80
    trn2 v0.4s, v1.4s, v2.4s
    bl expect_vector
    .quad 0x17fff8007060504, 0x17fff800f0e0d0c
    rev64 v0.8h, v1.8h
    bl expect_vector
    .quad 0x100030205040706, 0x9080b0a0d0c0f0e
    tbl v0.16b, {v2.16b}, v1.16b
    bl expect_vector
    .quad 0x17fff80017fff80, 0x17fff80017fff80
    movi v3.16b, #0x13
    add v3.16b, v3.16b, v1.16b
    tbl v0.16b, {v1.16b, v2.16b}, v3.16b
    bl expect_vector
    .quad 0x7fff80017fff8001, 0x17fff8001
    dup v0.8h, v2.h[1]
    bl expect_vector
    .quad 0x17f017f017f017f, 0x17f017f017f017f
    mov w1, #0x1234
    mov v0.h[5], w1
    bl expect_vector
    .quad 0x17f017f017f017f, 0x17f017f1234017f
    smov x0, v2.b[1]
    bl expect
    .quad 0xffffffffffffffff
    umov w0, v2.h[2]
    bl expect
    .quad 0xff80

    // Across lanes, wider and narrower.
    addv b3, v1.16b
    umov w0, v3.b[0]
    bl expect
    .quad 0x78
    uaddlv h3, v2.16b
    umov w0, v3.h[0]
    bl expect
    .quad 0x7fc
    sminv b3, v2.16b
    umov w0, v3.b[0]
    bl expect
    .quad 0x80
    umull v0.8h, v1.8b, v2.8b
    bl expect_vector
    .quad 0x300fe00ff0000, 0x702fa04fb0200
    smlal2 v0.8h, v1.16b, v2.16b
    bl expect_vector
    .quad 0xe05f400f6fc00, 0x1609ec04eefc00
    uaddw v0.4s, v1.4s, v2.4h
    bl expect_vector
    .quad 0x706068303030080, 0xf0e0e8b0b0b0888
    addp v0.16b, v1.16b, v2.16b
    bl expect_vector
    .quad 0x1d1915110d090501, 0x807f807f807f807f
    xtn v0.4h, v1.4s
    bl expect_vector
    .quad 0xd0c090805040100, 0x0

    // Structures in memory.
    mov x5, #SCRATCH
    stp q1, q2, [x5]
    stp q2, q1, [x5, #32]
    ld4 {v16.16b-v19.16b}, [x5]
    mov v0.16b, v16.16b
    bl expect_vector
    .quad 0x808080800c080400, 0xc08040080808080
    mov v0.16b, v19.16b
    bl expect_vector
    .quad 0x10101010f0b0703, 0xf0b070301010101
    st2 {v16.8h, v17.8h}, [x5], #32
    ldur q0, [x5, #-16]
    bl expect_vector
    .quad 0xffff8080ffff8080, 0xd090c0805010400
    mov x1, #SCRATCH
    sub x0, x5, x1
    bl expect
    .quad 0x20
    ld1 {v0.b}[3], [x6]
    bl expect_vector
    .quad 0xffff808000ff8080, 0xd090c0805010400
    ld1r {v0.4s}, [x6]
    bl expect_vector
    .quad 0x302010003020100, 0x302010003020100

    // Floating point.
    adr x6, simd_floats
    ldp q4, q5, [x6]
    fadd v0.4s, v4.4s, v5.4s
    bl expect_vector
    .quad 0xbfc0000040600000, 0x40466666509502f9
    fmul v0.4s, v4.4s, v5.4s
    bl expect_vector
    .quad 0xbf80000040400000, 0x3e99999a60ad78ec
    fmla v0.4s, v4.4s, v5.4s
    bl expect_vector
    .quad 0xc000000040c00000, 0x3f19999a612d78ec
    fcmgt v0.4s, v4.4s, v5.4s
    bl expect_vector
    .quad 0x0, 0x0
    fcvtzs v0.4s, v4.4s
    bl expect_vector
    .quad 0xfffffffe00000001, 0x7fffffff
    mrs x0, fpsr
    msr fpsr, xzr
    bl expect
    .quad 0x11
    scvtf v0.2d, v1.2d
    bl expect_vector
    .quad 0x439c1814100c0804, 0x43ae1c1a18161412
    fcvtl v0.2d, v4.2s
    bl expect_vector
    .quad 0x3ff8000000000000, 0xc000000000000000
    faddp v0.4s, v4.4s, v5.4s
    bl expect_vector
    .quad 0x501502f9bf000000, 0x501502f940200000
    fneg v0.2d, v1.2d
    bl expect_vector
    .quad 0x8706050403020100, 0x8f0e0d0c0b0a0908
    msr fpsr, xzr
    b passed

simd_name:
    .asciz "vectors"
    .align 4
simd_data:
    .quad 0x0706050403020100, 0x0f0e0d0c0b0a0908
    .quad 0x017fff80017fff80, 0x017fff80017fff80
simd_floats:
    .word 0x3fc00000, 0xc0000000, 0x501502f9, 0x3dcccccd     // 1.5 -2 1e10 0.1
    .word 0x40000000, 0x3f000000, 0x501502f9, 0x40400000     // 2 0.5 1e10 3
