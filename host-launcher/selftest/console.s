// Output through the PL011, and what a check is.

// Prints the text at x0. Changes x0 to x2.
print:
    mov x1, #UART
print_next:
    ldrb w2, [x0], #1
    cbz w2, print_end
    str w2, [x1]
    b print_next
print_end:
    ret

// Prints x0, below 10000, in decimal. Changes x0 to x4.
print_decimal:
    mov x1, #UART
    mov x3, #1000
    mov x4, #10
decimal_skip:
    cmp x0, x3
    b.cs decimal_digit
    udiv x3, x3, x4
    cmp x3, #1
    b.hi decimal_skip
decimal_digit:
    udiv x2, x0, x3
    msub x0, x2, x3, x0
    add w2, w2, #48
    str w2, [x1]
    udiv x3, x3, x4
    cbnz x3, decimal_digit
    ret

// Prints x0 in hexadecimal. Changes x0 to x4.
print_hex:
    mov x1, #UART
    mov x3, #60
hex_digit:
    lsr x2, x0, x3
    and x2, x2, #0xf
    cmp x2, #10
    add x4, x2, #87
    add x2, x2, #48
    csel x2, x2, x4, cc
    str w2, [x1]
    subs x3, x3, #4
    b.pl hex_digit
    ret

// A check: x0 must be the doubleword behind the call. Changes x16, x17 and the flags.
expect:
    add x28, x28, #1
    ldp w16, w17, [x30], #8
    orr x16, x16, x17, lsl #32
    cmp x0, x16
    b.ne mismatch
    ret

// The same for v0 and two doublewords, the lower one first.
expect_vector:
    add x28, x28, #1
    ldp w16, w17, [x30], #8
    orr x16, x16, x17, lsl #32
    umov x0, v0.d[0]
    cmp x0, x16
    b.ne mismatch
    ldp w16, w17, [x30], #8
    orr x16, x16, x17, lsl #32
    umov x0, v0.d[1]
    cmp x0, x16
    b.ne mismatch
    ret

// Says that x0 should have been x16, and ends the run.
mismatch:
    mov x18, x0
    bl print_failed
    adr x0, is_text
    bl print
    mov x0, x18
    bl print_hex
    adr x0, not_text
    bl print
    mov x0, x16
    bl print_hex
    adr x0, newline_text
    bl print
    b power_off

// Says which check of which test failed.
print_failed:
    mov x19, x30
    adr x0, failed_text
    bl print
    mov x0, x27
    bl print
    adr x0, check_text
    bl print
    mov x0, x28
    bl print_decimal
    mov x30, x19
    ret

// The end of a test all of whose checks were right.
passed:
    mov x0, x27
    bl print
    adr x0, colon_text
    bl print
    mov x0, x28
    bl print_decimal
    adr x0, right_text
    bl print
    mov x28, #0
    ret x26

failed_text:
    .asciz "Self-test failed: "
check_text:
    .asciz ", check "
is_text:
    .asciz ": is 0x"
not_text:
    .asciz ", should be 0x"
newline_text:
    .asciz "\n"
colon_text:
    .asciz ": "
right_text:
    .asciz " checks passed\n"
    .align 2
