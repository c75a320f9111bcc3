/* SPDX-License-Identifier: MIT */
/*
 * A profile is a list of rules, of which the last that matches an operation decides. What a process
 * may do that the profile does not speak of stays allowed, as it does with Landlock: the rules take
 * away files, programs, other processes and the services that act for their owner, and then give
 * back the files of the grants. So the framework of virtual machines, Metal and the network need
 * no rules, whose names nobody publishes.
 *
 * Grants are of data. What a file is called, how large it is and whether it exists may be asked of
 * all files: the C library does so on the way to each one that it opens.
 */
#include "host/sandbox_profile.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Libraries and frameworks are opened late, by Metal and by the resolver of names. The slave of a
 * terminal is opened by its name, which is known only when it is made: the system marks those that
 * the process itself made.
 */
static const char base_rules[] =
    "(version 1)\n"
    "(allow default)\n"
    "(deny process-exec*)\n"
    "(deny process-fork)\n"
    "(deny signal (target others))\n"
    "(deny mach-priv-task-port)\n"
    "(deny lsopen)\n"
    "(deny appleevent-send)\n"
    "(deny mach-lookup (global-name \"com.apple.SecurityServer\")"
    " (global-name \"com.apple.securityd.xpc\") (global-name \"com.apple.pasteboard.1\"))\n"
    "(deny file-read* file-write*)\n"
    "(allow file-read-metadata)\n"
    "(allow file-read* (literal \"/\") (subpath \"/System\") (subpath \"/usr/lib\")"
    " (subpath \"/opt/homebrew\") (subpath \"/private/etc/ssl\")"
    " (subpath \"/private/var/db/dyld\") (subpath \"/private/var/db/timezone\"))\n"
    "(allow file-read* file-write-data (require-all (regex #\"^/dev/ttys[0-9]+$\")"
    " (extension \"com.apple.sandbox.pty\")))\n";

static const char *const operations[] = {
    [PV_GRANT_READ] = "file-read*",
    [PV_GRANT_WRITE] = "file-read* file-write-data",
    [PV_GRANT_CREATE] = "file-read* file-write*",
};

/* Within quotes only a quote and a backslash mean something; parentheses are as they are. */
static int append_string(struct pv_buffer *out, const char *text)
{
    int ret = pv_buffer_append(out, "\"", 1);
    for (; *text && ret >= 0; text++) {
        if (*text == '"' || *text == '\\')
            ret = pv_buffer_append(out, "\\", 1);
        if (ret >= 0)
            ret = pv_buffer_append(out, text, 1);
    }
    return ret < 0 ? ret : pv_buffer_append(out, "\"", 1);
}

static bool has_control_character(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    }
    return false;
}

static int append_grant(struct pv_buffer *out, const struct pv_grant *grant, struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = realpath(grant->path, NULL);
    if (!path)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES
                   ? 0
                   : pv_error_errno(err, errno, "confinement: %s", grant->path);
    if (has_control_character(path))
        return pv_error_set(err, EINVAL,
                            "confinement: the name of a file to be granted has a control "
                            "character; rename it, or use --confine off");
    int ret = pv_buffer_printf(out, "(allow %s (subpath ", operations[grant->access]);
    if (ret >= 0)
        ret = append_string(out, path);
    if (ret >= 0)
        ret = pv_buffer_append(out, "))\n", 3);
    return ret < 0 ? pv_error_errno(err, -ret, "confinement: the sandbox's profile") : 0;
}

int pv_sandbox_profile(struct pv_buffer *out, const struct pv_grant *grants, size_t count,
                       struct pv_error **err)
{
    int ret = pv_buffer_append(out, base_rules, sizeof(base_rules) - 1);
    if (ret < 0)
        return pv_error_errno(err, -ret, "confinement: the sandbox's profile");
    for (size_t i = 0; i < count && ret >= 0; i++)
        ret = append_grant(out, &grants[i], err);
    return PV_MIN(ret, 0);
}
