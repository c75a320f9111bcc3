/* SPDX-License-Identifier: MIT */
#include "fetch/download.h"

#include "base/error.h"
#include "base/util.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>

#define TEXT_MAX      (1u << 20)
#define REDIRECTS_MAX 10L
#define CONNECT_S     30L
#define SILENT_S      60L /* without a byte */
#define VERSION_MAX   256u

int fetch_begin(struct pv_error **err)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    return code ? pv_error_set(err, EIO, "libcurl: %s", curl_easy_strerror(code)) : 0;
}

/* ---- What every transfer has ---- */

static CURL *new_transfer(const char *url, char *message)
{
    CURL *curl = curl_easy_init();
    if (!curl)
        return NULL;
    *message = 0;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, SILENT_S);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "pearvisor/" PV_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    return curl;
}

static int transfer_error(struct pv_error **err, const char *url, CURLcode code,
                          const char *message)
{
    return pv_error_set(err, code == CURLE_OPERATION_TIMEDOUT ? ETIMEDOUT : EIO, "%s: %s", url,
                        *message ? message : curl_easy_strerror(code));
}

/* ---- Text ---- */

struct text {
    char *data;
    size_t size;
    bool too_long;
};

static size_t take_text(char *data, size_t one, size_t size, void *opaque)
{
    struct text *text = opaque;
    (void)one;
    if (text->size + size > TEXT_MAX) {
        text->too_long = true;
        return 0;
    }
    char *longer = realloc(text->data, text->size + size + 1);
    if (!longer)
        return 0;
    memcpy(longer + text->size, data, size);
    text->data = longer;
    text->size += size;
    longer[text->size] = 0;
    return size;
}

int fetch_text(const char *url, char **out, size_t *size, struct pv_error **err)
{
    char message[CURL_ERROR_SIZE];
    struct text text = {.data = calloc(1, 1)};
    CURL *curl = text.data ? new_transfer(url, message) : NULL;
    int ret = 0;
    if (!curl) {
        free(text.data);
        return pv_error_set(err, ENOMEM, "%s: out of memory", url);
    }
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_text);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &text);
    CURLcode code = curl_easy_perform(curl);
    if (text.too_long)
        ret = pv_error_set(err, EFBIG, "%s: longer than 1 MiB, which no list of checksums is", url);
    else if (code)
        ret = transfer_error(err, url, code, message);
    curl_easy_cleanup(curl);
    if (ret < 0) {
        free(text.data);
        return ret;
    }
    *out = text.data;
    *size = text.size;
    return 0;
}

/* ---- Files ---- */

struct download {
    const char *url;
    CURL *curl;
    const struct fetch_progress *progress;
    char *part, *version_path;
    int fd;
    uint64_t had;   /* bytes that were there before this transfer, and count */
    uint64_t taken; /* bytes of this transfer that were written */
    bool began;
    int write_error;
    char version[VERSION_MAX]; /* of what the server sends now; empty: it does not say */
};

static bool header_is(const char *data, size_t size, const char *name, char *out)
{
    const size_t length = strlen(name);
    if (size <= length || strncasecmp(data, name, length) != 0)
        return false;
    data += length;
    size -= length;
    while (size && (*data == ' ' || *data == '\t'))
        data++, size--;
    while (size && strchr("\r\n \t", data[size - 1]))
        size--;
    if (size >= VERSION_MAX)
        size = 0;
    memcpy(out, data, size);
    out[size] = 0;
    return true;
}

/* A strong ETag names a version; without one the date does well enough. */
static size_t take_header(char *data, size_t one, size_t size, void *opaque)
{
    struct download *d = opaque;
    char value[VERSION_MAX];
    (void)one;
    if (size >= 5 && !strncasecmp(data, "HTTP/", 5))
        d->version[0] = 0; /* another answer, as behind a redirect */
    else if (header_is(data, size, "ETag:", value) && *value == '"')
        memcpy(d->version, value, sizeof(value));
    else if (header_is(data, size, "Last-Modified:", value) && !d->version[0])
        memcpy(d->version, value, sizeof(value));
    return size;
}

static void remember_version(const struct download *d)
{
    FILE *file = d->version[0] ? fopen(d->version_path, "w") : NULL;
    if (!file) {
        unlink(d->version_path);
        return;
    }
    fputs(d->version, file);
    fclose(file);
}

/* At the first byte: whether the server goes on where we asked it to, or sends all. */
static void begin_body(struct download *d)
{
    long status = 0;
    curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
    d->began = true;
    if (status == 206)
        return;
    d->had = 0;
    if (ftruncate(d->fd, 0) < 0 || lseek(d->fd, 0, SEEK_SET) < 0)
        d->write_error = errno;
    remember_version(d);
}

static size_t take_body(char *data, size_t one, size_t size, void *opaque)
{
    struct download *d = opaque;
    size_t done = 0;
    (void)one;
    if (!d->began)
        begin_body(d);
    while (done < size && !d->write_error) {
        ssize_t n = write(d->fd, data + done, size - done);
        if (n < 0 && errno != EINTR)
            d->write_error = errno;
        done += n > 0 ? (size_t)n : 0;
    }
    d->taken += done;
    return done;
}

