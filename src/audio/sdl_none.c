/* SPDX-License-Identifier: MIT */
#include "audio/audio.h"

#include "base/error.h"

#include <errno.h>

int pv_audio_sdl_create(struct pv_audio **out, struct pv_loop *loop, struct pv_error **err)
{
    return pv_error_set(err, ENOTSUP, "sound: this build has no SDL; use --sound file=FILE");
}
