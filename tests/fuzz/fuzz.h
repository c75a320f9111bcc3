/* SPDX-License-Identifier: MIT */
#ifndef PV_TESTS_FUZZ_H
#define PV_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A target: must not crash, hang, leak, or touch what is not its own, whatever it is given. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input; reads beyond its end are zeroes. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

static inline uint64_t fuzz_take(struct fuzz_input *input, unsigned bytes)
{
    uint64_t value = 0;
    size_t n = bytes < input->size ? bytes : input->size;
    if (n)
        memcpy(&value, input->data, n);
    input->data += n;
    input->size -= n;
    return value;
}

/* A setup step that has no business failing. */
#define FUZZ_REQUIRE(condition)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

#endif
