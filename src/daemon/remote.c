/* SPDX-License-Identifier: MIT */
#include "daemon/remote.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define MAX_FILE ((size_t)256 << 10)
#define BACKLOG  64

static int out_of_memory(struct pv_error **err)
{
    return pv_error_set(err, ENOMEM, "out of memory");
}

/* ---- Files ---- */

/* All of a file, with a NUL behind it. A secret is one that nobody else may read. */
static int read_file(char **out, const char *path, bool secret, struct pv_error **err)
{
    PV_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return pv_error_errno(err, errno, "'%s'", path);
    if (secret && st.st_mode & (S_IRWXG | S_IRWXO))
        return pv_error_set(err, EPERM, "'%s': others may read it; 'chmod 600' it", path);
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (size_t)st.st_size > MAX_FILE)
        return pv_error_set(err, EINVAL, "'%s': a file of 1 to %zu bytes is needed", path,
                            MAX_FILE);
    PV_CLEANUP_FREE char *text = calloc(1, (size_t)st.st_size + 1);
    if (!text)
        return out_of_memory(err);
    ssize_t n = read(fd, text, (size_t)st.st_size);
    if (n != st.st_size)
        return pv_error_errno(err, n < 0 ? errno : EIO, "'%s'", path);
    *out = PV_STEAL(text);
    return 0;
}

/* What can stand in a header: no spaces, no control characters. */
static int read_token(char **out, const char *path, struct pv_error **err)
{
    int ret = read_file(out, path, true, err);
    if (ret < 0)
        return ret;
    char *token = *out;
    token[strcspn(token, "\r\n")] = '\0';
    const size_t len = strlen(token);
    bool good = len >= PV_REMOTE_TOKEN_MIN && len <= PV_REMOTE_TOKEN_MAX;
    for (size_t i = 0; good && i < len; i++)
        good = token[i] > ' ' && token[i] <= '~';
    return good ? 0
                : pv_error_set(err, EINVAL,
                               "'%s': its first line is to be a token of %u to %u characters "
                               "without spaces, as 'openssl rand -hex 32' makes one",
                               path, PV_REMOTE_TOKEN_MIN, PV_REMOTE_TOKEN_MAX);
}

/* ---- The socket ---- */

static int resolve(struct addrinfo **out, const char *address, struct pv_error **err)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_socktype = SOCK_STREAM};
    PV_CLEANUP_FREE char *copy = strdup(address);
    if (!copy)
        return out_of_memory(err);
    char *host = copy, *colon = strrchr(copy, ':');
    if (colon) {
        *colon = '\0';
        if (*host == '[' && colon > host + 1 && colon[-1] == ']') {
            colon[-1] = '\0';
            host++;
        }
    }
    if (!colon || !*host || !colon[1] || getaddrinfo(host, colon + 1, &hints, out) != 0)
        return pv_error_set(err, EINVAL,
                            "--listen '%s': use ADDRESS:PORT in numbers, such as 192.0.2.7:8443 "
                            "or [::1]:8443",
                            address);
    return 0;
}

static int listen_at(int *listener, const char *address, struct pv_error **err)
{
    struct addrinfo *info = NULL;
    const int yes = 1;
    int ret = resolve(&info, address, err);
    if (ret < 0)
        return ret;
    PV_CLEANUP_FD int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
        bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        ret = pv_error_errno(err, errno, "--listen '%s'", address);
    else
        *listener = PV_STEAL_FD(fd);
    freeaddrinfo(info);
    return ret;
}

/* ---- Life ---- */

int pv_remote_open(struct pv_remote *remote, const struct pv_remote_config *config,
                   struct pv_error **err)
{
    *remote = (struct pv_remote){.listener = -1};
    if (!config->certificate || !config->key || !config->token)
        return pv_error_set(err, EINVAL, "--listen needs --tls-certificate, --tls-key and --token");
    int ret = read_file(&remote->certificate, config->certificate, false, err);
    if (ret >= 0)
        ret = read_file(&remote->key, config->key, true, err);
    if (ret >= 0)
        ret = read_token(&remote->token, config->token, err);
    return ret < 0 ? ret : listen_at(&remote->listener, config->address, err);
}

static void free_secret(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void pv_remote_finish(struct pv_remote *remote)
{
    if (remote->listener >= 0)
        close(remote->listener);
    free(remote->certificate);
    free_secret(remote->key);
    free_secret(remote->token);
    *remote = (struct pv_remote){.listener = -1};
}

bool pv_remote_admits(const struct pv_remote *remote, const char *authorization)
{
    static const char scheme[] = "Bearer ";
    if (!authorization || strncasecmp(authorization, scheme, strlen(scheme)) != 0)
        return false;
    const char *given = authorization + strlen(scheme);
    const size_t len = strlen(remote->token), given_len = strlen(given);
    unsigned char differs = len != given_len;
    for (size_t i = 0; i < len; i++)
        differs |= (unsigned char)(remote->token[i] ^ given[i < given_len ? i : given_len]);
    return !differs;
}
