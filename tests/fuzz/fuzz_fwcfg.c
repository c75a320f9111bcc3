/* SPDX-License-Identifier: MIT */
/* Accesses to fw_cfg's registers, and DMA descriptors with whatever in them. */
#include "base/log.h"
#include "fuzz.h"
#include "machine/fwcfg.h"
#include "memory/address_space.h"

#include <endian.h>

#define REGISTERS UINT64_C(0x09020000)
#define RAM       UINT64_C(0x40000000)
#define RAM_SIZE  UINT64_C(0x4000)

static void access_once(struct pv_address_space *as, struct fuzz_input *input)
{
    unsigned what = (unsigned)fuzz_take(input, 1);
    unsigned size = 1u << (what >> 2 & 3);
    uint64_t value = 0;

    switch (what & 3) {
    case 0: pv_as_cpu_read(as, REGISTERS + fuzz_take(input, 1) % 32, size, &value); break;
    case 1:
        value = fuzz_take(input, size);
        pv_as_cpu_write(as, REGISTERS + fuzz_take(input, 1) % 32, size, value);
        break;
    default: {
        const uint32_t head[2] = {htobe32((uint32_t)fuzz_take(input, 4)),
                                  htobe32((uint32_t)fuzz_take(input, 4))};
        const uint64_t address =
            htobe64(RAM + (what & 16 ? fuzz_take(input, 8) : fuzz_take(input, 2)));
        FUZZ_REQUIRE(pv_as_write(as, RAM, head, sizeof(head)) == 0);
        FUZZ_REQUIRE(pv_as_write(as, RAM + 8, &address, sizeof(address)) == 0);
        pv_as_cpu_write(as, REGISTERS + 0x10, 8, htobe64(RAM));
        break;
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct pv_address_space *as;
    struct pv_fwcfg *fwcfg;

    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
    FUZZ_REQUIRE(pv_as_create(&as, NULL) == 0);
    FUZZ_REQUIRE(pv_as_add_ram(as, RAM, RAM_SIZE, "ram", NULL) == 0);
    FUZZ_REQUIRE(pv_fwcfg_create(&fwcfg, as, REGISTERS, NULL) == 0);
    FUZZ_REQUIRE(pv_fwcfg_set_file(fwcfg, "opt/file", data, size, NULL) == 0);
    while (input.size)
        access_once(as, &input);
    pv_fwcfg_destroy(fwcfg);
    pv_as_destroy(as);
    return 0;
}
