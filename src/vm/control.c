/* SPDX-License-Identifier: MIT */
#include "vm/control.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "host/loop.h"
#include "host/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_CLIENTS 16u
/* A request is a line of at most so many bytes; so much may wait for a client that does not read.
 */
#define MAX_LINE   (64 * 1024u)
#define MAX_UNREAD (1024 * 1024u)
#define READ_SIZE  4096u

struct client {
    struct pv_control *control;
    struct client *next;
    struct pv_watch *watch;
    struct pv_buffer in, out;
    int fd;
    bool gone; /* to be freed by whoever comes out last */
    bool busy; /* client_ready() is running */
};

struct pv_control_request {
    struct pv_control *control;
    struct pv_control_request *next;
    struct client *client; /* NULL once it is gone */
    json_t *message;
};

struct pv_control {
    struct pv_loop *loop;
    const struct pv_control_verb *verbs;
    size_t verb_count;
    void *opaque;
    char *path;
    struct pv_watch *watch;
    struct client *clients;
    struct pv_control_request *requests;
    int listener;
};

/* ---- Clients ---- */

static void free_client(struct client *client)
{
    struct client **link = &client->control->clients;
    while (*link != client)
        link = &(*link)->next;
    *link = client->next;
    for (struct pv_control_request *r = client->control->requests; r; r = r->next) {
        if (r->client == client)
            r->client = NULL;
    }
    pv_watch_destroy(client->watch);
    pv_buffer_finish(&client->in);
    pv_buffer_finish(&client->out);
    close(client->fd);
    free(client);
}

