/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * confine() - leave a worker the system calls that it needs
 * Anything else kills the process. After it nothing may be logged: the journal wants a socket.
 * Return: 0 or a negative errno.
 */
int confine(void);

/* Close all descriptors above @last_fd. */
int close_above(int last_fd);
