/* SPDX-License-Identifier: MIT */
/* What the parts of the Venus renderer share: driver, context, streams, rings, devices. */
#ifndef PV_GPU_VENUS_CONTEXT_H
#define PV_GPU_VENUS_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "gpu/memory.h"
#include "gpu/table.h"
#include "gpu/venus/calls.h"
#include "gpu/venus/wire.h"

/* ---- The host's Vulkan ---- */

struct pv_vn_driver {
    void *library; /* NULL for a mock driver */
    PFN_vkGetInstanceProcAddr get_proc;
};

int pv_vn_driver_open(struct pv_vn_driver *driver, const char *library, struct pv_error **err);
void pv_vn_driver_close(struct pv_vn_driver *driver);

/* Fills `procs` (PV_VN_COMMAND_COUNT) for the commands of a level; NULL where there is none. */
void pv_vn_procs_load(PFN_vkVoidFunction *procs, enum pv_vn_level level,
                      PFN_vkVoidFunction (*get)(void *handle, const char *name), void *handle);

/* The proc of command `vkName` as its PFN type. */
#define PV_VN_PROC(procs, name) ((PFN_##name)(procs)[PV_VN_COMMAND_##name])

/*
 * The driver's instance or device, counted: a guest can go on using memory that the driver mapped
 * (memory.c) after it has destroyed all else, and then these must still be there.
 */
typedef void(VKAPI_PTR pv_vn_destroy_fn)(void *handle, const VkAllocationCallbacks *allocator);

/* With one reference, itself holding one of `parent` (or NULL). NULL when out of memory. */
struct pv_vn_host_object *pv_vn_host_object_new(void *handle, pv_vn_destroy_fn *destroy,
                                                struct pv_vn_host_object *parent);
struct pv_vn_host_object *pv_vn_host_object_ref(struct pv_vn_host_object *object);
void pv_vn_host_object_unref(struct pv_vn_host_object *object); /* NULL is fine */

/* ---- Instances and devices: few, so kept until their context ends ---- */

struct pv_vn_instance {
    VkInstance handle; /* NULL once destroyed */
    struct pv_vn_host_object *host;
    PFN_vkVoidFunction procs[PV_VN_COMMAND_COUNT];
    PFN_vkGetDeviceProcAddr get_device_proc;
    struct pv_vn_physical *physicals;
    uint32_t physical_count;
    struct pv_vn_instance *next;
};

struct pv_vn_physical {
    struct pv_vn_instance *instance;
    VkPhysicalDevice handle;
    uint64_t id; /* the guest's; 0 until it enumerated */
    VkPhysicalDeviceProperties properties;
    VkPhysicalDeviceMemoryProperties memory; /* as the guest sees it */
    bool unified;                            /* every memory type is visible to guests, by import */
    uint32_t import_types;                   /* memory types that take a host pointer */
    uint32_t map_types;    /* others that guests see, through the driver's mapping */
    uint64_t import_align; /* minImportedHostPointerAlignment */
    uint32_t host_extension_count;
    VkExtensionProperties *host_extensions;
    uint32_t extension_count; /* what the guest sees */
    VkExtensionProperties *extensions;
};

struct pv_vn_device {
    VkDevice handle; /* NULL once destroyed */
    struct pv_vn_host_object *host;
    struct pv_vn_physical *physical;
    PFN_vkVoidFunction procs[PV_VN_COMMAND_COUNT];
    PFN_vkMapMemory map_memory; /* guests do not send it, so it is not among the procs */
    struct pv_vn_queue *queues;
    struct pv_vn_device *next;
};

/* A driver's queue. Guests name it by several ids; all go through its lock. */
struct pv_vn_queue {
    struct pv_vn_device *device;
    VkQueue handle;
    uint32_t family, index;
    pthread_mutex_t lock; /* Vulkan wants queues externally synchronized */
    struct pv_vn_timeline *timeline;
    struct pv_vn_queue *next;
};

/* A VkDeviceMemory with the pages that the guest can map. */
struct pv_vn_memory {
    struct pv_gpu_memory *pages; /* NULL: not visible to the guest */
    bool mapped;                 /* they are the driver's, and it frees memory when they go */
    uint64_t size;
};

/* ---- Contexts ---- */

#define PV_VN_OBJECTS_MAX (1u << 20)
#define PV_VN_RINGS_MAX   64u
#define PV_VN_DEVICES_MAX 1024u
#define PV_VN_ARENA_MAX   ((size_t)64 << 20)
#define PV_VN_ARGS_MAX    512u