/* Writes what it can; the rest when the client has read something. */
static void flush(struct client *client)
{
    while (client->out.size && !client->gone) {
        ssize_t n = send(client->fd, client->out.data, client->out.size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            client->gone = true;
        else
            pv_buffer_consume(&client->out, (size_t)n);
    }
    pv_watch_update(client->watch, PV_LOOP_READ | (client->out.size ? PV_LOOP_WRITE : 0));
}

static void send_message(struct client *client, json_t *message)
{
    PV_CLEANUP_FREE char *text = json_dumps(message, JSON_COMPACT);
    if (!text || pv_buffer_append(&client->out, text, strlen(text)) < 0 ||
        pv_buffer_append(&client->out, "\n", 1) < 0)
        client->gone = true;
    flush(client);
}

/* ---- Requests ---- */

static const char *directory(const struct pv_control_request *request)
{
    return json_string_value(json_object_get(request->message, "directory"));
}

const char *pv_control_argument(const struct pv_control_request *request, const char *name)
{
    return json_string_value(json_object_get(json_object_get(request->message, "arguments"), name));
}

char *pv_control_path_argument(const struct pv_control_request *request, const char *name)
{
    const char *path = pv_control_argument(request, name);
    char *absolute;
    if (!path)
        return NULL;
    if (*path == '/' || !directory(request))
        return strdup(path);
    return asprintf(&absolute, "%s/%s", directory(request), path) < 0 ? NULL : absolute;
}

void pv_control_answer(struct pv_control_request *request, json_t *result, struct pv_error **err)
{
    struct pv_control_request **link = &request->control->requests;
    struct client *client = request->client;

    while (*link != request)
        link = &(*link)->next;
    *link = request->next;
    if (client) {
        json_t *message = json_object();
        json_t *id = json_object_get(request->message, "id");
        if (id)
            json_object_set(message, "id", id);
        if (*err)
            json_object_set_new(message, "error", json_string(pv_error_message(*err)));
        else
            json_object_set_new(message, "result", result ? json_incref(result) : json_object());
        send_message(client, message);
        json_decref(message);
        if (client->gone && !client->busy)
            free_client(client);
    }
    json_decref(result);
    pv_error_free(err);
    json_decref(request->message);
    free(request);
}

static bool is_among(const char *const names[PV_CONTROL_MAX_ARGUMENTS], const char *name)
{
    for (size_t i = 0; i < PV_CONTROL_MAX_ARGUMENTS && names[i]; i++) {
        if (!strcmp(names[i], name))
            return true;
    }
    return false;
}

static int check_arguments(const struct pv_control_verb *verb, json_t *arguments,
                           struct pv_error **err)
{
    const char *name;
    json_t *value;

    if (arguments && !json_is_object(arguments))
        return pv_error_set(err, EINVAL, "%s: its arguments are not an object", verb->name);
    json_object_foreach(arguments, name, value)
    {
        if (!is_among(verb->required, name) && !is_among(verb->optional, name))
            return pv_error_set(err, EINVAL, "%s: unknown argument '%s'", verb->name, name);
        if (!json_is_string(value))
            return pv_error_set(err, EINVAL, "%s: %s is not a string", verb->name, name);
    }
    for (size_t i = 0; i < PV_CONTROL_MAX_ARGUMENTS && verb->required[i]; i++) {
        if (!json_object_get(arguments, verb->required[i]))
            return pv_error_set(err, EINVAL, "%s: it needs %s=VALUE", verb->name,
                                verb->required[i]);
    }
    return 0;
}

static int unknown_verb(const struct pv_control *control, const char *name, struct pv_error **err)
{
    PV_CLEANUP_BUFFER struct pv_buffer known = PV_BUFFER_INIT(1024);
    for (size_t i = 0; i < control->verb_count; i++)
        pv_buffer_printf(&known, "%s%s", i ? ", " : "", control->verbs[i].name);
    return pv_error_set(err, EINVAL, "'%s' is not known; there are %s", name,
                        known.data ? known.data : "none");
}

static int run_request(struct pv_control_request *request, json_t **result, struct pv_error **err)
{
    const struct pv_control *control = request->control;
    const char *name = json_string_value(json_object_get(request->message, "verb"));

    if (!name)
        return pv_error_set(err, EINVAL, "a request is an object with a \"verb\", a string");
    for (size_t i = 0; i < control->verb_count; i++) {
        const struct pv_control_verb *verb = &control->verbs[i];
        if (strcmp(verb->name, name) != 0)
            continue;
        int ret = check_arguments(verb, json_object_get(request->message, "arguments"), err);
        return ret < 0 ? ret : verb->run(control->opaque, request, result, err);
    }
    return unknown_verb(control, name, err);
}

static void handle_line(struct client *client, const char *line, size_t len)
{
    struct pv_control_request *request = calloc(1, sizeof(*request));
    struct pv_error *err = NULL;
    json_t *result = NULL;
    json_error_t where;
    int ret;

    if (!request) {
        client->gone = true;
        return;
    }
    request->control = client->control;
    request->client = client;
    request->next = client->control->requests;
    client->control->requests = request;
    request->message = json_loadb(line, len, JSON_REJECT_DUPLICATES, &where);
    ret = request->message ? run_request(request, &result, &err)
                           : pv_error_set(&err, EINVAL, "not JSON: %s", where.text);
    if (ret != PV_CONTROL_LATER)
        pv_control_answer(request, result, &err);
}

/* ---- Sockets ---- */

static void receive(struct client *client)
{
    char chunk[READ_SIZE];
    ssize_t n = recv(client->fd, chunk, sizeof(chunk), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || pv_buffer_append(&client->in, chunk, (size_t)n) < 0) {
        client->gone = true;
        return;
    }
    char *end;
    while (!client->gone && client->in.size &&
           (end = memchr(client->in.data, '\n', client->in.size))) {
        size_t len = (size_t)(end - client->in.data);
        if (len)
            handle_line(client, client->in.data, len);
        pv_buffer_consume(&client->in, len + 1);
    }
}

static void client_ready(void *opaque, int fd, unsigned events)
{
    struct client *client = opaque;

    client->busy = true;
    if (events & PV_LOOP_WRITE)
        flush(client);
    if (events & PV_LOOP_READ)
        receive(client);
    else if (events & PV_LOOP_HUP)
        client->gone = true;
    client->busy = false;
    if (client->gone)
        free_client(client);
}

static void listener_ready(void *opaque, int listener, unsigned events)
{
    struct pv_control *control = opaque;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    PV_CLEANUP_FD int fd = pv_unix_accept(listener);
    struct client *client;
    unsigned count = 0;

    for (client = control->clients; client; client = client->next)
        count++;
    if (fd < 0 || count >= MAX_CLIENTS || !(client = calloc(1, sizeof(*client))))
        return;
    client->in = PV_BUFFER_INIT(MAX_LINE);
    client->out = PV_BUFFER_INIT(MAX_UNREAD);
    client->control = control;
    if (pv_watch_create(&client->watch, control->loop, fd, PV_LOOP_READ, client_ready, client,
                        &err) < 0) {
        pv_warn(PV_LOG_VM, "control: %s", pv_error_message(err));
        free(client);
        return;
    }
    client->fd = PV_STEAL_FD(fd);
    client->next = control->clients;
    control->clients = client;
}

int pv_control_create(struct pv_control **out, struct pv_loop *loop, const char *path,
                      const struct pv_control_verb *verbs, size_t verb_count, void *opaque,
                      struct pv_error **err)
{
    struct pv_control *control = calloc(1, sizeof(*control));
    if (!control)
        return pv_error_set(err, ENOMEM, "out of memory for the control socket");
    *control = (struct pv_control){
        .loop = loop,
        .verbs = verbs,
        .verb_count = verb_count,
        .opaque = opaque,
        .listener = -1,
    };
    int ret = pv_unix_listen(path, "control socket", &control->listener, err);
    if (ret >= 0) {
        control->path = strdup(path);
        ret = pv_watch_create(&control->watch, loop, control->listener, PV_LOOP_READ,
                              listener_ready, control, err);
    }
    if (ret < 0) {
        pv_control_destroy(control);
        return ret;
    }
    *out = control;
    return 0;
}

void pv_control_destroy(struct pv_control *control)
{
    if (!control)
        return;
    while (control->clients)
        free_client(control->clients);
    for (struct pv_control_request *next, *r = control->requests; r; r = next) {
        next = r->next;
        json_decref(r->message);
        free(r);
    }
    pv_watch_destroy(control->watch);
    if (control->listener >= 0) {
        close(control->listener);
        if (control->path)
            unlink(control->path);
    }
    free(control->path);
    free(control);
}
