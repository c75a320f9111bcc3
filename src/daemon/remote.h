/* SPDX-License-Identifier: MIT */
/*
 * The API for other machines: TCP with TLS, and a token that each request has to bring
 * (Authorization: Bearer TOKEN, RFC 6750 section 2.1). Only when asked for; never without either.
 */
#ifndef PV_DAEMON_REMOTE_H
#define PV_DAEMON_REMOTE_H

#include <stdbool.h>

struct pv_error;

/* What it is made of; a token of fewer characters can be guessed. */
#define PV_REMOTE_TOKEN_MIN 32u
#define PV_REMOTE_TOKEN_MAX 512u

struct pv_remote_config {
    const char *address;     /* ADDRESS:PORT, [ADDRESS]:PORT for IPv6; numbers */
    const char *certificate; /* files: of the server and those that vouch for it, PEM */
    const char *key;         /* its private key, PEM */
    const char *token;       /* that has the token alone in its first line */
};

struct pv_remote {
    int listener; /* -1 when it is another's, or there is none */
    char *certificate, *key, *token;
};

/* Reads the files and listens. Finish it in any case. */
int pv_remote_open(struct pv_remote *remote, const struct pv_remote_config *config,
                   struct pv_error **err);
void pv_remote_finish(struct pv_remote *remote);

/*
 * Whether what came as Authorization (or NULL) has the token. Takes as long whatever is wrong with
 * it, so that the token cannot be found a character at a time.
 */
bool pv_remote_admits(const struct pv_remote *remote, const char *authorization);

#endif