struct pv_vn_context {
    uint32_t id;
    char name[64];
    const struct pv_renderer_config *config;
    struct pv_gpu_account *account; /* for pages that the guest can map; NULL: not counted */
    const struct pv_vn_driver *driver;
    PFN_vkVoidFunction global_procs[PV_VN_COMMAND_COUNT];
    atomic_bool lost;     /* sticky: something invalid came */
    atomic_bool stopping; /* being destroyed */

    pthread_rwlock_t objects_lock;
    struct pv_gpu_table objects; /* owner: by type, see objects.c */
    atomic_uint_fast64_t
        objects_era; /* goes on when any is removed: what streams remember is old */

    pthread_mutex_t lock; /* all below; `changed` tells of anything that someone may wait for */
    pthread_cond_t changed;
    struct pv_gpu_table resources; /* owner: struct pv_gpu_memory, one reference each */
    struct pv_vn_ring *rings;
    struct pv_vn_monitor *monitor; /* NULL until a ring wants it */
    unsigned ring_count;
    struct pv_vn_instance *instances;
    struct pv_vn_device *devices;
    unsigned device_count;
    struct pv_vn_timeline *timelines[PV_RENDERER_TIMELINES];
    atomic_uint_fast64_t memory_used;

    /* The control stream: submissions and fences in order, on a thread of their own. */
    pthread_t control;
    struct pv_vn_work *work_first, **work_last;
    size_t work_bytes;
    uint64_t work_queued, work_done; /* counts, for draining */
};

int pv_vn_context_create(struct pv_vn_context **out, uint32_t id, const char *name,
                         const struct pv_vn_driver *driver, const struct pv_renderer_config *config,
                         struct pv_error **err);
void pv_vn_context_destroy(struct pv_vn_context *ctx);

/* Queues commands, or (commands NULL) a fence on a timeline. */
int pv_vn_context_queue(struct pv_vn_context *ctx, const void *commands, size_t size,
                        uint32_t timeline, uint64_t fence, struct pv_error **err);
/* Waits until all that was queued so far is consumed. */
void pv_vn_context_drain(struct pv_vn_context *ctx);

