/* SPDX-License-Identifier: MIT */
/* Files that a person hands over: kernels in each format, and variable stores. */
#include "base/error.h"
#include "base/log.h"
#include "fuzz.h"
#include "machine/loader.h"
#include "machine/varstore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    uint8_t head[PV_VARSTORE_HEAD] = {0};
    struct pv_boot_layout layout;
    struct pv_kernel kernel;

    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
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
