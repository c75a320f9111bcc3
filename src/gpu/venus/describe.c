/* SPDX-License-Identifier: MIT */
#include "gpu/describe.h"

#include <errno.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"
#include "gpu/venus/context.h"

static void describe_memory(struct pv_buffer *out, const struct pv_vn_physical *physical)
{
    for (uint32_t i = 0; i < physical->memory.memoryTypeCount; i++) {
        const VkMemoryType *type = &physical->memory.memoryTypes[i];
        VkDeviceSize size = physical->memory.memoryHeaps[type->heapIndex].size;
        pv_buffer_printf(
            out, "  memory type %u: %llu MiB,%s %s\n", i, (unsigned long long)(size >> 20),
            type->propertyFlags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT ? " device-local," : "",
            type->propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT
                ? "visible to guests, no copies"
            : physical->import_types & 1u << i ? "for the GPU"
                                               : "for the GPU (takes no host pages)");
    }
}

static void describe_extensions(struct pv_buffer *out, const struct pv_vn_physical *physical)
{
    unsigned missing = 0;
    pv_buffer_printf(out, "  extensions: %u offered to guests, of %u that the host has\n",
                     physical->extension_count, physical->host_extension_count);
    for (unsigned i = 0; i < PV_VN_EXTENSIONS; i++) {
        const char *name = pv_vn_extensions[i].name;
        bool host = pv_vn_physical_has(physical, name);
        if (pv_vn_extensions[i].served_here && !host)
            pv_buffer_printf(out, "    %s: served by pearvisor\n", name);
        missing += !host && !pv_vn_extensions[i].served_here;
    }
    pv_buffer_printf(out, "    %u that guests could use are missing in the host driver\n", missing);
}

static void describe_physical(struct pv_buffer *out, const struct pv_vn_physical *physical)
{
    uint32_t version = physical->properties.apiVersion;
    pv_buffer_printf(out, "%s\n  Vulkan %u.%u.%u (guests: up to 1.3)\n",
                     physical->properties.deviceName, VK_API_VERSION_MAJOR(version),
                     VK_API_VERSION_MINOR(version), VK_API_VERSION_PATCH(version));
    describe_memory(out, physical);
    describe_extensions(out, physical);
}

int pv_gpu_describe(struct pv_buffer *out, const char *library, struct pv_error **err)
{
    const struct pv_renderer_config config = {.vulkan_library = library};
    struct pv_vn_driver driver = {0};
    struct pv_vn_context *ctx;
    struct pv_vn_instance instance = {0};
    int ret = pv_vn_driver_open(&driver, library, err);
    if (ret < 0)
        return ret;
    ret = pv_vn_context_create(&ctx, 1, "gpu-info", &driver, &config, err);
    if (ret == 0) {
        VkResult result = pv_vn_instance_create(ctx, NULL, &instance);
        for (uint32_t i = 0; i < instance.physical_count; i++)
            describe_physical(out, &instance.physicals[i]);
        if (result < 0)
            ret =
                pv_error_set(err, ENODEV, "the host's Vulkan does not start (VkResult %d)", result);
        else if (!instance.physical_count)
            ret = pv_error_set(err, ENODEV,
                               "no Vulkan device that guests could use; mesa-vulkan-drivers has "
                               "one for machines without a GPU");
        for (uint32_t i = 0; i < instance.physical_count; i++)
            pv_vn_physical_finish(&instance.physicals[i]);
        free(instance.physicals);
        pv_vn_instance_destroy(ctx, &instance);
        pv_vn_context_destroy(ctx);
    }
    pv_vn_driver_close(&driver);
    return ret;
}
