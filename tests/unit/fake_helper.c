/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A helper that does what its requests' ops say: echo, die, hang, garbage, wrong-id, refuse, event; and "devices"
 * of three domains on two pages, as api/libvirt-helper.md has it, or as $FAKE_DEVICES says. What becomes of a VF
 * is told by the number of its function.
 */
#include <signal.h>
#include <stdlib.h>
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

static void say(const char *text)
{
	sock_send(3, text, strlen(text), NULL, 0);
}

#define DOMAIN(n) "{\"uuid\":\"00000000-0000-0000-0000-00000000000" n "\",\"name\":\"d" n "\","

static void devices(uint64_t id, struct json_object *request)
{
	const char *how = getenv("FAKE_DEVICES");
	char text[1000];

	if (how && !strcmp(how, "die"))
		raise(SIGKILL);
	snprintf(text, sizeof(text),
		 json_has(request, "after")
			 ? "{\"id\":%llu,\"ok\":true,\"more\":false,\"domains\":[" DOMAIN(
				   "2") "\"error\":\"unreadable\"}," DOMAIN("3") "\"devices\":["
										 "{\"address\":"
										 "\"0000:03:"
										 "10.2\","
										 "\"alias\":"
										 "null}]}]}"
			 : "{\"id\":%llu,\"ok\":true,\"more\":true,\"domains\":[" DOMAIN(
				   "1") "\"devices\":[{\"address\":\"0000:03:10.0\",\"alias\":"
					"\"net1\"},{\"address\":\"0000:03:10.1\",\"alias\":\"ua-"
					"vnic-x\"}]}]}",
		 (unsigned long long)id);
	say(text);
}

static void hostdev(uint64_t id, const char *op, struct json_object *request)
{
	bool attach = !strcmp(op, "attach-hostdev");
	const char *address = "", *standby = "none", *domain = "";
	char text[600];

	json_get_str(request, "domain", &domain, NULL);
	json_get_str(request, "address", &address, NULL);
	json_get_str(request, "standby", &standby, NULL);
	if (strstr(address, ".0"))
		snprintf(text, sizeof(text), "{\"id\":%llu,\"ok\":true,%s}", (unsigned long long)id,
			 attach ? "\"alias\":\"ua-vnic-web\"" : "\"outcome\":\"removed\"");
	else if (strstr(address, ".3"))
		snprintf(text, sizeof(text), "{\"id\":%llu,\"ok\":true}", (unsigned long long)id);
	else
		snprintf(text, sizeof(text),
			 "{\"id\":%llu,\"error\":{\"code\":\"%s\",\"message\":\"%s %s %s %s\"}}",
			 (unsigned long long)id, strstr(address, ".1") ? "UnknownDomain" : "Busy",
			 op, domain, address, standby);
	say(text);
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
		else if (!strcmp(op, "devices"))
			devices(id, o);
		else if (strstr(op, "-hostdev"))
			hostdev(id, op, o);
		else if (!strcmp(op, "garbage"))
			sock_send(3, "{", 1, NULL, 0);
		else if (!strcmp(op, "event"))
			say("{\"event\":\"devices\"}"), answer(id, o, false);
		else
			answer(strcmp(op, "wrong-id") ? id : id + 1, o, !strcmp(op, "refuse"));
	}
	return n < 0;
}
