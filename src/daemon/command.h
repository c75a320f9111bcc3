/* SPDX-License-Identifier: MIT */
/*
 * Commands of pearvisor's, run for the daemon.
 *
 * What changes the library or starts a VM is done by a process of its own: a VM that is started is
 * then nobody's child, a crash in it is not the daemon's, and API and command line cannot differ.
 */
#ifndef PV_DAEMON_COMMAND_H
#define PV_DAEMON_COMMAND_H

struct pv_error;

/*
 * Runs `program` with these words (ended by NULL, the first is the program's name) and waits. When
 * it fails, its last line is the error.
 */
int pv_command_run(const char *program, const char *const *words, struct pv_error **err);

#endif
