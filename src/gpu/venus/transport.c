/* SPDX-License-Identifier: MIT */
/* The protocol's own commands: reply streams, nested streams, rings. */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "gpu/venus/context.h"

/* The pages of a stream description that checks out, referenced; else the context is lost. */
static struct pv_gpu_memory *stream_pages(struct pv_vn_stream *stream,
                                          const VkCommandStreamDescriptionMESA *desc)
{
    struct pv_gpu_memory *pages = pv_vn_context_resource(stream->ctx, desc->resourceId);
    if (pages && pv_range_ok(desc->offset, desc->size, pages->mapping.size) &&
        desc->offset % 4 == 0)
        return pages;
    pv_gpu_memory_unref(pages);
    pv_vn_context_lose(stream->ctx, "%s: resource %u has no bytes %zu + %zu", stream->cmd->name,
                       desc->resourceId, desc->offset, desc->size);
    return NULL;
}

/* Rings are run by the control stream only: a ring that destroyed itself could not. */
static bool on_control(struct pv_vn_stream *stream)
{
    if (stream->ring)
        pv_vn_context_lose(stream->ctx, "%s on a ring", stream->cmd->name);
    return !stream->ring;
}

static void no_ring(struct pv_vn_stream *stream, uint64_t ring)
{
    pv_vn_context_lose(stream->ctx, "%s: no ring %llu", stream->cmd->name,
                       (unsigned long long)ring);
}

void pv_vn_do_vkSetReplyCommandStreamMESA(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_vkSetReplyCommandStreamMESA *a = args;
    struct pv_gpu_memory *pages = stream_pages(stream, a->pStream);
    if (!pages)
        return;
    pv_gpu_memory_unref(stream->reply);
    stream->reply = pages;
    stream->reply_start = a->pStream->offset;
    stream->reply_size = a->pStream->size;
    stream->reply_at = 0;
}

void pv_vn_do_vkSeekReplyCommandStreamMESA(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_vkSeekReplyCommandStreamMESA *a = args;
    if (!stream->reply || a->position > stream->reply_size || a->position % 4)
        pv_vn_context_lose(stream->ctx, "%s: position %zu", stream->cmd->name, a->position);
    else
        stream->reply_at = a->position;
}

void pv_vn_do_vkExecuteCommandStreamsMESA(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_vkExecuteCommandStreamsMESA a =
        *(struct pv_vn_vkExecuteCommandStreamsMESA *)args;
    if (stream->nested || a.dependencyCount || a.pReplyPositions) {
        pv_vn_context_lose(stream->ctx, "%s: nested, or with dependencies", stream->cmd->name);
        return;
    }
    if (a.streamCount == 0)
        return; /* and pStreams may be NULL */
    /* The commands inside reuse the arena, so the descriptions must be out of it first. */
    VkCommandStreamDescriptionMESA descs[16];
    if (a.streamCount > sizeof(descs) / sizeof(descs[0])) {
        pv_vn_context_lose(stream->ctx, "%s: %u streams", stream->cmd->name, a.streamCount);
        return;
    }
    memcpy(descs, a.pStreams, a.streamCount * sizeof(descs[0]));
    stream->nested = true;
    for (uint32_t i = 0; i < a.streamCount && !pv_vn_context_gone(stream->ctx); i++) {
        struct pv_gpu_memory *pages = stream_pages(stream, &descs[i]);
        if (pages)
            pv_vn_stream_run(stream, (char *)pages->mapping.data + descs[i].offset, descs[i].size);
        pv_gpu_memory_unref(pages);
    }
    stream->nested = false;
}

void pv_vn_do_vkCreateRingMESA(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_vkCreateRingMESA *a = args;
    if (!on_control(stream))
        return;
    int ret = pv_vn_ring_create(stream->ctx, a->ring, a->pCreateInfo);
    if (ret < 0)
        pv_vn_context_lose(stream->ctx, "ring %llu: %s", (unsigned long long)a->ring,
                           strerror(-ret));
}

void pv_vn_do_vkDestroyRingMESA(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_vkDestroyRingMESA *a = args;
    if (on_control(stream) && !pv_vn_ring_destroy(stream->ctx, a->ring))
        no_ring(stream, a->ring);
}

void pv_vn_do_vkNotifyRingMESA(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_vkNotifyRingMESA *a = args;
    if (on_control(stream) && !pv_vn_ring_notify(stream->ctx, a->ring))
        no_ring(stream, a->ring);
}

void pv_vn_do_vkWriteRingExtraMESA(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_vkWriteRingExtraMESA *a = args;
    if (on_control(stream) && !pv_vn_ring_write_extra(stream->ctx, a->ring, a->offset, a->value))
        no_ring(stream, a->ring);
}

void pv_vn_do_vkSubmitVirtqueueSeqnoMESA(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_vkSubmitVirtqueueSeqnoMESA *a = args;
    if (on_control(stream) && !pv_vn_ring_virtqueue_seqno(stream->ctx, a->ring, a->seqno))
        no_ring(stream, a->ring);
}

void pv_vn_do_vkWaitVirtqueueSeqnoMESA(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_vkWaitVirtqueueSeqnoMESA *a = args;
    if (stream->ring)
        pv_vn_ring_wait_virtqueue(stream->ring, a->seqno);
    else
        pv_vn_context_lose(stream->ctx, "%s off a ring", stream->cmd->name);
}

void pv_vn_do_vkWaitRingSeqnoMESA(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_vkWaitRingSeqnoMESA *a = args;
    if (on_control(stream) && !pv_vn_ring_wait(stream->ctx, a->ring, (uint32_t)a->seqno))
        no_ring(stream, a->ring);
}