static int show_progress(void *opaque, curl_off_t total, curl_off_t now, curl_off_t up_total,
                         curl_off_t up_now)
{
    const struct download *d = opaque;
    (void)up_total;
    (void)up_now;
    if (d->began && d->progress && d->progress->show)
        d->progress->show(d->progress->opaque, d->had + (uint64_t)now,
                          total > 0 ? d->had + (uint64_t)total : 0);
    return 0;
}

/* What is there counts only if it is known of which version it is. */
static struct curl_slist *ask_for_rest(struct download *d)
{
    char version[VERSION_MAX] = "", header[VERSION_MAX + 16];
    struct stat st;
    FILE *file = fopen(d->version_path, "r");
    if (file && !fgets(version, sizeof(version), file))
        version[0] = 0;
    if (file)
        fclose(file);
    d->had = fstat(d->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    if (!version[0] || !d->had) {
        d->had = 0;
        return NULL;
    }
    lseek(d->fd, 0, SEEK_END);
    curl_easy_setopt(d->curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)d->had);
    snprintf(header, sizeof(header), "If-Range: %s", version);
    return curl_slist_append(NULL, header);
}

static int judge(const struct download *d, CURLcode code, const char *message,
                 struct pv_error **err)
{
    if (d->write_error)
        return pv_error_errno(err, d->write_error, "%s", d->part);
    if (code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_OPERATION_TIMEDOUT)
        return pv_error_set(err, EIO,
                            "%s: it broke off after %llu bytes (%s); the same again goes on there",
                            d->url, (unsigned long long)(d->had + d->taken),
                            *message ? message : curl_easy_strerror(code));
    return code ? transfer_error(err, d->url, code, message) : 0;
}

static int transfer(struct download *d, struct pv_error **err)
{
    char message[CURL_ERROR_SIZE];
    d->curl = new_transfer(d->url, message);
    if (!d->curl)
        return pv_error_set(err, ENOMEM, "%s: out of memory", d->url);
    d->began = false;
    d->taken = 0;
    struct curl_slist *headers = ask_for_rest(d);
    curl_easy_setopt(d->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(d->curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(d->curl, CURLOPT_HEADERDATA, d);
    curl_easy_setopt(d->curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(d->curl, CURLOPT_WRITEDATA, d);
    curl_easy_setopt(d->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(d->curl, CURLOPT_XFERINFOFUNCTION, show_progress);
    curl_easy_setopt(d->curl, CURLOPT_XFERINFODATA, d);
    CURLcode code = curl_easy_perform(d->curl);
    long status = 0;
    curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(d->curl);
    /* 416: nothing is behind what is there, or (curl) the server goes on somewhere else. */
    if (d->had && (status == 416 || code == CURLE_RANGE_ERROR))
        return -EAGAIN;
    return judge(d, code, message, err);
}

static int open_part(struct download *d, struct pv_error **err)
{
    d->fd = open(d->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (d->fd < 0)
        return pv_error_errno(err, errno, "%s", d->part);
    if (flock(d->fd, LOCK_EX | LOCK_NB) < 0)
        return pv_error_set(err, EBUSY, "%s: another process downloads it", d->part);
    return 0;
}

static int run(struct download *d, const char *path, struct pv_error **err)
{
    int ret = open_part(d, err);
    if (ret < 0)
        return ret;
    ret = transfer(d, err);
    if (ret == -EAGAIN) {
        if (ftruncate(d->fd, 0) < 0)
            return pv_error_errno(err, errno, "%s", d->part);
        ret = transfer(d, err);
    }
    if (ret >= 0 && (fsync(d->fd) < 0 || rename(d->part, path) < 0))
        ret = pv_error_errno(err, errno, "%s", path);
    if (ret >= 0)
        unlink(d->version_path);
    return ret;
}

int fetch_file(const char *url, const char *path, const struct fetch_progress *progress,
               struct pv_error **err)
{
    struct download d = {.url = url, .progress = progress, .fd = -1};
    int ret = -ENOMEM;
    if (asprintf(&d.part, "%s.part", path) < 0)
        d.part = NULL;
    if (asprintf(&d.version_path, "%s.part.version", path) < 0)
        d.version_path = NULL;
    if (d.part && d.version_path)
        ret = run(&d, path, err);
    else
        pv_error_set(err, ENOMEM, "%s: out of memory", path);
    if (d.fd >= 0)
        close(d.fd);
    free(d.part);
    free(d.version_path);
    return ret;
}

void fetch_forget(const char *path)
{
    static const char *const ends[] = {"", ".part", ".part.version"};
    for (size_t i = 0; i < PV_ARRAY_SIZE(ends); i++) {
        PV_CLEANUP_FREE char *name = NULL;
        if (asprintf(&name, "%s%s", path, ends[i]) >= 0)
            unlink(name);
    }
}
