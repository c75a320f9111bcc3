/* SPDX-License-Identifier: MIT */
#include "cli/library.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

static int image_folder(char **out, const char *name, struct pv_error **err)
{
    const char *home = getenv("PEARVISOR_HOME");
    const char *data = getenv("XDG_DATA_HOME");
    const char *user = getenv("HOME");
    int len;
    if (home && *home)
        len = asprintf(out, "%s/images/%s", home, name);
    else if (data && *data)
        len = asprintf(out, "%s/pearvisor/images/%s", data, name);
    else if (user && *user)
        len = asprintf(out, "%s/.local/share/pearvisor/images/%s", user, name);
    else
        return pv_error_set(err, ENOENT, "image '%s': HOME is not set; set PEARVISOR_HOME", name);
    if (len >= 0)
        return 0;
    *out = NULL;
    return pv_error_set(err, ENOMEM, "image '%s': out of memory", name);
}

static int file_in(char **out, const char *folder, const char *file, struct pv_error **err)
{
    if (asprintf(out, "%s/%s", folder, file) >= 0)
        return 0;
    *out = NULL;
    return pv_error_set(err, ENOMEM, "%s: out of memory", folder);
}

int cli_image_find(struct cli_image *image, const char *name, struct pv_error **err)
{
    *image = (struct cli_image){0};
    if (!*name || *name == '.' || strchr(name, '/'))
        return pv_error_set(err, EINVAL, "image '%s': not a name in the library", name);
    PV_CLEANUP_FREE char *folder = NULL;
    PV_CLEANUP_FREE char *manifest = NULL;
    int ret = image_folder(&folder, name, err);
    if (ret >= 0)
        ret = file_in(&manifest, folder, "image.json", err);
    if (ret < 0)
        return ret;
    if (access(manifest, R_OK) < 0)
        return pv_error_set(err, ENOENT,
                            "image '%s': not in the library; 'pearvisor image list' shows what is, "
                            "'pearvisor image build' makes one",
                            name);

    json_error_t problem;
    json_t *root = json_load_file(manifest, 0, &problem);
    const char *append = json_string_value(json_object_get(root, "append"));
    const char *boot = json_string_value(json_object_get(root, "boot"));
    if (boot && !strcmp(boot, "uefi")) {
        json_decref(root);
        return file_in(&image->disk, folder, "disk.img", err);
    }
    if (!append) {
        ret = pv_error_set(err, EINVAL, "%s: %s", manifest,
                           root ? "no kernel command line in it" : problem.text);
        json_decref(root);
        return ret;
    }
    image->append = strdup(append);
    json_decref(root);
    ret = image->append ? 0 : pv_error_set(err, ENOMEM, "image '%s': out of memory", name);
    if (ret >= 0)
        ret = file_in(&image->disk, folder, "disk.img", err);
    if (ret >= 0)
        ret = file_in(&image->kernel, folder, "vmlinuz", err);
    if (ret >= 0)
        ret = file_in(&image->initrd, folder, "initrd.img", err);
    if (ret < 0)
        cli_image_finish(image);
    return ret;
}

void cli_image_finish(struct cli_image *image)
{
    free(image->disk);
    free(image->kernel);
    free(image->initrd);
    free(image->append);
    *image = (struct cli_image){0};
}
