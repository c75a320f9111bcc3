/* SPDX-License-Identifier: MIT */
/*
 * The tree is written front to back with libfdt's sequential writer. It remembers the first error
 * by itself if we let it: w->ret is that error, and every helper does nothing once it is set, so
 * nodes read as plain lists.
 */
#include "machine/fdt.h"

#include "base/error.h"
#include "base/util.h"
#include "machine/map.h"

#include <errno.h>
#include <libfdt.h>
#include <stdarg.h>
#include <string.h>

enum {
    PHANDLE_GIC = 1,
    PHANDLE_MSI,
    PHANDLE_CLOCK,
    PHANDLE_GPIO,
};

/* Interrupt cells (arm,gic-v3 binding). */
enum { SPI, PPI };
enum { EDGE_RISING = 1, LEVEL_HIGH = 4 };

#define KEY_POWER 116

struct writer {
    void *buf;
    int ret;
};

static void begin(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void begin(struct writer *w, const char *fmt, ...)
{
    char name[64];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    if (!w->ret)
        w->ret = fdt_begin_node(w->buf, name);
}

static void end(struct writer *w)
{
    if (!w->ret)
        w->ret = fdt_end_node(w->buf);
}

static void prop(struct writer *w, const char *name, const void *data, size_t size)
{
    if (!w->ret)
        w->ret = fdt_property(w->buf, name, data, (int)size);
}

static void flag(struct writer *w, const char *name)
{
    prop(w, name, NULL, 0);
}

static void text(struct writer *w, const char *name, const char *value)
{
    prop(w, name, value, strlen(value) + 1);
}

#define MAX_CELLS 512u

static void cells_array(struct writer *w, const char *name, const uint32_t *cells, size_t count)
{
    fdt32_t big[MAX_CELLS];

    for (size_t i = 0; i < count; i++)
        big[i] = cpu_to_fdt32(cells[i]);
    prop(w, name, big, count * sizeof(big[0]));
}

#define cells(w, name, ...)                                                                        \
    cells_array(w, name, (const uint32_t[]){__VA_ARGS__},                                          \
                sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* A 64-bit number as two cells, high first. */
#define HI(v)   ((uint32_t)((uint64_t)(v) >> 32))
#define LO(v)   ((uint32_t)(v))
#define WIDE(v) HI(v), LO(v)

static void write_chosen(struct writer *w, const struct pv_fdt_config *config)
{
    begin(w, "chosen");
    prop(w, "kaslr-seed", config->seed, 8);
    prop(w, "rng-seed", config->seed + 8, PV_FDT_SEED_SIZE - 8);
    text(w, "stdout-path", "/pl011@9000000");
    if (config->bootargs)
        text(w, "bootargs", config->bootargs);
    if (config->initrd_size) {
        cells(w, "linux,initrd-start", WIDE(config->initrd_start));
        cells(w, "linux,initrd-end", WIDE(config->initrd_start + config->initrd_size));
    }
    end(w);
}

static void write_cpus(struct writer *w, const struct pv_fdt_config *config)
{
    begin(w, "cpus");
    cells(w, "#address-cells", 1);
    cells(w, "#size-cells", 0);
    for (unsigned i = 0; i < config->vcpus; i++) {
        uint32_t affinity = (uint32_t)config->mpidr[i] & 0xffffff;
        begin(w, "cpu@%x", affinity);
        text(w, "device_type", "cpu");
        text(w, "compatible", "arm,armv8");
        text(w, "enable-method", "psci");
        cells(w, "reg", affinity);
        end(w);
    }
    end(w);
}

static void write_psci(struct writer *w)
{
    static const char compatible[] = "arm,psci-1.0\0arm,psci-0.2\0arm,psci";

    begin(w, "psci");
    prop(w, "compatible", compatible, sizeof(compatible));
    text(w, "method", "hvc");
    /* Only "arm,psci" (0.1) has no fixed numbers. */
    cells(w, "cpu_suspend", 0xc4000001);
    cells(w, "cpu_off", 0x84000002);
    cells(w, "cpu_on", 0xc4000003);
    end(w);
}

static void write_timer(struct writer *w)
{
    static const char compatible[] = "arm,armv8-timer\0arm,armv7-timer";

    begin(w, "timer");
    prop(w, "compatible", compatible, sizeof(compatible));
    flag(w, "always-on");
    /* Secure, physical, virtual, hypervisor: as PPI numbers. */
    cells(w, "interrupts", PPI, 13, LEVEL_HIGH, PPI, PV_INTID_TIMER_PHYS - 16, LEVEL_HIGH, PPI,
          PV_INTID_TIMER_VIRT - 16, LEVEL_HIGH, PPI, 10, LEVEL_HIGH);
    end(w);
}

static void write_gic(struct writer *w, const struct pv_fdt_config *config)
{
    begin(w, "intc@8000000");
    text(w, "compatible", "arm,gic-v3");
    flag(w, "interrupt-controller");
    cells(w, "#interrupt-cells", 3);
    cells(w, "#redistributor-regions", 1);
    cells(w, "#address-cells", 2);
    cells(w, "#size-cells", 2);
    flag(w, "ranges");
    cells(w, "reg", WIDE(PV_MAP_GICD), WIDE(PV_MAP_GICD_SIZE), WIDE(PV_MAP_GICR),
          WIDE(PV_MAP_GICR_SIZE));
    cells(w, "phandle", PHANDLE_GIC);
    if (config->its) {
        begin(w, "its@8080000");
        text(w, "compatible", "arm,gic-v3-its");
        cells(w, "#msi-cells", 1);
        cells(w, "reg", WIDE(PV_MAP_ITS), WIDE(PV_MAP_ITS_SIZE));
    } else {
        begin(w, "v2m@8020000");
        text(w, "compatible", "arm,gic-v2m-frame");
        cells(w, "reg", WIDE(PV_MAP_V2M), WIDE(PV_MAP_V2M_SIZE));
    }
    flag(w, "msi-controller");
    cells(w, "phandle", PHANDLE_MSI);
    end(w);
    end(w);
}

/* `extra` is the compatible string before "arm,primecell". */
static void begin_primecell(struct writer *w, const char *name, uint64_t address, uint32_t intid,
                            const char *extra)
{
    static const char primecell[] = "arm,primecell";
    char compatible[64];
    size_t len = strlen(extra) + 1;

    memcpy(compatible, extra, len);
    memcpy(compatible + len, primecell, sizeof(primecell));
    begin(w, "%s@%llx", name, (unsigned long long)address);
    prop(w, "compatible", compatible, len + sizeof(primecell));
    cells(w, "reg", WIDE(address), WIDE(PV_MAP_PL_SIZE));
    cells(w, "interrupts", SPI, intid - PV_INTID_SPI, LEVEL_HIGH);
}

static void write_primecells(struct writer *w)
{
    static const char uart_clocks[] = "uartclk\0apb_pclk";

    begin(w, "apb-pclk");
    text(w, "compatible", "fixed-clock");
    cells(w, "#clock-cells", 0);
    cells(w, "clock-frequency", 24000000);
    text(w, "clock-output-names", "clk24mhz");
    cells(w, "phandle", PHANDLE_CLOCK);
    end(w);

    begin_primecell(w, "pl011", PV_MAP_UART, PV_INTID_UART, "arm,pl011");
    cells(w, "clocks", PHANDLE_CLOCK, PHANDLE_CLOCK);
    prop(w, "clock-names", uart_clocks, sizeof(uart_clocks));
    end(w);

    begin_primecell(w, "pl031", PV_MAP_RTC, PV_INTID_RTC, "arm,pl031");
    cells(w, "clocks", PHANDLE_CLOCK);
    text(w, "clock-names", "apb_pclk");
    end(w);

    begin_primecell(w, "pl061", PV_MAP_GPIO, PV_INTID_GPIO, "arm,pl061");
    cells(w, "#gpio-cells", 2);
    flag(w, "gpio-controller");
    cells(w, "#interrupt-cells", 2);
    flag(w, "interrupt-controller");
    cells(w, "clocks", PHANDLE_CLOCK);
    text(w, "clock-names", "apb_pclk");
    cells(w, "phandle", PHANDLE_GPIO);
    end(w);

    begin(w, "gpio-keys");
    text(w, "compatible", "gpio-keys");
    begin(w, "poweroff");
    text(w, "label", "GPIO Key Poweroff");
    cells(w, "linux,code", KEY_POWER);
    flag(w, "wakeup-source");
    cells(w, "gpios", PHANDLE_GPIO, PV_GPIO_POWER_LINE, 0);
    end(w);
    end(w);
}

static void write_watchdog(struct writer *w)
{
    begin(w, "watchdog@%llx", (unsigned long long)PV_MAP_WDT_CONTROL);
    text(w, "compatible", "arm,sbsa-gwdt");
    cells(w, "reg", WIDE(PV_MAP_WDT_CONTROL), WIDE(PV_MAP_WDT_SIZE), WIDE(PV_MAP_WDT_REFRESH),
          WIDE(PV_MAP_WDT_SIZE));
    cells(w, "interrupts", SPI, PV_INTID_WDT - PV_INTID_SPI, LEVEL_HIGH);
    end(w);
}

static void write_virtio(struct writer *w)
{
    for (unsigned i = 0; i < PV_VIRTIO_MMIO_SLOTS; i++) {
        uint64_t address = PV_MAP_VIRTIO + i * UINT64_C(0x200);
        begin(w, "virtio_mmio@%llx", (unsigned long long)address);
        text(w, "compatible", "virtio,mmio");
        cells(w, "reg", WIDE(address), WIDE(0x200));
        cells(w, "interrupts", SPI, PV_INTID_VIRTIO + i - PV_INTID_SPI, EDGE_RISING);
        flag(w, "dma-coherent");
        end(w);
    }
}

/* The swizzle of four slots and four pins onto four wires (PCI to PCI bridge spec, 9.1). */
static void write_interrupt_map(struct writer *w)
{
    uint32_t map[4 * 4 * 10];
    size_t n = 0;

    for (uint32_t slot = 0; slot < 4; slot++) {
        for (uint32_t pin = 1; pin <= 4; pin++) {
            uint32_t spi = PV_INTID_PCI - PV_INTID_SPI + (slot + pin - 1) % 4;
            const uint32_t entry[10] = {slot << 11, 0, 0,   pin, PHANDLE_GIC,
                                        0,          0, SPI, spi, LEVEL_HIGH};
            memcpy(map + n, entry, sizeof(entry));
            n += PV_ARRAY_SIZE(entry);
        }
    }
    cells_array(w, "interrupt-map", map, n);
    cells(w, "interrupt-map-mask", 3 << 11, 0, 0, 7);
}

static void write_pcie(struct writer *w)
{
    /* First cell of a range: the space, in bits 25:24 (IEEE 1275 PCI binding). */
    const uint32_t io = 0x01000000, mem32 = 0x02000000, mem64 = 0x03000000;

    begin(w, "pcie@%llx", (unsigned long long)PV_MAP_ECAM);
    text(w, "compatible", "pci-host-ecam-generic");
    text(w, "device_type", "pci");
    cells(w, "#address-cells", 3);
    cells(w, "#size-cells", 2);
    cells(w, "linux,pci-domain", 0);
    cells(w, "bus-range", 0, (uint32_t)(PV_MAP_ECAM_SIZE / PV_MIB) - 1);
    flag(w, "dma-coherent");
    cells(w, "msi-map", 0, PHANDLE_MSI, 0, 0x10000);
    cells(w, "reg", WIDE(PV_MAP_ECAM), WIDE(PV_MAP_ECAM_SIZE));
    cells(w, "ranges", io, WIDE(0), WIDE(PV_MAP_PCI_IO), WIDE(PV_MAP_PCI_IO_SIZE), mem32,
          WIDE(PV_MAP_PCI_MEM32), WIDE(PV_MAP_PCI_MEM32), WIDE(PV_MAP_PCI_MEM32_SIZE), mem64,
          WIDE(PV_MAP_PCI_MEM64), WIDE(PV_MAP_PCI_MEM64), WIDE(PV_MAP_PCI_MEM64_SIZE));
    cells(w, "#interrupt-cells", 1);
    write_interrupt_map(w);
    end(w);
}

static void write_firmware(struct writer *w)
{
    begin(w, "flash@%llx", (unsigned long long)PV_MAP_FLASH);
    text(w, "compatible", "cfi-flash");
    cells(w, "reg", WIDE(PV_MAP_FLASH), WIDE(PV_MAP_FLASH_BANK),
          WIDE(PV_MAP_FLASH + PV_MAP_FLASH_BANK), WIDE(PV_MAP_FLASH_BANK));
    cells(w, "bank-width", 4);
    end(w);
    begin(w, "fw-cfg@%llx", (unsigned long long)PV_MAP_FWCFG);
    text(w, "compatible", "qemu,fw-cfg-mmio");
    cells(w, "reg", WIDE(PV_MAP_FWCFG), WIDE(PV_MAP_FWCFG_SIZE));
    flag(w, "dma-coherent");
    end(w);
}

int pv_fdt_build(void *buf, size_t size, const struct pv_fdt_config *config, struct pv_error **err)
{
    struct writer w = {.buf = buf};

    w.ret = fdt_create(buf, (int)size);
    if (!w.ret)
        w.ret = fdt_finish_reservemap(buf);
    begin(&w, "%s", "");
    text(&w, "compatible", "linux,dummy-virt");
    text(&w, "model", "linux,dummy-virt");
    cells(&w, "#address-cells", 2);
    cells(&w, "#size-cells", 2);
    cells(&w, "interrupt-parent", PHANDLE_GIC);
    flag(&w, "dma-coherent");
    begin(&w, "aliases");
    text(&w, "serial0", "/pl011@9000000");
    end(&w);
    write_chosen(&w, config);
    begin(&w, "memory@%llx", (unsigned long long)PV_MAP_RAM);
    text(&w, "device_type", "memory");
    cells(&w, "reg", WIDE(PV_MAP_RAM), WIDE(config->ram_size));
    end(&w);
    write_cpus(&w, config);
    write_psci(&w);
    write_timer(&w);
    write_gic(&w, config);
    write_primecells(&w);
    if (config->firmware)
        write_firmware(&w);
    if (config->watchdog)
        write_watchdog(&w);
    write_virtio(&w);
    write_pcie(&w);
    end(&w);
    if (!w.ret)
        w.ret = fdt_finish(buf);
    if (w.ret)
        return pv_error_set(err, w.ret == -FDT_ERR_NOSPACE ? E2BIG : EINVAL, "device tree: %s",
                            fdt_strerror(w.ret));
    return 0;
}
