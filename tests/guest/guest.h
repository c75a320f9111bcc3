/* SPDX-License-Identifier: MIT */
/* What guest programs and their host have in common. Included by C and assembly. */
#ifndef PV_TESTS_GUEST_GUEST_H
#define PV_TESTS_GUEST_GUEST_H

#define RAM_BASE 0x40000000
#define RAM_SIZE 0x400000
#define STACKS   0x40200000 /* vCPU 0's begins here, 16 KiB each, downwards */

/* The test device. All registers are 64 bits, write-only. */
#define DEVICE        0x09000000
#define DEVICE_DONE   0x00 /* this vCPU's program has passed */
#define DEVICE_FAILED 0x08 /* with this line; ends the test */
#define DEVICE_GOT    0x10
#define DEVICE_WANTED 0x18
/* Bits 7:0 vCPU, 8 FIQ instead of IRQ, 9 level, 31:16 after so many milliseconds. */
#define DEVICE_LINE 0x20
#define DEVICE_MSI  0x28   /* bits 63:32 DeviceID, 31:0 EventID: a message to the ITS */
#define LOST        0xffff /* for a line: an exception outside enter() */

/* The host's PSCI (DEN 0022), by HVC: what every program uses of it. vCPU n has MPIDR n. */
#define PSCI_CPU_OFF 0x84000002
#define PSCI_CPU_ON  0xc4000003 /* X1 vCPU, X2 entry, X3 context */

/* Offsets in struct frame. */
#define FRAME_SP     248
#define FRAME_PSTATE 264
#define FRAME_FAR    280
#define FRAME_VECTOR 288
#define FRAME_SAVED  296

#endif
