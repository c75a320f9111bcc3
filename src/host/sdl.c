/* SPDX-License-Identifier: MIT */
#include "host/sdl.h"

#include "base/error.h"
#include "base/util.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#ifdef __APPLE__
#define LIBRARY "libSDL2-2.0.0.dylib"
#else
#define LIBRARY "libSDL2-2.0.so.0"
#endif

int pv_sdl_load(struct pv_sdl *sdl, struct pv_error **err)
{
    static const struct {
        const char *name;
        size_t place;
    } calls[] = {
#define X(name) {"SDL_" #name, offsetof(struct pv_sdl, name)},
        PV_SDL_CALLS(X)
#undef X
    };
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library)
        return pv_error_set(err, ENOTSUP, "SDL 2 is not installed (%s)", dlerror());
    for (size_t i = 0; i < PV_ARRAY_SIZE(calls); i++) {
        void *call = dlsym(library, calls[i].name);
        if (!call)
            return pv_error_set(err, ENOTSUP, "SDL 2 is too old: it has no %s", calls[i].name);
        memcpy((char *)sdl + calls[i].place, &call, sizeof(call));
    }
    sdl->SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1"); /* signals are the loop's */
    return 0;
}
