/* SPDX-License-Identifier: MIT */
/*
 * A context's objects, by the ids that the guest chose.
 *
 * An entry's owner: struct pv_vn_instance for instances, pv_vn_physical for physical devices,
 * pv_vn_queue for queues, pv_vn_device for devices, command buffers and all that a device made.
 * These live until the context ends, so a copy of an entry may be used without a lock. Device
 * memory keeps its pv_vn_memory in `parent`, which memory.c alone reads, under the lock.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "gpu/venus/context.h"

bool pv_vn_object_get(struct pv_vn_context *ctx, unsigned type, uint64_t id,
                      struct pv_gpu_entry *out)
{
    pthread_rwlock_rdlock(&ctx->objects_lock);
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&ctx->objects, id);
    bool found = entry && entry->type == type;
    if (found)
        *out = *entry;
    pthread_rwlock_unlock(&ctx->objects_lock);
    return found;
}

/*
 * Pools. What was allocated from one is a list that starts at the pool's own entry, by ids, since
 * entries move within the table: a pool that is reset drops its children and looks at nothing else.
 */

static bool from_pool(unsigned type)
{
    return type == PV_VN_HANDLE_VkCommandBuffer || type == PV_VN_HANDLE_VkDescriptorSet;
}

static void link_child(struct pv_vn_context *ctx, uint64_t id)
{
    struct pv_gpu_entry *child = pv_gpu_table_find(&ctx->objects, id);
    struct pv_gpu_entry *pool = pv_gpu_table_find(&ctx->objects, child->parent);
    if (!pool)
        return; /* destroyed meanwhile by another thread of the guest */
    struct pv_gpu_entry *next = pv_gpu_table_find(&ctx->objects, pool->next);
    child->previous = pool->id;
    child->next = pool->next;
    pool->next = id;
    if (next)
        next->previous = id;
}

static void unlink_child(struct pv_vn_context *ctx, const struct pv_gpu_entry *child)
{
    struct pv_gpu_entry *previous = pv_gpu_table_find(&ctx->objects, child->previous);
    struct pv_gpu_entry *next = pv_gpu_table_find(&ctx->objects, child->next);
    if (previous)
        previous->next = child->next;
    if (next)
        next->previous = child->previous;
}

bool pv_vn_object_add(struct pv_vn_context *ctx, const struct pv_gpu_entry *entry)
{
    pthread_rwlock_wrlock(&ctx->objects_lock);
    int ret = pv_gpu_table_add(&ctx->objects, entry);
    if (ret == 0 && from_pool(entry->type))
        link_child(ctx, entry->id);
    pthread_rwlock_unlock(&ctx->objects_lock);
    if (ret < 0)
        pv_vn_context_lose(ctx, "%s %llu: %s", pv_vn_handle_names[entry->type],
                           (unsigned long long)entry->id,
                           ret == -EEXIST   ? "the id is in use"
                           : ret == -E2BIG  ? "too many objects"
                           : ret == -EINVAL ? "the id is not valid"
                                            : "out of memory");
    return ret == 0;
}

/* Under the lock for writing. */
static bool remove_entry(struct pv_vn_context *ctx, uint64_t id, struct pv_gpu_entry *out)
{
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&ctx->objects, id);
    atomic_fetch_add(&ctx->objects_era, 1);
    if (entry && from_pool(entry->type))
        unlink_child(ctx, entry);
    return pv_gpu_table_remove(&ctx->objects, id, out);
}

bool pv_vn_object_remove(struct pv_vn_context *ctx, uint64_t id, struct pv_gpu_entry *out)
{
    pthread_rwlock_wrlock(&ctx->objects_lock);
    bool found = remove_entry(ctx, id, out);
    pthread_rwlock_unlock(&ctx->objects_lock);
    return found;
}

void pv_vn_objects_drop_children(struct pv_vn_context *ctx, uint64_t pool)
{
    const struct pv_gpu_entry *entry;
    pthread_rwlock_wrlock(&ctx->objects_lock);
    while ((entry = pv_gpu_table_find(&ctx->objects, pool)) && entry->next)
        remove_entry(ctx, entry->next, NULL);
    pthread_rwlock_unlock(&ctx->objects_lock);
}

