/* SPDX-License-Identifier: MIT */
/*
 * A Vulkan driver that says yes to everything and does nothing, and the first commands of a guest:
 * for tests, fuzzing and benchmarks of the Venus renderer without a driver in the way.
 */
#ifndef PV_TESTS_MOCK_VULKAN_H
#define PV_TESTS_MOCK_VULKAN_H

#include "gpu/venus/context.h"

/* What guest_begin() names, and the resource that it takes for the reply stream. */
enum {
    GUEST_INSTANCE = 1,
    GUEST_PHYSICAL,
    GUEST_DEVICE,
    GUEST_QUEUE,
    GUEST_BUFFER,
    GUEST_MEMORY,
    GUEST_FENCE,
    GUEST_POOL,
    GUEST_COMMANDS,
    GUEST_IDS,
    GUEST_REPLY = 1,
};

/* The mock's memory: type 0 takes host pointers, type 1 must be mapped by the driver. */
enum { MOCK_IMPORTED, MOCK_MAPPED };
#define MOCK_MAPPED_SIZE 65536u

struct mock_vulkan_log {
    bool portability; /* set by the test: the driver is one of those that translate */
    VkInstanceCreateFlags instance_flags;
    bool subset_enabled;
    VkBool32 subset_features[2];        /* as enabled: the first and the last */
    struct pv_vn_vkCmdDrawIndexed draw; /* the last call's parameters */
    struct pv_vn_vkCmdPushConstants push;
    uint8_t pushed[512];
    void *mapped;                                   /* what vkMapMemory gave last */
    VkExternalMemoryHandleTypeFlags buffer_handles; /* of the last buffer */
    unsigned memories_freed, devices_destroyed, instances_destroyed;
};

extern struct mock_vulkan_log mock_vulkan_log;

/* vkGetInstanceProcAddr, and vkGetDeviceProcAddr too. */
PFN_vkVoidFunction mock_vulkan_proc(void *parent, const char *name);
extern const struct pv_vn_driver mock_vulkan_driver;

/* A command as the guest driver encodes it; returns its size. Aborts when it does not fit. */
size_t guest_encode(void *to, size_t room, unsigned command, uint32_t flags, const void *args);
/* Encodes and executes a command that has no business failing. */
void guest_run(struct pv_vn_stream *stream, unsigned command, const void *args);
/* Instance, device, queue, a few objects, and a reply stream in resource GUEST_REPLY. */
void guest_begin(struct pv_vn_stream *stream);

#endif
