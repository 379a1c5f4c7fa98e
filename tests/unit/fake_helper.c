/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A helper that does what its requests' ops say: echo, die, hang, garbage, wrong-id, refuse. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/sock.h"

static void answer(uint64_t id, struct json_object *request, bool refuse)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	struct json_object *e = json_object_new_object();
	const char *text = "";

	json_add_u64(o, "id", id);
	json_get_str(request, "text", &text, NULL);
	if (refuse) {
		json_add_str(e, "code", "UnknownDomain");
		json_add_str(e, "message", "no such domain");
		json_object_object_add(o, "error", e);
	} else {
		json_add_bool(o, "ok", true);
		json_add_str(o, "text", text);
		json_add_u64(o, "pid", (uint64_t)getpid());
		json_object_put(e);
	}
	text = json_object_to_json_string(o);
	sock_send(3, text, strlen(text), NULL, 0);
}

int main(void)
{
	static char buf[VNIC_MSG_MAX];
	ssize_t n;
	size_t n_fds;

	while ((n = sock_recv(3, buf, sizeof(buf), NULL, 0, &n_fds)) > 0) {
		_cleanup_(json_putp) struct json_object *o = NULL;
		const char *op;
		uint64_t id;

		if (json_parse(buf, (size_t)n, &o, NULL) < 0 ||
		    json_get_str(o, "op", &op, NULL) < 0 ||
		    json_get_u64(o, "id", 1, UINT64_MAX, &id, NULL) < 0)
			return 9;
		if (!strcmp(op, "die"))
			raise(SIGKILL);
		else if (!strcmp(op, "hang"))
			pause();
		else if (!strcmp(op, "garbage"))
			sock_send(3, "{", 1, NULL, 0);
		else
			answer(strcmp(op, "wrong-id") ? id : id + 1, o, !strcmp(op, "refuse"));
	}
	return n < 0;
}