void pv_vn_objects_drop_physicals(struct pv_vn_context *ctx, const struct pv_vn_instance *instance)
{
    struct pv_gpu_entry *entry;
    pthread_rwlock_wrlock(&ctx->objects_lock);
    for (size_t cursor = 0; (entry = pv_gpu_table_next(&ctx->objects, &cursor));) {
        if (entry->type == PV_VN_HANDLE_VkPhysicalDevice &&
            ((struct pv_vn_physical *)entry->owner)->instance == instance) {
            remove_entry(ctx, entry->id, NULL);
            cursor--; /* another may have moved into the slot */
        }
    }
    pthread_rwlock_unlock(&ctx->objects_lock);
}

/* What to call for a type left behind (memory.c for memory), in the order that their uses allow. */
static const struct {
    uint16_t type, command;
} destroyers[] = {
#define ROW(name)                                                                                  \
    {                                                                                              \
        PV_VN_HANDLE_Vk##name, PV_VN_COMMAND_vkDestroy##name                                       \
    }
    ROW(CommandPool),
    ROW(DescriptorPool),
    ROW(Framebuffer),
    ROW(Pipeline),
    ROW(PipelineCache),
    ROW(PipelineLayout),
    ROW(DescriptorSetLayout),
    ROW(RenderPass),
    ROW(ShaderModule),
    ROW(QueryPool),
    ROW(Event),
    ROW(Fence),
    ROW(Semaphore),
    ROW(BufferView),
    ROW(ImageView),
    ROW(Sampler),
    ROW(SamplerYcbcrConversion),
    ROW(PrivateDataSlot),
    ROW(Buffer),
    ROW(Image),
#undef ROW
    {PV_VN_HANDLE_VkDeviceMemory, PV_VN_COMMAND_vkFreeMemory},
};

/* Takes any one object of `type` that the device made out of the table. */
static bool take_one(struct pv_vn_context *ctx, const struct pv_vn_device *device, unsigned type,
                     size_t *cursor, struct pv_gpu_entry *out)
{
    struct pv_gpu_entry *entry;
    while ((entry = pv_gpu_table_next(&ctx->objects, cursor))) {
        if (entry->type == type && entry->owner == device) {
            *cursor -= 1;
            return remove_entry(ctx, entry->id, out);
        }
    }
    return false;
}

typedef void(VKAPI_PTR *destroy_fn)(VkDevice device, uint64_t handle,
                                    const VkAllocationCallbacks *allocator);

void pv_vn_objects_destroy_device(struct pv_vn_context *ctx, struct pv_vn_device *device)
{
    struct pv_gpu_entry entry;
    size_t cursor;
    pthread_rwlock_wrlock(&ctx->objects_lock);
    for (size_t i = 0; i < PV_ARRAY_SIZE(destroyers); i++) {
        /* Every destroyer has this shape; non-dispatchable handles are 64 bits on 64-bit hosts. */
        destroy_fn destroy = (destroy_fn)device->procs[destroyers[i].command];
        for (cursor = 0; take_one(ctx, device, destroyers[i].type, &cursor, &entry);) {
            if (entry.type == PV_VN_HANDLE_VkDeviceMemory)
                pv_vn_memory_free(ctx, device, &entry);
            else if (entry.handle && destroy)
                destroy(device->handle, entry.handle, NULL);
        }
    }
    struct pv_gpu_entry *left;
    for (cursor = 0; (left = pv_gpu_table_next(&ctx->objects, &cursor));) {
        bool queue = left->type == PV_VN_HANDLE_VkQueue &&
                     ((struct pv_vn_queue *)left->owner)->device == device;
        if (queue || left->owner == device) {
            remove_entry(ctx, left->id, NULL);
            cursor--;
        }
    }
    pthread_rwlock_unlock(&ctx->objects_lock);
}
