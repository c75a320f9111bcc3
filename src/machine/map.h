/* SPDX-License-Identifier: MIT */
/*
 * Where things are: the address map and interrupt numbers of QEMU's ARM `virt` board, so that
 * firmware and guests made for it run here. docs/internals/machine.md has the same as a table.
 */
#ifndef PV_MACHINE_MAP_H
#define PV_MACHINE_MAP_H

#include <stdint.h>

#define PV_MAP_FLASH       UINT64_C(0x00000000) /* two banks: firmware, its variables */
#define PV_MAP_FLASH_BANK  UINT64_C(0x04000000)
#define PV_MAP_GICD        UINT64_C(0x08000000)
#define PV_MAP_GICD_SIZE   UINT64_C(0x00010000)
#define PV_MAP_V2M         UINT64_C(0x08020000)
#define PV_MAP_V2M_SIZE    UINT64_C(0x00001000)
#define PV_MAP_ITS         UINT64_C(0x08080000)
#define PV_MAP_ITS_SIZE    UINT64_C(0x00020000) /* control and translation frame, 64 KiB each */
#define PV_MAP_GICR        UINT64_C(0x080a0000)
#define PV_MAP_GICR_STRIDE UINT64_C(0x00020000) /* two 64 KiB frames a vCPU: RD and SGI */
#define PV_MAP_GICR_SIZE   UINT64_C(0x00f60000) /* what the device tree says: 123 vCPUs */
#define PV_MAP_UART        UINT64_C(0x09000000)
#define PV_MAP_RTC         UINT64_C(0x09010000)
#define PV_MAP_FWCFG       UINT64_C(0x09020000)
#define PV_MAP_FWCFG_SIZE  UINT64_C(0x00000018) /* what the device tree says */
#define PV_MAP_GPIO        UINT64_C(0x09030000)
#define PV_MAP_WDT_REFRESH UINT64_C(0x090e0000) /* ours: QEMU's board has no such watchdog */
#define PV_MAP_WDT_CONTROL UINT64_C(0x090f0000)
#define PV_MAP_WDT_SIZE    UINT64_C(0x00001000)
#define PV_MAP_PL_SIZE     UINT64_C(0x00001000) /* a PrimeCell's registers */
#define PV_MAP_VIRTIO      UINT64_C(0x0a000000)
#define PV_MAP_PCI_MEM32   UINT64_C(0x10000000)
#define PV_MAP_PCI_IO      UINT64_C(0x3eff0000)
#define PV_MAP_PCI_IO_SIZE UINT64_C(0x00010000)
#define PV_MAP_RAM         UINT64_C(0x40000000)

#define PV_MAP_PCI_MEM32_SIZE (PV_MAP_PCI_IO - PV_MAP_PCI_MEM32)

/*
 * The high block holds a second redistributor region (unused here), then ECAM; it starts at
 * 256 GiB, so RAM ends there at the latest. 256 buses of 1 MiB.
 */
#define PV_MAP_HIGH           UINT64_C(0x4000000000)
#define PV_MAP_ECAM           UINT64_C(0x4010000000)
#define PV_MAP_ECAM_SIZE      UINT64_C(0x0010000000)
#define PV_MAP_PCI_MEM64      UINT64_C(0x8000000000)
#define PV_MAP_PCI_MEM64_SIZE UINT64_C(0x8000000000)

#define PV_VIRTIO_MMIO_SLOTS 32u

/* INTIDs (SPI number + 32). */
#define PV_INTID_TIMER_VIRT 27u
#define PV_INTID_TIMER_PHYS 30u
#define PV_INTID_SPI        32u
#define PV_INTID_UART       (PV_INTID_SPI + 1)
#define PV_INTID_RTC        (PV_INTID_SPI + 2)
#define PV_INTID_PCI        (PV_INTID_SPI + 3) /* four wires */
#define PV_INTID_GPIO       (PV_INTID_SPI + 7)
#define PV_INTID_WDT        (PV_INTID_SPI + 15)
#define PV_INTID_VIRTIO     (PV_INTID_SPI + 16) /* 32 slots */
#define PV_INTID_V2M        (PV_INTID_SPI + 80) /* message-signalled, to the end */
#define PV_GIC_SPIS         256u
#define PV_INTID_END        (PV_INTID_SPI + PV_GIC_SPIS)
#define PV_V2M_SPIS         (PV_INTID_END - PV_INTID_V2M)
#define PV_V2M_SETSPI_NS    0x040u
/* LPIs: INTIDs of 16 bits, from where the architecture starts them. */
#define PV_INTID_LPI       8192u
#define PV_INTID_LPI_END   65536u
#define PV_LPIS            (PV_INTID_LPI_END - PV_INTID_LPI)
#define PV_TIMER_FREQUENCY UINT64_C(62500000)
#define PV_GPIO_POWER_LINE 3u
#define PV_PCI_HOST_VENDOR 0x1b36u
#define PV_PCI_HOST_DEVICE 0x0008u

#endif
