/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files that a managed keeper, and its workers with it, may touch from now: Landlock, landlock(7).
 *
 * A service manager does the like with a mount namespace, which takes it longer than all the rest of a restart; and
 * a restart is a gap in guests' traffic.
 */
#pragma once

/**
 * fence_up() - read programs, libraries, /proc, /sys and /run; write below /run/vnicd and in @more's folder
 * @more: a file to be written (--stats), or NULL
 *
 * Return: 0; 1: this kernel has no Landlock; or a negative errno.
 */
int fence_up(const char *more);
