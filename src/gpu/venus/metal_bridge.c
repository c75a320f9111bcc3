/* SPDX-License-Identifier: MIT */
#define VK_ENABLE_BETA_EXTENSIONS
#include "gpu/venus/metal_bridge.h"

#include <string.h>

#include "base/util.h"

_Static_assert(sizeof(struct pv_metal_bridge_features) ==
                   sizeof(VkPhysicalDevicePortabilitySubsetFeaturesKHR),
               "the struct is the extension's");

static bool has_enumeration(const struct pv_vn_context *ctx)
{
    PFN_vkEnumerateInstanceExtensionProperties get =
        PV_VN_PROC(ctx->global_procs, vkEnumerateInstanceExtensionProperties);
    VkExtensionProperties properties[128];
    uint32_t count = PV_ARRAY_SIZE(properties);
    if (!get || get(NULL, &count, properties) < 0)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(properties[i].extensionName, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME))
            return true;
    return false;
}

void pv_metal_bridge_instance(const struct pv_vn_context *ctx, VkInstanceCreateInfo *info)
{
    static const char *const names[] = {VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME};
    if (!has_enumeration(ctx))
        return;
    info->flags |= VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
    info->enabledExtensionCount = PV_ARRAY_SIZE(names);
    info->ppEnabledExtensionNames = names;
}

void pv_metal_bridge_device(const struct pv_vn_physical *physical, VkDeviceCreateInfo *info,
                            const char **names, struct pv_metal_bridge_features *room)
{
    PFN_vkGetPhysicalDeviceFeatures2 get =
        PV_VN_PROC(physical->instance->procs, vkGetPhysicalDeviceFeatures2);
    if (!get || !pv_vn_physical_has(physical, VK_KHR_PORTABILITY_SUBSET_EXTENSION_NAME))
        return;
    *room = (struct pv_metal_bridge_features){
        .type = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PORTABILITY_SUBSET_FEATURES_KHR};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = room};
    get(physical->handle, &features);
    room->next = (void *)info->pNext;
    info->pNext = room;
    names[info->enabledExtensionCount++] = VK_KHR_PORTABILITY_SUBSET_EXTENSION_NAME;
}

void pv_metal_bridge_configure(void (*set)(void *opaque, const char *name, const char *value),
                               void *opaque)
{
    /* Submissions are encoded for Metal on a thread of the driver, while the ring decodes on. */
    set(opaque, "MVK_CONFIG_SYNCHRONOUS_QUEUE_SUBMITS", "0");
    /* Several rings and contexts compile pipelines at once. */
    set(opaque, "MVK_CONFIG_SHOULD_MAXIMIZE_CONCURRENT_COMPILATION", "1");
    /* Errors only: what guests do is not for our terminal. */
    set(opaque, "MVK_CONFIG_LOG_LEVEL", "1");
}
