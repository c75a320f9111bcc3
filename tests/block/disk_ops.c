/* SPDX-License-Identifier: MIT */
/*
 * Random requests on an image, checked against a copy of its contents in a plain file.
 *
 *     disk_ops IMAGE MODEL SEED COUNT
 *
 * Two threads work on the two halves of the disk, so that they meet in tables and refcounts. MODEL,
 * of the image's size, is what the image has to read as before, and is brought up to date. Exits
 * with 1 and says where when a read differs.
 */
#include "base/error.h"
#include "base/util.h"
#include "block/image.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define MOST (256u * 1024)

struct half {
    struct pv_block_image *image;
    uint8_t *model;
    uint64_t start, size;
    uint64_t random;
    unsigned count;
    bool failed;
};

static uint64_t next(struct half *h)
{
    h->random ^= h->random << 13;
    h->random ^= h->random >> 7;
    h->random ^= h->random << 17;
    return h->random;
}

static uint64_t length(struct half *h, uint64_t offset)
{
    static const unsigned bits[] = {9, 12, 14, 16, 18};
    uint64_t len = 1 + next(h) % (1u << bits[next(h) % PV_ARRAY_SIZE(bits)]);
    if (next(h) % 2)
        len = pv_align_up(len, 512);
    return PV_MIN(PV_MIN(len, (uint64_t)MOST), h->start + h->size - offset);
}

static int compare(struct half *h, const uint8_t *got, uint64_t offset, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++) {
        if (got[i] != h->model[offset + i]) {
            fprintf(stderr, "differs at %llu: %02x, want %02x\n", (unsigned long long)(offset + i),
                    got[i], h->model[offset + i]);
            return -EIO;
        }
    }
    return 0;
}

/* Three pieces, the second of which is odd. */
static int transfer(struct half *h, bool write, uint8_t *data, uint64_t offset, uint64_t len)
{
    const uint64_t a = len / 3, b = a + (len - a) / 2;
    const struct iovec iov[] = {{data, a}, {data + a, b - a}, {data + b, len - b}};
    return write ? h->image->ops->write(h->image, iov, 3, offset)
                 : h->image->ops->read(h->image, iov, 3, offset);
}

static int one(struct half *h, uint8_t *data)
{
    uint64_t offset = h->start + next(h) % h->size;
    if (next(h) % 4)
        offset = PV_MAX(pv_align_down(offset, 4096), h->start);
    const uint64_t len = length(h, offset);
    int ret = 0;
    switch (next(h) % 16) {
    case 0: return h->image->ops->flush(h->image);
    case 1:
    case 2:
        ret = h->image->ops->zero(h->image, offset, len, next(h) % 2);
        memset(h->model + offset, 0, len);
        return ret;
    case 3:
        /* Its contents are not defined afterwards, so they are given some. */
        ret = h->image->ops->discard(h->image, offset, len);
        if (ret < 0)
            return ret;
        ret = pv_block_image_read(h->image, h->model + offset, len, offset);
        return ret;
    case 4:
    case 5:
    case 6:
    case 7:
        ret = transfer(h, false, data, offset, len);
        return ret < 0 ? ret : compare(h, data, offset, len);
    default:
        memset(data, (int)next(h), len);
        for (uint64_t i = 0; i < len; i += 64)
            data[i] = (uint8_t)next(h);
        memcpy(h->model + offset, data, len);
        return transfer(h, true, data, offset, len);
    }
}

static void *work(void *opaque)
{
    struct half *h = opaque;
    uint8_t *data = malloc(MOST);
    for (unsigned i = 0; i < h->count && !h->failed; i++) {
        int ret = one(h, data);
        if (ret < 0)
            fprintf(stderr, "request %u: %s\n", i, strerror(-ret));
        h->failed = ret < 0;
    }
    free(data);
    return NULL;
}

int main(int argc, char **argv)
{
    struct pv_error *err = NULL;
    struct pv_block_image *image;
    if (argc != 5)
        return 2;
    if (pv_block_image_open(&image, argv[1], false, NULL, NULL, &err) < 0) {
        fprintf(stderr, "%s\n", pv_error_message(err));
        return 1;
    }
    PV_CLEANUP_FD int fd = open(argv[2], O_RDWR);
    uint8_t *model = mmap(NULL, image->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (model == MAP_FAILED)
        return 2;
    struct half halves[2];
    pthread_t threads[2];
    /* Not on a cluster's boundary: the threads share one. */
    const uint64_t middle = image->size / 2 + 512 * 3;
    for (unsigned i = 0; i < 2; i++) {
        halves[i] = (struct half){
            .image = image,
            .model = model,
            .start = i ? middle : 0,
            .size = i ? image->size - middle : middle,
            .random = strtoull(argv[3], NULL, 0) * 2 + i + 1,
            .count = (unsigned)strtoul(argv[4], NULL, 0),
        };
        for (unsigned j = 0; j < 16; j++)
            next(&halves[i]);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, work, &halves[i]);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    bool failed = halves[0].failed || halves[1].failed;
    uint8_t *all = malloc(MOST);
    for (uint64_t at = 0; at < image->size && !failed; at += MOST) {
        const uint64_t len = PV_MIN((uint64_t)MOST, image->size - at);
        failed =
            pv_block_image_read(image, all, len, at) < 0 || compare(&halves[0], all, at, len) < 0;
    }
    free(all);
    pv_block_image_close(image);
    munmap(model, 0);
    return failed;
}
