/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "gpu/venus/context.h"

struct pv_vn_host_object {
    atomic_uint refs;
    void *handle;
    pv_vn_destroy_fn *destroy;
    struct pv_vn_host_object *parent;
};

struct pv_vn_host_object *pv_vn_host_object_new(void *handle, pv_vn_destroy_fn *destroy,
                                                struct pv_vn_host_object *parent)
{
    struct pv_vn_host_object *object = calloc(1, sizeof(*object));
    if (!object)
        return NULL;
    atomic_init(&object->refs, 1);
    object->handle = handle;
    object->destroy = destroy;
    object->parent = parent ? pv_vn_host_object_ref(parent) : NULL;
    return object;
}

struct pv_vn_host_object *pv_vn_host_object_ref(struct pv_vn_host_object *object)
{
    atomic_fetch_add_explicit(&object->refs, 1, memory_order_relaxed);
    return object;
}

void pv_vn_host_object_unref(struct pv_vn_host_object *object)
{
    while (object && atomic_fetch_sub_explicit(&object->refs, 1, memory_order_acq_rel) == 1) {
        struct pv_vn_host_object *parent = object->parent;
        if (object->destroy)
            object->destroy(object->handle, NULL);
        free(object);
        object = parent;
    }
}
