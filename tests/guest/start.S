/* SPDX-License-Identifier: MIT */
/*
 * Entry of every vCPU, the vectors, and enter(): run code with the registers of a frame until it
 * takes an exception, any exception, and come back with the registers and the syndrome in the
 * frame. TPIDR_EL1 holds the frame while its code runs and is 0 otherwise; TPIDR_EL0 and
 * TPIDRRO_EL0 are the vectors' scratch.
 */
#include "guest.h"

    .section .text.start, "ax"
    .globl  _start
_start:
    mov     x19, x0
    ldr     x1, =vectors
    msr     vbar_el1, x1
    msr     tpidr_el1, xzr
    ldr     x1, =STACKS
    sub     x1, x1, x19, lsl #14
    mov     sp, x1
    mov     x1, #3 << 20
    msr     cpacr_el1, x1
    isb
    bl      guest_setup
    mov     x0, x19
    bl      guest_main
    ldr     x1, =DEVICE
    str     x19, [x1, #DEVICE_DONE]
power_off:
    ldr     x0, =PSCI_CPU_OFF
    hvc     #0
    b       power_off

    /* void enter(struct frame *frame) */
    .globl  enter
enter:
    stp     x19, x20, [x0, #FRAME_SAVED]
    stp     x21, x22, [x0, #FRAME_SAVED + 16]
    stp     x23, x24, [x0, #FRAME_SAVED + 32]
    stp     x25, x26, [x0, #FRAME_SAVED + 48]
    stp     x27, x28, [x0, #FRAME_SAVED + 64]
    stp     x29, x30, [x0, #FRAME_SAVED + 80]
    mov     x1, sp
    str     x1, [x0, #FRAME_SAVED + 96]
    msr     tpidr_el1, x0
    ldp     x1, x2, [x0, #FRAME_SP]
    msr     sp_el0, x1
    msr     elr_el1, x2
    ldr     x1, [x0, #FRAME_PSTATE]
    msr     spsr_el1, x1
    ldp     x2, x3, [x0, #16]
    ldp     x4, x5, [x0, #32]
    ldp     x6, x7, [x0, #48]
    ldp     x8, x9, [x0, #64]
    ldp     x10, x11, [x0, #80]
    ldp     x12, x13, [x0, #96]
    ldp     x14, x15, [x0, #112]
    ldp     x16, x17, [x0, #128]
    ldp     x18, x19, [x0, #144]
    ldp     x20, x21, [x0, #160]
    ldp     x22, x23, [x0, #176]
    ldp     x24, x25, [x0, #192]
    ldp     x26, x27, [x0, #208]
    ldp     x28, x29, [x0, #224]
    ldr     x30, [x0, #240]
    ldp     x0, x1, [x0]
    eret

trap:
    mrs     x0, tpidr_el1
    cbz     x0, lost
    stp     x2, x3, [x0, #16]
    stp     x4, x5, [x0, #32]
    stp     x6, x7, [x0, #48]
    stp     x8, x9, [x0, #64]
    stp     x10, x11, [x0, #80]
    stp     x12, x13, [x0, #96]
    stp     x14, x15, [x0, #112]
    stp     x16, x17, [x0, #128]
    stp     x18, x19, [x0, #144]
    stp     x20, x21, [x0, #160]
    stp     x22, x23, [x0, #176]
    stp     x24, x25, [x0, #192]
    stp     x26, x27, [x0, #208]
    stp     x28, x29, [x0, #224]
    str     x30, [x0, #240]
    str     x1, [x0, #FRAME_VECTOR]
    mrs     x1, tpidr_el0
    mrs     x2, tpidrro_el0
    stp     x1, x2, [x0]
    mrs     x1, sp_el0
    mrs     x2, elr_el1
    stp     x1, x2, [x0, #FRAME_SP]
    mrs     x1, spsr_el1
    mrs     x2, esr_el1
    stp     x1, x2, [x0, #FRAME_PSTATE]
    mrs     x1, far_el1
    str     x1, [x0, #FRAME_FAR]
    msr     tpidr_el1, xzr
    ldp     x19, x20, [x0, #FRAME_SAVED]
    ldp     x21, x22, [x0, #FRAME_SAVED + 16]
    ldp     x23, x24, [x0, #FRAME_SAVED + 32]
    ldp     x25, x26, [x0, #FRAME_SAVED + 48]
    ldp     x27, x28, [x0, #FRAME_SAVED + 64]
    ldp     x29, x30, [x0, #FRAME_SAVED + 80]
    ldr     x1, [x0, #FRAME_SAVED + 96]
    mov     sp, x1
    ret

    /* An exception that no test asked for. */
lost:
    ldr     x0, =DEVICE
    mrs     x1, esr_el1
    str     x1, [x0, #DEVICE_GOT]
    mrs     x1, elr_el1
    str     x1, [x0, #DEVICE_WANTED]
    mov     x1, #LOST
    str     x1, [x0, #DEVICE_FAILED]
    b       power_off

    .balign 0x800
vectors:
    .set    offset, 0
    .rept   16
    .balign 0x80
    msr     tpidr_el0, x0
    msr     tpidrro_el0, x1
    mov     x1, #offset
    b       trap
    .set    offset, offset + 0x80
    .endr
