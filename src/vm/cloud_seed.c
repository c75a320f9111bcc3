/* SPDX-License-Identifier: MIT */
/*
 * user-data is YAML, of which JSON is a part: so values are quoted by jansson, whatever they are.
 *
 * The instance's id is made of what the seed says: cloud-init does its work again when it is
 * another one, and only then.
 */
#include "vm/cloud_seed.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"
#include "block/iso9660.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#define HEAD  "#cloud-config\n"
#define AGENT "pearvisor-agent"

/* Runs in the guest as root, once for each instance. */
static const char install_agent[] =
    "d=$(mktemp -d) && mount -o ro LABEL=CIDATA $d && "
    "install -m 755 $d/" AGENT " /usr/sbin/" AGENT " && umount $d && rmdir $d && "
    "printf '[Unit]\\nDescription=PearVisor guest agent\\n[Service]\\nExecStart=/usr/sbin/" AGENT
    "\\nRestart=always\\n[Install]\\nWantedBy=multi-user.target\\n' "
    ">/etc/systemd/system/" AGENT ".service && systemctl enable --now " AGENT;

/* Takes the value over. jansson gives NULL for what is no UTF-8, and that is remembered. */
static void add(json_t **root, const char *key, json_t *value)
{
    if (*root && json_object_set_new(*root, key, value) < 0) {
        json_decref(*root);
        *root = NULL;
    } else if (!*root) {
        json_decref(value);
    }
}

static void add_text(json_t **root, const char *key, const char *text)
{
    if (text)
        add(root, key, json_string(text));
}

static json_t *list(const char *const *items, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count && array; i++)
        if (json_array_append_new(array, json_string(items[i])) < 0) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

static json_t *user_of(const struct pv_cloud_seed *seed)
{
    json_t *user = json_object();
    add_text(&user, "name", seed->user);
    add_text(&user, "shell", "/bin/bash");
    add_text(&user, "sudo", "ALL=(ALL) NOPASSWD:ALL");
    add_text(&user, "passwd", seed->password_hash);
    add(&user, "lock_passwd", json_boolean(!seed->password_hash));
    add(&user, "ssh_authorized_keys", list(seed->keys, seed->key_count));
    return user;
}

static json_t *config_of(const struct pv_cloud_seed *seed)
{
    json_t *root = json_object();
    add_text(&root, "hostname", seed->hostname);
    if (seed->user)
        add(&root, "users", json_pack("[o]", user_of(seed)));
    else if (seed->key_count)
        add(&root, "ssh_authorized_keys", list(seed->keys, seed->key_count));
    if (seed->password_hash)
        add(&root, "ssh_pwauth", json_true());
    add_text(&root, "timezone", seed->timezone);
    if (seed->package_count) {
        add(&root, "package_update", json_true());
        add(&root, "packages", list(seed->packages, seed->package_count));
    }
    if (seed->agent)
        add(&root, "runcmd", json_pack("[[s, s, s]]", "sh", "-c", install_agent));
    return root;
}

/* FNV-1a, of 64 bits. */
static uint64_t hash(uint64_t sum, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

static char *make_user_data(const struct pv_cloud_seed *seed)
{
    char *text = NULL;
    if (seed->user_data)
        return strdup(seed->user_data);
    json_t *root = config_of(seed);
    PV_CLEANUP_FREE char *json = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    return json && asprintf(&text, HEAD "%s\n", json) >= 0 ? text : NULL;
}

static char *make_meta_data(const struct pv_cloud_seed *seed, const char *user_data)
{
    uint64_t id = UINT64_C(0xcbf29ce484222325);
    char instance[32];
    id = hash(id, seed->hostname, strlen(seed->hostname) + 1);
    id = hash(id, user_data, strlen(user_data));
    snprintf(instance, sizeof(instance), "pearvisor-%016" PRIx64, id);
    json_t *root =
        json_pack("{s:s, s:s}", "instance-id", instance, "local-hostname", seed->hostname);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    return text;
}

int pv_cloud_seed_make(struct pv_buffer *out, const struct pv_cloud_seed *seed,
                       struct pv_error **err)
{
    PV_CLEANUP_FREE char *user_data = make_user_data(seed);
    PV_CLEANUP_FREE char *meta_data = user_data ? make_meta_data(seed, user_data) : NULL;
    if (!meta_data)
        return pv_error_set(err, EINVAL, "cloud-init: out of memory, or a value is not UTF-8");
    const struct pv_iso_file files[] = {
        {"user-data", user_data, strlen(user_data)},
        {"meta-data", meta_data, strlen(meta_data)},
        {AGENT, seed->agent, seed->agent_size},
    };
    return pv_iso9660_make(out, "CIDATA", files, seed->agent ? 3 : 2, err);
}
