/* SPDX-License-Identifier: MIT */
/* virtio-gpu on the wire (section 5.7). All fields are little-endian. */
#ifndef PV_DEVICE_GPU_PROTOCOL_H
#define PV_DEVICE_GPU_PROTOCOL_H

#include <stdint.h>

enum gpu_feature {
    GPU_F_VIRGL,
    GPU_F_EDID,
    GPU_F_RESOURCE_UUID,
    GPU_F_RESOURCE_BLOB,
    GPU_F_CONTEXT_INIT,
};

/* 5.7.6.7: types of requests and responses. */
enum gpu_type {
    GPU_CMD_GET_DISPLAY_INFO = 0x0100,
    GPU_CMD_RESOURCE_CREATE_2D,
    GPU_CMD_RESOURCE_UNREF,
    GPU_CMD_SET_SCANOUT,
    GPU_CMD_RESOURCE_FLUSH,
    GPU_CMD_TRANSFER_TO_HOST_2D,
    GPU_CMD_RESOURCE_ATTACH_BACKING,
    GPU_CMD_RESOURCE_DETACH_BACKING,
    GPU_CMD_GET_CAPSET_INFO,
    GPU_CMD_GET_CAPSET,
    GPU_CMD_GET_EDID,
    GPU_CMD_RESOURCE_ASSIGN_UUID,
    GPU_CMD_RESOURCE_CREATE_BLOB,
    GPU_CMD_SET_SCANOUT_BLOB,

    GPU_CMD_CTX_CREATE = 0x0200,
    GPU_CMD_CTX_DESTROY,
    GPU_CMD_CTX_ATTACH_RESOURCE,
    GPU_CMD_CTX_DETACH_RESOURCE,
    GPU_CMD_RESOURCE_CREATE_3D,
    GPU_CMD_TRANSFER_TO_HOST_3D,
    GPU_CMD_TRANSFER_FROM_HOST_3D,
    GPU_CMD_SUBMIT_3D,
    GPU_CMD_RESOURCE_MAP_BLOB,
    GPU_CMD_RESOURCE_UNMAP_BLOB,

    GPU_CMD_UPDATE_CURSOR = 0x0300,
    GPU_CMD_MOVE_CURSOR,

    GPU_OK_NODATA = 0x1100,
    GPU_OK_DISPLAY_INFO,
    GPU_OK_CAPSET_INFO,
    GPU_OK_CAPSET,
    GPU_OK_EDID,
    GPU_OK_RESOURCE_UUID,
    GPU_OK_MAP_INFO,

    GPU_ERR_UNSPEC = 0x1200,
    GPU_ERR_OUT_OF_MEMORY,
    GPU_ERR_INVALID_SCANOUT_ID,
    GPU_ERR_INVALID_RESOURCE_ID,
    GPU_ERR_INVALID_CONTEXT_ID,
    GPU_ERR_INVALID_PARAMETER,
};

#define GPU_FLAG_FENCE    1u
#define GPU_FLAG_RING_IDX 2u

#define GPU_EVENT_DISPLAY 1u

#define GPU_SHM_HOST_VISIBLE 1u /* the shared memory region's ID */

enum gpu_blob_mem {
    GPU_BLOB_MEM_GUEST = 1,
    GPU_BLOB_MEM_HOST3D,
    GPU_BLOB_MEM_HOST3D_GUEST,
};

struct gpu_config {
    uint32_t events_read, events_clear, num_scanouts, num_capsets;
};

struct gpu_header {
    uint32_t type, flags;
    uint64_t fence_id;
    uint32_t ctx_id;
    uint8_t ring_idx, padding[3];
};
_Static_assert(sizeof(struct gpu_header) == 24, "5.7.6.7");

struct gpu_rect {
    uint32_t x, y, width, height;
};

struct gpu_display_info { /* the response's */
    struct {
        struct gpu_rect rect;
        uint32_t enabled, flags;
    } modes[16];
};

/* A request that names one thing: a resource, a scanout, a capset and its version or index. */
struct gpu_name {
    struct gpu_header header;
    uint32_t id, second;
};

struct gpu_create_2d {
    struct gpu_header header;
    uint32_t resource, format, width, height;
};

struct gpu_set_scanout {
    struct gpu_header header;
    struct gpu_rect rect;
    uint32_t scanout, resource;
};

struct gpu_flush {
    struct gpu_header header;
    struct gpu_rect rect;
    uint32_t resource, padding;
};

struct gpu_transfer_2d {
    struct gpu_header header;
    struct gpu_rect rect;
    uint64_t offset;
    uint32_t resource, padding;
};

struct gpu_attach_backing {
    struct gpu_header header;
    uint32_t resource, entries; /* followed by these */
};

struct gpu_entry {
    uint64_t address;
    uint32_t length, padding;
};

struct gpu_capset_info { /* the response's */
    uint32_t id, max_version, max_size, padding;
};

struct gpu_edid { /* the response's */
    uint32_t size, padding;
    uint8_t edid[1024];
};

struct gpu_create_blob {
    struct gpu_header header;
    uint32_t resource, blob_mem, blob_flags, entries;
    uint64_t blob_id, size; /* followed by the entries */
};

struct gpu_set_scanout_blob {
    struct gpu_header header;
    struct gpu_rect rect;
    uint32_t scanout, resource, width, height, format, padding;
    uint32_t strides[4], offsets[4];
};

struct gpu_ctx_create {
    struct gpu_header header;
    uint32_t name_length, context_init;
    char name[64];
};

struct gpu_create_3d {
    struct gpu_header header;
    uint32_t resource, target, format, bind, width, height, depth, array_size, last_level, samples;
    uint32_t flags, padding;
};

struct gpu_transfer_3d {
    struct gpu_header header;
    uint32_t x, y, z, width, height, depth;
    uint64_t offset;
    uint32_t resource, level, stride, layer_stride;
};

struct gpu_submit_3d {
    struct gpu_header header;
    uint32_t size, padding; /* followed by the commands */
};

struct gpu_map_blob {
    struct gpu_header header;
    uint32_t resource, padding;
    uint64_t offset;
};

struct gpu_update_cursor {
    struct gpu_header header;
    uint32_t scanout, x, y, padding;
    uint32_t resource, hot_x, hot_y, padding2;
};

#endif
