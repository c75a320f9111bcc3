/* SPDX-License-Identifier: MIT */
#include "fetch/digest.h"

#include "base/error.h"
#include "base/util.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <string.h>

#define PIECE (256u << 10)

static const struct {
    const char *name;
    gnutls_digest_algorithm_t algorithm;
    unsigned bytes;
} kinds[] = {
    [DIGEST_SHA256] = {"SHA256", GNUTLS_DIG_SHA256, 32},
    [DIGEST_SHA512] = {"SHA512", GNUTLS_DIG_SHA512, 64},
};

const char *digest_name(enum digest_kind kind)
{
    return kinds[kind].name;
}

static int parse(const char *text, size_t length, enum digest_kind *kind,
                 char digits[DIGEST_TEXT_MAX])
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(kinds); i++) {
        if (length != 2 * (size_t)kinds[i].bytes)
            continue;
        for (size_t at = 0; at < length; at++) {
            if (!isxdigit((unsigned char)text[at]))
                return -EINVAL;
            digits[at] = (char)tolower((unsigned char)text[at]);
        }
        digits[length] = 0;
        *kind = (enum digest_kind)i;
        return 0;
    }
    return -EINVAL;
}

int digest_parse(const char *text, enum digest_kind *kind, char digits[DIGEST_TEXT_MAX])
{
    return parse(text, strlen(text), kind, digits);
}

/* ---- Files ---- */

static int hash_all(int fd, gnutls_hash_hd_t hash, const char *path, struct pv_error **err)
{
    PV_CLEANUP_FREE uint8_t *data = malloc(PIECE);
    if (!data)
        return pv_error_set(err, ENOMEM, "%s: out of memory", path);
    for (;;) {
        ssize_t n = read(fd, data, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pv_error_errno(err, errno, "%s", path);
        if (n == 0)
            return 0;
        if (gnutls_hash(hash, data, (size_t)n) < 0)
            return pv_error_set(err, EIO, "%s: computing its checksum", path);
    }
}

int digest_file(const char *path, enum digest_kind kind, char digits[DIGEST_TEXT_MAX],
                struct pv_error **err)
{
    uint8_t bytes[DIGEST_BYTES_MAX];
    gnutls_hash_hd_t hash;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return pv_error_errno(err, errno, "%s", path);
    int ret = gnutls_hash_init(&hash, kinds[kind].algorithm) < 0
                  ? pv_error_set(err, EIO, "%s cannot be computed here", kinds[kind].name)
                  : 0;
    if (ret == 0) {
        ret = hash_all(fd, hash, path, err);
        gnutls_hash_deinit(hash, bytes);
    }
    close(fd);
    for (unsigned i = 0; ret == 0 && i < kinds[kind].bytes; i++)
        snprintf(digits + (size_t)2 * i, 3, "%02x", bytes[i]);
    return ret;
}

/* ---- Lists ---- */

static bool is_name(const char *text, size_t length, const char *name)
{
    return length == strlen(name) && !memcmp(text, name, length);
}

/* "DIGITS  NAME"; the second blank says how the file was read. */
static bool entry_of_sum(const char *line, size_t length, const char *name, enum digest_kind *kind,
                         char digits[DIGEST_TEXT_MAX])
{
    const char *blank = memchr(line, ' ', length);
    if (!blank || blank + 2 > line + length || (blank[1] != ' ' && blank[1] != '*'))
        return false;
    const char *file = blank + 2;
    if (file + 2 <= line + length && file[0] == '.' && file[1] == '/')
        file += 2;
    return is_name(file, (size_t)(line + length - file), name) &&
           parse(line, (size_t)(blank - line), kind, digits) == 0;
}

/* "SHA256 (NAME) = DIGITS" */
static bool entry_of_bsd(const char *line, size_t length, const char *name, enum digest_kind *kind,
                         char digits[DIGEST_TEXT_MAX])
{
    static const char between[] = ") = ";
    const char *open = memchr(line, '(', length);
    if (!open || open == line)
        return false;
    const char *file = open + 1, *end = line + length;
    const char *close = memmem(file, (size_t)(end - file), between, sizeof(between) - 1);
    if (!close || !is_name(file, (size_t)(close - file), name))
        return false;
    const char *text = close + sizeof(between) - 1;
    return parse(text, (size_t)(end - text), kind, digits) == 0;
}

int digest_in_list(const char *list, const char *name, enum digest_kind *kind,
                   char digits[DIGEST_TEXT_MAX])
{
    for (const char *line = list; *line;) {
        const size_t whole = strcspn(line, "\n");
        size_t length = whole;
        while (length && isspace((unsigned char)line[length - 1]))
            length--;
        if (entry_of_sum(line, length, name, kind, digits) ||
            entry_of_bsd(line, length, name, kind, digits))
            return 0;
        line += whole + (line[whole] != 0);
    }
    return -ENOENT;
}
