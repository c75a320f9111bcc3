/* SPDX-License-Identifier: MIT */
#include "daemon/daemon.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "daemon/api.h"
#include "daemon/remote.h"
#include "daemon/watch.h"
#include "host/unix_socket.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>

#define MAX_BODY        ((size_t)256 << 10)
#define MAX_CONNECTIONS 128u
#define MAX_FROM_ONE    32u /* address, of connections from other machines */
#define MAX_SECONDS     30u /* that a client may be silent for */
#define STREAM_BLOCK    8192u

struct pv_daemon {
    struct pv_daemon_config config;
    struct pv_watcher *watcher;
    struct MHD_Daemon *http;
    int listener;
    struct pv_remote remote;
    struct MHD_Daemon *https; /* or NULL */
};

/* A request that is still coming in. */
struct incoming {
    struct pv_buffer body;
    bool too_long;
};

struct stream {
    struct pv_daemon *daemon;
    json_int_t since;
};

const char *pv_daemon_program(const struct pv_daemon *daemon)
{
    return daemon->config.program;
}

struct pv_watcher *pv_daemon_watcher(const struct pv_daemon *daemon)
{
    return daemon->watcher;
}

/* ---- Answers ---- */

/* Takes `text`, which is NULL when there was no memory for it. */
static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status, char *text,
                                 size_t size, const char *type)
{
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE) : NULL;
    if (!response) {
        free(text);
        return MHD_NO; /* hangs up */
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result ret = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return ret;
}

static enum MHD_Result send_json(struct MHD_Connection *connection, unsigned status, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    return send_text(connection, status, text, text ? strlen(text) : 0, "application/json");
}

static enum MHD_Result send_error(struct MHD_Connection *connection, unsigned status,
                                  const char *message)
{
    /* What a guest or a file said may not be text. */
    json_t *json = json_pack("{s:s}", "error", message);
    if (!json)
        json = json_pack("{s:s}", "error", "it failed, and why is not text");
    enum MHD_Result ret = send_json(connection, status, json);
    json_decref(json);
    return ret;
}

static ssize_t read_stream(void *opaque, uint64_t position, char *buffer, size_t size)
{
    struct stream *stream = opaque;
    long used = pv_watcher_next(stream->daemon->watcher, &stream->since, buffer, size);
    if (used < 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (!used)
        buffer[used++] = '\n'; /* so that a client that has gone is noticed */
    return used;
}

static enum MHD_Result send_stream(struct pv_daemon *daemon, struct MHD_Connection *connection,
                                   json_int_t since)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return MHD_NO;
    *stream = (struct stream){daemon, since};
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, stream, free);
    if (!response) {
        free(stream);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/jsonl");
    enum MHD_Result ret = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return ret;
}

static enum MHD_Result send_reply(struct pv_daemon *daemon, struct MHD_Connection *connection,
                                  struct pv_api_reply *reply)
{
    if (reply->is_stream)
        return send_stream(daemon, connection, reply->since);
    if (reply->type)
        return send_text(connection, MHD_HTTP_OK, reply->text, reply->size, reply->type);
    if (!reply->json)
        reply->json = json_object();
    enum MHD_Result ret = send_json(connection, MHD_HTTP_OK, reply->json);
    json_decref(reply->json);
    return ret;
}

/* ---- Requests ---- */

static enum MHD_Result add_query(void *opaque, enum MHD_ValueKind kind, const char *key,
                                 const char *value)
{
    json_t *query = opaque;
    /* One that is not text, or comes twice, is a wrong value, which the check will say. */
    if (json_object_get(query, key) || json_object_set_new(query, key, json_string(value)) < 0)
        json_object_set_new(query, json_object_get(query, key) ? key : "?", json_null());
    return MHD_YES;
}

static int check(struct MHD_Connection *connection, const struct pv_api_operation *operation,
                 const struct incoming *incoming, json_t *values, struct pv_error **err)
{
    json_error_t where;
    json_t *body = NULL;
    if (incoming->body.size) {
        body = json_loadb(incoming->body.data, incoming->body.size, JSON_REJECT_DUPLICATES, &where);
        if (!body)
            return pv_error_set(err, EINVAL, "the body is not JSON: %s", where.text);
    }
    json_t *query = json_object();
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_query, query);
    int ret = pv_api_check(operation, query, body, values, err);
    json_decref(query);
    json_decref(body);
    return ret;
}

static enum MHD_Result dispatch(struct pv_daemon *daemon, struct MHD_Connection *connection,
                                const char *url, const char *method,
                                const struct incoming *incoming)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_api_reply reply = {0};
    unsigned status;
    json_t *values = json_object();
    const struct pv_api_operation *operation = pv_api_find(method, url, values, &status);
    enum MHD_Result result;
    if (!operation) {
        result = send_error(connection, status,
                            status == 404 ? "there is no such path" : "not with this method");
    } else if (incoming->too_long) {
        result = send_error(connection, 413, "the body is too long");
    } else {
        int ret = check(connection, operation, incoming, values, &err);
        if (ret >= 0)
            ret = operation->run(daemon, values, &reply, &err);
        result = ret < 0 ? send_error(connection, pv_api_status(pv_error_code(err)),
                                      pv_error_message(err))
                         : send_reply(daemon, connection, &reply);
    }
    json_decref(values);
    return result;
}

