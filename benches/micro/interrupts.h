/* The interrupt controller (GICv2, Arm IHI 0048) and a handler that acknowledges, counts in x13 and sums numbers up in x12. */
#pragma once
#include "micro.h"

/* With `first` before the end of the interrupt. Changes x10, x11, x14, x15, but not the flags. */
#define INTERRUPT_HANDLER(first)                                                                                              \
    __asm__(".globl el1_irq\n"                                                                                                \
            "el1_irq:\n"                                                                                                      \
            "    mov x10, #0x08010000\n"                                                                                      \
            "    ldr w11, [x10, #0xc]\n"                                                                                      \
            first                                                                                                             \
            "    and x14, x11, #0x3ff\n"                                                                                      \
            "    add x12, x12, x14\n"                                                                                         \
            "    add x13, x13, #1\n"                                                                                          \
            "    str w11, [x10, #0x10]\n"                                                                                     \
            "    eret\n");

/* Interrupts 0 to 31 of the mask reach the processor. */
static void enable_interrupts(uint32_t mask) {
    write32(GIC_DISTRIBUTOR, 1);
    write32(GIC_DISTRIBUTOR + 0x100, mask);
    write32(GIC_CPU + 4, 0xff);
    write32(GIC_CPU, 1);
    __asm__ volatile("dsb sy\n isb\n msr daifclr, #2" : : : "memory");
}
