/* SPDX-License-Identifier: MIT */
/*
 * Downloads by HTTP and HTTPS, with libcurl.
 *
 * A download that was cut goes on where it stopped, if the server still has the same file: what is
 * there already is kept as FILE.part, with the server's word for that version of the file (its ETag
 * or date) in FILE.part.version.
 */
#ifndef PV_FETCH_DOWNLOAD_H
#define PV_FETCH_DOWNLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_error;

struct fetch_progress {
    /* Bytes of the whole file, of which `total` is 0 while it is not known. May be NULL. */
    void (*show)(void *opaque, uint64_t done, uint64_t total);
    void *opaque;
};

/* Once, before anything else here; threads may not run yet. */
int fetch_begin(struct pv_error **err);

/*
 * Makes `path` of what is at `url`. While it runs, and when it fails half way, there is only
 * `path`.part, which the next call goes on with. -EBUSY: another process is at it.
 */
int fetch_file(const char *url, const char *path, const struct fetch_progress *progress,
               struct pv_error **err);
/* Removes what a download that failed has left. */
void fetch_forget(const char *path);

/* A small file, of at most 1 MiB: *out is text that ends with NUL, the caller's to free. */
int fetch_text(const char *url, char **out, size_t *size, struct pv_error **err);

#endif
