/* SPDX-License-Identifier: MIT */
/* Accesses of any size to a flash bank, as a guest could make them; reads mix with commands. */
#include "base/log.h"
#include "fuzz.h"
#include "machine/flash.h"
#include "memory/address_space.h"

#define BANK (4 * PV_FLASH_SECTOR)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct pv_address_space *as;
    struct pv_flash *flash;

    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
    FUZZ_REQUIRE(pv_as_create(&as, NULL) == 0);
    FUZZ_REQUIRE(pv_flash_create(&flash, as, 0, BANK, size & 1, "flash", NULL) == 0);
    while (input.size) {
        unsigned what = (unsigned)fuzz_take(&input, 1);
        unsigned bytes = 1u << (what >> 1 & 3);
        uint64_t address = fuzz_take(&input, 3) % BANK, value = fuzz_take(&input, 2);
        if (what & 1)
            pv_as_cpu_read(as, address, bytes, &value);
        else
            pv_as_cpu_write(as, address, bytes, value);
    }
    pv_flash_destroy(flash);
    pv_as_destroy(as);
    return 0;
}