/* Gives the context up, with one log line the first time. */
void pv_vn_context_lose(struct pv_vn_context *ctx, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool pv_vn_context_gone(const struct pv_vn_context *ctx); /* lost or stopping */

int pv_vn_context_attach(struct pv_vn_context *ctx, uint32_t resource, struct pv_gpu_memory *pages);
void pv_vn_context_detach(struct pv_vn_context *ctx, uint32_t resource);
/* A reference to a resource's pages, or NULL. */
struct pv_gpu_memory *pv_vn_context_resource(struct pv_vn_context *ctx, uint32_t resource);

/* Counts memory against the context's limit; false when that is exceeded. */
bool pv_vn_context_charge(struct pv_vn_context *ctx, uint64_t size);
void pv_vn_context_uncharge(struct pv_vn_context *ctx, uint64_t size);

/* ---- Objects ---- */

bool pv_vn_object_get(struct pv_vn_context *ctx, unsigned type, uint64_t id,
                      struct pv_gpu_entry *out);
/* Loses the context when the id is taken or the table full. */
bool pv_vn_object_add(struct pv_vn_context *ctx, const struct pv_gpu_entry *entry);
bool pv_vn_object_remove(struct pv_vn_context *ctx, uint64_t id, struct pv_gpu_entry *out);
/* Removes the physical devices of an instance. */
void pv_vn_objects_drop_physicals(struct pv_vn_context *ctx, const struct pv_vn_instance *instance);
/* Removes the objects of the pool with that id, which the driver frees with it. */
void pv_vn_objects_drop_children(struct pv_vn_context *ctx, uint64_t pool);
/* Destroys what a guest left behind on a device. */
void pv_vn_objects_destroy_device(struct pv_vn_context *ctx, struct pv_vn_device *device);

/* ---- Streams: a source of commands with the state that decoding them needs ---- */

/*
 * The objects that a stream named last, in slots by their ids: commands name the same few over and
 * over. What was seen in an earlier era may have been removed since.
 */
#define PV_VN_RECENT 64u

struct pv_vn_recent {
    uint64_t era;
    struct pv_gpu_entry entry;
};

struct pv_vn_stream {
    struct pv_vn_context *ctx;
    struct pv_vn_ring *ring; /* NULL for the control stream */
    struct pv_vn_decoder dec;
    struct pv_vn_arena arena;
    const struct pv_vn_command *cmd;
    struct pv_gpu_entry self; /* the command's first dispatchable handle */
    uint64_t pool;            /* the id of the pool that the command named, or 0 */
    uint32_t flags;
    bool nested;   /* inside vkExecuteCommandStreamsMESA */
    uint64_t *ids; /* of the handles in the role parameter of a destroying command */
    size_t id_count, id_room;
    struct pv_gpu_memory *reply; /* the reply stream, or NULL */
    size_t reply_start, reply_size, reply_at;
    struct pv_vn_recent recent[PV_VN_RECENT];
    uint64_t args[PV_VN_ARGS_MAX / 8];
};

void pv_vn_stream_init(struct pv_vn_stream *stream, struct pv_vn_context *ctx,
                       struct pv_vn_ring *ring);
void pv_vn_stream_finish(struct pv_vn_stream *stream);
/* Executes whole commands until the bytes are used up. False when the context was lost. */
bool pv_vn_stream_run(struct pv_vn_stream *stream, const void *data, size_t size);
/*
 * Executes the command at data, or several that only record into command buffers; returns the bytes
 * they took, 0 when the context was lost.
 */
size_t pv_vn_stream_some(struct pv_vn_stream *stream, const void *data, size_t size);

/* The device that the command's first handle belongs to. */
struct pv_vn_device *pv_vn_stream_device(const struct pv_vn_stream *stream);

/* Memory for the command; loses the context and gives NULL beyond the limit. */
void *pv_vn_stream_alloc(struct pv_vn_stream *stream, size_t size);

/* Calls the driver's proc for stream->cmd; false (context lost) when it has none. */
bool pv_vn_stream_call(struct pv_vn_stream *stream, void *args);

/* Registers the handles that a creating command made, or dead ones when it failed. */
void pv_vn_stream_register(struct pv_vn_stream *stream, void *args, void *owner);

/*
 * Commands with a handler in place of a plain call: decoded arguments (the command's argument
 * struct) come in, results go out in them.
 */
#define PV_VN_HANDLERS(X)                                                                          \
    /* transport.c */                                                                              \
    X(vkSetReplyCommandStreamMESA)                                                                 \
    X(vkSeekReplyCommandStreamMESA)                                                                \
    X(vkExecuteCommandStreamsMESA)                                                                 \
    X(vkCreateRingMESA)                                                                            \
    X(vkDestroyRingMESA)                                                                           \
    X(vkNotifyRingMESA)                                                                            \
    X(vkWriteRingExtraMESA)                                                                        \
    X(vkSubmitVirtqueueSeqnoMESA)                                                                  \
    X(vkWaitVirtqueueSeqnoMESA)                                                                    \
    X(vkWaitRingSeqnoMESA)                                                                         \
    /* instance.c */                                                                               \
    X(vkEnumerateInstanceVersion)                                                                  \
    X(vkEnumerateInstanceExtensionProperties)                                                      \
    X(vkEnumerateInstanceLayerProperties)                                                          \
    X(vkCreateInstance)                                                                            \
    X(vkDestroyInstance)                                                                           \
    X(vkEnumeratePhysicalDevices)                                                                  \
    /* physical.c */                                                                               \
    X(vkEnumerateDeviceExtensionProperties)                                                        \
    X(vkEnumerateDeviceLayerProperties)                                                            \
    X(vkGetPhysicalDeviceMemoryProperties)                                                         \
    X(vkGetPhysicalDeviceMemoryProperties2)                                                        \
    X(vkGetPhysicalDeviceExternalSemaphoreProperties)                                              \
    X(vkGetPhysicalDeviceExternalFenceProperties)                                                  \
    X(vkGetPhysicalDeviceExternalBufferProperties)                                                 \
    /* device.c */                                                                                 \
    X(vkCreateDevice)                                                                              \
    X(vkDestroyDevice)                                                                             \
    X(vkGetDeviceQueue)                                                                            \
    X(vkGetDeviceQueue2)                                                                           \
    X(vkQueueSubmit)                                                                               \
    X(vkQueueSubmit2)                                                                              \
    X(vkQueueBindSparse)                                                                           \
    X(vkQueueWaitIdle)                                                                             \
    X(vkDeviceWaitIdle)                                                                            \
    X(vkDestroyCommandPool)                                                                        \
    X(vkDestroyDescriptorPool)                                                                     \
    X(vkResetDescriptorPool)                                                                       \
    /* memory.c */                                                                                 \
    X(vkAllocateMemory)                                                                            \
    X(vkFreeMemory)                                                                                \
    X(vkGetMemoryResourcePropertiesMESA)                                                           \
    /* sync.c */                                                                                   \
    X(vkWaitForFences)                                                                             \
    X(vkWaitSemaphores)                                                                            \
    X(vkCreateFence)                                                                               \
    X(vkCreateSemaphore)                                                                           \
    X(vkResetFenceResourceMESA)                                                                    \
    X(vkWaitSemaphoreResourceMESA)                                                                 \
    X(vkImportSemaphoreResourceMESA)                                                               \
    /* image.c */                                                                                  \
    X(vkCreateBuffer)                                                                              \
    X(vkGetDeviceBufferMemoryRequirements)                                                         \
    X(vkCreateImage)                                                                               \
    X(vkGetDeviceImageMemoryRequirements)                                                          \
    X(vkGetDeviceImageSparseMemoryRequirements)                                                    \
    X(vkGetImageSubresourceLayout)                                                                 \
    X(vkGetImageDrmFormatModifierPropertiesEXT)                                                    \
    X(vkGetPhysicalDeviceFormatProperties2)                                                        \
    X(vkGetPhysicalDeviceImageFormatProperties2)

#define X(name) void pv_vn_do_##name(struct pv_vn_stream *stream, void *args);
PV_VN_HANDLERS(X)
#undef X

VkResult pv_vn_instance_create(struct pv_vn_context *ctx, const VkApplicationInfo *guest_app,
                               struct pv_vn_instance *instance);
void pv_vn_instance_destroy(struct pv_vn_context *ctx, struct pv_vn_instance *instance);
void pv_vn_device_destroy(struct pv_vn_context *ctx, struct pv_vn_device *device);
/* `need_fd`: what guests see of memory must have a descriptor. */
bool pv_vn_physical_init(struct pv_vn_physical *physical, bool need_fd);
void pv_vn_physical_finish(struct pv_vn_physical *physical);
/* Takes the structs of that sType out of a chain; returns the first, or NULL. */
void *pv_vn_chain_remove(const void *head, VkStructureType stype);
/* As vkQueueWaitIdle, but gives up when the context is gone. */
VkResult pv_vn_queue_wait_idle(struct pv_vn_context *ctx, struct pv_vn_queue *queue);
bool pv_vn_physical_has(const struct pv_vn_physical *physical, const char *extension);
/* Frees what an entry of the table stands for, which has left it. */
void pv_vn_memory_free(struct pv_vn_context *ctx, const struct pv_vn_device *device,
                       const struct pv_gpu_entry *entry);
/* The pages of the device memory called blob_id, referenced; NULL when it has none. */
struct pv_gpu_memory *pv_vn_memory_export(struct pv_vn_context *ctx, uint64_t blob_id,
                                          uint64_t size);

/* ---- Rings ---- */

/* Stops and frees all rings. Not from a ring's thread. */
void pv_vn_rings_destroy(struct pv_vn_context *ctx);
int pv_vn_ring_create(struct pv_vn_context *ctx, uint64_t id, const VkRingCreateInfoMESA *info);
bool pv_vn_ring_destroy(struct pv_vn_context *ctx, uint64_t id);
bool pv_vn_ring_notify(struct pv_vn_context *ctx, uint64_t id);
bool pv_vn_ring_write_extra(struct pv_vn_context *ctx, uint64_t id, uint64_t offset,
                            uint32_t value);
/* Waits until the ring's head has reached `seqno`; false when there is no such ring. */
bool pv_vn_ring_wait(struct pv_vn_context *ctx, uint64_t id, uint32_t seqno);
bool pv_vn_ring_virtqueue_seqno(struct pv_vn_context *ctx, uint64_t id, uint64_t seqno);
/* On a ring: waits until the control stream has said `seqno`. */
void pv_vn_ring_wait_virtqueue(struct pv_vn_ring *ring, uint64_t seqno);
void pv_vn_rings_fatal(struct pv_vn_context *ctx);
/* Tells the guest that its rings are looked after. With ctx->lock held. */
void pv_vn_rings_alive(struct pv_vn_context *ctx);

/* Has pv_vn_rings_alive() called every `period_ns` or more often. With ctx->lock held. */
int pv_vn_monitor_start(struct pv_vn_context *ctx, uint64_t period_ns);
void pv_vn_monitor_stop(struct pv_vn_context *ctx);

/* ---- Timelines: fences behind a queue's work ---- */

int pv_vn_timeline_create(struct pv_vn_context *ctx, struct pv_vn_queue *queue, uint32_t index);
/* Answers `fence` once the work so far of the timeline's queue is done; false: no such timeline. */
bool pv_vn_timeline_fence(struct pv_vn_context *ctx, uint32_t index, uint64_t fence);
/* Answers what is pending and frees it. */
void pv_vn_timeline_destroy(struct pv_vn_timeline *timeline);

#endif
