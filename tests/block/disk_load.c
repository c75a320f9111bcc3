/* SPDX-License-Identifier: MIT */
/*
 * As many transfers as there are to be, so many at once, through the block layer: for
 * bench/disk.py, which compares with `qemu-img bench`.
 *
 *     disk_load IMAGE read|write BLOCK DEPTH COUNT
 *
 * One behind the other, from the disk's beginning again at its end. Prints the seconds it took.
 */
#include "base/error.h"
#include "base/util.h"
#include "block/block.h"
#include "host/clock.h"
#include "host/loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MOST_DEPTH 256u

struct load {
    struct pv_loop *loop;
    struct pv_block *block;
    enum pv_block_op op;
    size_t size;
    uint64_t left, under_way, next;
    int worst;
};

struct transfer {
    struct pv_block_request request;
    struct load *load;
    struct iovec iov;
};

static void begin(struct transfer *transfer)
{
    struct load *load = transfer->load;

    if (load->next + load->size > pv_block_size(load->block))
        load->next = 0;
    transfer->request.offset = load->next;
    load->next += load->size;
    load->left--;
    load->under_way++;
    pv_block_submit(load->block, &transfer->request);
}

static void done(struct pv_block_request *request, int result)
{
    struct transfer *transfer = (struct transfer *)request;
    struct load *load = transfer->load;

    load->worst = PV_MIN(load->worst, result);
    load->under_way--;
    if (load->left)
        begin(transfer);
    else if (!load->under_way)
        pv_loop_stop(load->loop);
}

static int run(struct load *load, const char *path, unsigned depth, struct pv_error **err)
{
    static struct transfer transfers[MOST_DEPTH];
    PV_CLEANUP_FREE char *memory = aligned_alloc(4096, load->size * depth);
    int ret = memory ? pv_loop_create(&load->loop, err) : pv_error_set(err, ENOMEM, "no memory");

    if (ret >= 0)
        ret = pv_block_open(&load->block, load->loop, path, NULL, err);
    if (ret < 0)
        return ret;
    memset(memory, 0x5a, load->size * depth);
    const uint64_t start = pv_clock_ns();
    for (unsigned i = 0; i < depth && load->left; i++) {
        struct transfer *transfer = &transfers[i];
        *transfer = (struct transfer){.load = load, .iov = {memory + i * load->size, load->size}};
        transfer->request = (struct pv_block_request){.op = load->op,
                                                      .length = load->size,
                                                      .iov = &transfer->iov,
                                                      .iov_count = 1,
                                                      .done = done};
        begin(transfer);
    }
    ret = pv_loop_run(load->loop, err);
    if (ret >= 0 && load->worst < 0)
        ret = pv_error_errno(err, -load->worst, "a transfer");
    if (ret >= 0)
        printf("%.4f\n", (double)(pv_clock_ns() - start) / PV_NSEC_PER_SEC);
    pv_block_close(load->block);
    pv_loop_destroy(load->loop);
    return ret;
}

int main(int argc, char **argv)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;

    if (argc != 6)
        return 2;
    struct load load = {
        .op = strcmp(argv[2], "write") ? PV_BLOCK_READ : PV_BLOCK_WRITE,
        .size = strtoul(argv[3], NULL, 0),
        .left = strtoull(argv[5], NULL, 0),
    };
    const unsigned long depth = strtoul(argv[4], NULL, 0);
    if (!load.size || load.size % 4096 || !depth || depth > MOST_DEPTH || !load.left)
        return 2;
    if (run(&load, argv[1], (unsigned)depth, &err) < 0) {
        fprintf(stderr, "disk_load: %s\n", pv_error_message(err));
        return 1;
    }
    return 0;
}