/* Called first with the headers, then with pieces of the body, then once without any. */
static enum MHD_Result handle(void *opaque, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    struct incoming *incoming = *state;
    if (!incoming) {
        *state = incoming = calloc(1, sizeof(*incoming));
        if (!incoming)
            return MHD_NO;
        incoming->body = PV_BUFFER_INIT(MAX_BODY);
        return MHD_YES;
    }
    if (*upload_size) {
        /* What is too long is read to its end, as a client that still sends does not listen. */
        incoming->too_long |= pv_buffer_append(&incoming->body, upload, *upload_size) < 0;
        *upload_size = 0;
        return MHD_YES;
    }
    return dispatch(opaque, connection, url, method, incoming);
}

/* Who has no token is told so before anything is read of the body, and is hung up on. */
static enum MHD_Result handle_remote(void *opaque, struct MHD_Connection *connection,
                                     const char *url, const char *method, const char *version,
                                     const char *upload, size_t *upload_size, void **state)
{
    static const char message[] = "{\"error\":\"the token is missing or wrong\"}";
    const struct pv_daemon *daemon = opaque;
    if (pv_remote_admits(&daemon->remote,
                         MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                                     MHD_HTTP_HEADER_AUTHORIZATION)))
        return handle(opaque, connection, url, method, version, upload, upload_size, state);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(message), (void *)(uintptr_t)message, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result ret = MHD_queue_response(connection, MHD_HTTP_UNAUTHORIZED, response);
    MHD_destroy_response(response);
    return ret;
}

static void completed(void *opaque, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode code)
{
    struct incoming *incoming = *state;
    if (incoming)
        pv_buffer_finish(&incoming->body);
    free(incoming);
    *state = NULL;
}

/* ---- Life ---- */

static int listen_at(struct pv_daemon *daemon, struct pv_error **err)
{
    int ret = pv_unix_listen(daemon->config.socket, "the daemon's socket", &daemon->listener, err);
    if (ret < 0)
        return ret;
    daemon->http = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD |
                                        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL | MHD_USE_ITC,
                                    0, NULL, NULL, handle, daemon, MHD_OPTION_LISTEN_SOCKET,
                                    daemon->listener, MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS,
                                    MHD_OPTION_CONNECTION_TIMEOUT, MAX_SECONDS,
                                    MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_END);
    return daemon->http ? 0 : pv_error_set(err, EIO, "the HTTP server does not start");
}

/* Connections of their own: however many others wait here, the unix socket's are not fewer. */
static int listen_remotely(struct pv_daemon *daemon, struct pv_error **err)
{
    int ret = pv_remote_open(&daemon->remote, daemon->config.remote, err);
    if (ret < 0)
        return ret;
    daemon->https = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_TLS,
        0, NULL, NULL, handle_remote, daemon, MHD_OPTION_LISTEN_SOCKET, daemon->remote.listener,
        MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        MAX_FROM_ONE, MHD_OPTION_CONNECTION_TIMEOUT, MAX_SECONDS, MHD_OPTION_HTTPS_MEM_CERT,
        daemon->remote.certificate, MHD_OPTION_HTTPS_MEM_KEY, daemon->remote.key,
        MHD_OPTION_HTTPS_PRIORITIES, "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2",
        MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_END);
    if (!daemon->https)
        return pv_error_set(err, EINVAL, "'%s' and '%s' are not a certificate and its key in PEM",
                            daemon->config.remote->certificate, daemon->config.remote->key);
    daemon->remote.listener = -1;
    return 0;
}

int pv_daemon_create(struct pv_daemon **out, const struct pv_daemon_config *config,
                     struct pv_error **err)
{
    struct pv_daemon *daemon = calloc(1, sizeof(*daemon));
    if (!daemon)
        return pv_error_set(err, ENOMEM, "out of memory");
    daemon->config = *config;
    daemon->listener = daemon->remote.listener = -1;
    int ret = pv_watcher_create(&daemon->watcher, config->program, err);
    if (ret >= 0)
        ret = listen_at(daemon, err);
    if (ret >= 0 && config->remote)
        ret = listen_remotely(daemon, err);
    if (ret < 0) {
        pv_daemon_destroy(daemon);
        return ret;
    }
    *out = daemon;
    return 0;
}

void pv_daemon_destroy(struct pv_daemon *daemon)
{
    if (!daemon)
        return;
    if (daemon->watcher)
        pv_watcher_stop(daemon->watcher);
    if (daemon->https)
        MHD_stop_daemon(daemon->https);
    if (daemon->http)
        MHD_stop_daemon(daemon->http); /* closes the listener */
    else if (daemon->listener >= 0)
        close(daemon->listener);
    if (daemon->listener >= 0)
        unlink(daemon->config.socket);
    pv_remote_finish(&daemon->remote);
    pv_watcher_destroy(daemon->watcher);
    free(daemon);
}
