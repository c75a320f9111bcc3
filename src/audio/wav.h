/* SPDX-License-Identifier: MIT */
/* WAV files: RIFF chunks (Multimedia Programming Interface and Data Specifications 1.0). */
#ifndef PV_AUDIO_WAV_H
#define PV_AUDIO_WAV_H

#include "audio/audio.h"

#include <stdio.h>

/* What a file's sizes can hold. */
#define PV_WAV_MAX (UINT32_MAX - 64u)

/* Writes the header of a file with `size` bytes of sound at its beginning; false: errno says why.
 */
bool pv_wav_write_header(FILE *file, const struct pv_audio_format *format, uint32_t size);

/* Reads up to where `*size` bytes of sound begin. */
int pv_wav_read_header(FILE *file, const char *path, struct pv_audio_format *format, uint32_t *size,
                       struct pv_error **err);

#endif
