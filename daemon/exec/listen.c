/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sockets that guests' front ends connect to: DIR/CLASS/NAME.sock. vnicd alone makes and unlinks them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/sock.h"
#include "daemon/exec/exec_priv.h"

/* QEMU runs as a user that nobody knows beforehand: anybody may connect, and the keeper asks who it was. */
#define SOCKET_MODE 0666
/* Anybody may go through, nobody look around. */
#define FOLDER_MODE 0711
#define SUFFIX	    ".sock"

struct socket_names {
	char id[2 * VNIC_NAME_MAX]; /* CLASS/NAME */
	char folder[256], file[384];
};

static int names_of_step(const struct exec *exec, const struct step *step, struct socket_names *ret,
			 struct vnic_err *err)
{
	if (!name_valid(step->class_name) || !name_valid(step->name))
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED,
				    "'%s' and '%s' do not name a socket", step->class_name,
				    step->name);
	snprintf(ret->id, sizeof(ret->id), "%s/%s", step->class_name, step->name);
	snprintf(ret->folder, sizeof(ret->folder), "%s/%s", exec->sock_dir, step->class_name);
	snprintf(ret->file, sizeof(ret->file), "%s/%s.sock", ret->folder, step->name);
	if (strlen(ret->file) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return vnic_err_set(err, -ENAMETOOLONG, VNIC_E_STEP_FAILED,
				    "%s has %zu characters, a socket's name takes 107: use a "
				    "shorter one",
				    ret->file, strlen(ret->file));
	return 0;
}

int folder_make(const char *folder, struct vnic_err *err)
{
	struct stat st;

	if (mkdir(folder, FOLDER_MODE) == 0) {
		/* Whatever the umask was. */
		if (chmod(folder, FOLDER_MODE) == 0)
			return 0;
	} else if (errno == EEXIST) {
		if (lstat(folder, &st) == 0 && S_ISDIR(st.st_mode))
			return 0;
		errno = ENOTDIR;
	}
	return vnic_err_set(err, -errno, VNIC_E_STEP_FAILED, "%s: %s", folder, strerror(errno));
}

static bool is_socket(const char *file)
{
	struct stat st;

	return lstat(file, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int bind_socket(struct exec *exec, const struct socket_names *names, struct vnic_err *err)
{
	int fd, r;

	r = folder_make(names->folder, err);
	if (r < 0)
		return r;
	fd = sock_listen(names->file, SOCK_STREAM, SOCKET_MODE);
	/* The datapath listens there already: it was given the descriptor by an earlier vnicd. */
	if (fd == -EADDRINUSE)
		return 0;
	if (fd < 0)
		return vnic_err_set(err, fd, VNIC_E_STEP_FAILED, "%s: %s", names->file,
				    fd == -EEXIST ? "there is a file which is no socket: remove it"
						  : strerror(-fd));
	r = held_put(&exec->listeners, names->id, fd);
	if (r < 0) {
		close(fd);
		unlink(names->file);
	}
	return r;
}

int listen_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	struct socket_names names;
	int r;

	r = names_of_step(exec, step, &names, err);
	if (r < 0)
		return r;
	/* Held and still at its name: nothing to do. Without its file nobody can connect: again. */
	if (held_get(exec->listeners, names.id) >= 0) {
		if (is_socket(names.file))
			return 0;
		held_drop(&exec->listeners, names.id);
	}
	return bind_socket(exec, &names, err);
}

int listen_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	struct socket_names names;
	int r;

	r = names_of_step(exec, step, &names, err);
	if (r == -ENAMETOOLONG)
		return 0;
	if (r < 0)
		return r;
	held_drop(&exec->listeners, names.id);
	if (is_socket(names.file) && unlink(names.file) < 0 && errno != ENOENT)
		return vnic_err_set(err, -errno, VNIC_E_STEP_FAILED, "%s: %s", names.file,
				    strerror(errno));
	/* The last socket of a class takes its folder along. */
	rmdir(names.folder);
	return 0;
}

/* CLASS/NAME.sock of the sockets' folder, which may be one that nobody has any more. */
static void sweep_one(struct exec *exec, const char *class_name, const char *entry,
		      bool (*known)(void *data, const char *class_name, const char *name),
		      void *data)
{
	struct step step = { .kind = STEP_SOCK_LISTEN };
	struct socket_names names;
	size_t n = strlen(entry);

	if (n <= strlen(SUFFIX) || !str_eq(entry + n - strlen(SUFFIX), SUFFIX) ||
	    n - strlen(SUFFIX) >= sizeof(step.name) ||
	    str_copy(step.class_name, sizeof(step.class_name), class_name) < 0)
		return;
	memcpy(step.name, entry, n - strlen(SUFFIX));
	if (names_of_step(exec, &step, &names, NULL) < 0 || !is_socket(names.file) ||
	    known(data, step.class_name, step.name) || sock_answers(names.file, SOCK_STREAM) != 0)
		return;
	listen_undo(exec, &step, NULL);
}

static void sweep_link(struct exec *exec, const char *class_name, const char *entry,
		       bool (*known)(void *data, const char *class_name, const char *name),
		       void *data)
{
	if (!known(data, class_name, entry))
		vdpa_sweep_link(exec, class_name, entry);
}

/* Call @one for each file in each folder of @dir. */
static void sweep(struct exec *exec, const char *dir,
		  void (*one)(struct exec *exec, const char *class_name, const char *entry,
			      bool (*known)(void *data, const char *class_name, const char *name),
			      void *data),
		  bool (*known)(void *data, const char *class_name, const char *name), void *data)
{
	DIR *top = opendir(dir), *folder;
	struct dirent *class, *file;
	int fd;

	while (top && (class = readdir(top))) {
		if (!name_valid(class->d_name))
			continue;
		fd = openat(dirfd(top), class->d_name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		folder = fd >= 0 ? fdopendir(fd) : NULL;
		if (!folder) {
			close_safe(fd);
			continue;
		}
		while ((file = readdir(folder)))
			one(exec, class->d_name, file->d_name, known, data);
		closedir(folder);
	}
	if (top)
		closedir(top);
}

void exec_sweep_sockets(struct exec *exec,
			bool (*known)(void *data, const char *class_name, const char *name),
			void *data)
{
	sweep(exec, exec->sock_dir, sweep_one, known, data);
	sweep(exec, exec->vdpa_dir, sweep_link, known, data);
}
