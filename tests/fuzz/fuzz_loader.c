/* SPDX-License-Identifier: MIT */
/* Files that a person hands over: kernels in each format, variable stores, device trees. */
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "fuzz.h"
#include "machine/fdt.h"
#include "machine/loader.h"
#include "machine/varstore.h"

#include <libfdt.h>
#include <stdlib.h>

/* What comes of a hostile tree is a whole one, or an error. */
static void adopt(const uint8_t *data, size_t size)
{
    const uint8_t seed[PV_FDT_SEED_SIZE] = {0};
    const struct pv_fdt_config config = {
        .ram_size = UINT64_C(1) << 30,
        .bootargs = "quiet",
        .initrd_start = 1 << 30,
        .initrd_size = 1 << 20,
        .seed = seed,
    };
    const size_t room = size + 1024;
    PV_CLEANUP_FREE uint8_t *buf = malloc(room);
    PV_CLEANUP_FREE uint8_t *blob = malloc(size + !size); /* aligned, as malloc's are */

    FUZZ_REQUIRE(buf && blob);
    memcpy(blob, data, size);
    if (pv_fdt_adopt(buf, room, blob, size, &config, NULL) == 0)
        FUZZ_REQUIRE(fdt_check_full(buf, room) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    uint8_t head[PV_VARSTORE_HEAD] = {0};
    struct pv_boot_layout layout;
    struct pv_kernel kernel;

    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
    adopt(data, size);
    memcpy(head, data, size < sizeof(head) ? size : sizeof(head));
    if (pv_varstore_check(head, sizeof(head), "input", &err) < 0)
        pv_error_free(&err);
    if (pv_kernel_parse(&kernel, data, size, "input", &err) < 0)
        return 0;
    if (pv_loader_place(&layout, 0, UINT64_C(1) << 30, &kernel, size, NULL) == 0)
        FUZZ_REQUIRE(layout.kernel + kernel.size <= UINT64_C(1) << 30);
    pv_kernel_finish(&kernel);
    return 0;
}
