/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/json.h"
#include "base/log.h"
#include "daemon/libvirt_client.h"

#define MANY 300

static struct event_base *base;
static struct libvirt_client *client;

struct result {
	int calls;
	char code[VNIC_ERR_CODE_MAX];
	char text[128];
	uint64_t pid;
};

static int waiting;
static bool undead;
static pid_t spared;

/* Ahead of libc's: a process in state D has the signal, and goes on all the same. */
int kill(pid_t pid, int sig)
{
	if (undead && sig == SIGKILL) {
		spared = pid;
		return 0;
	}
	return (int)syscall(SYS_kill, pid, sig);
}

static void on_done(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	struct result *r = arg;
	const char *text;

	r->calls++;
	if (err) {
		snprintf(r->code, sizeof(r->code), "%s", err->code);
		snprintf(r->text, sizeof(r->text), "%.127s", err->message);
	} else {
		json_get_str(answer, "text", &text, NULL);
		snprintf(r->text, sizeof(r->text), "%.127s", text);
		json_get_u64(answer, "pid", 0, UINT64_MAX, &r->pid, NULL);
	}
	if (--waiting == 0)
		event_base_loopbreak(base);
}

static struct libvirt_request *ask(const char *op, const char *text, struct result *r)
{
	struct json_object *o = json_object_new_object();

	memset(r, 0, sizeof(*r));
	json_add_str(o, "text", text);
	waiting++;
	return libvirt_client_call(client, op, o, 100, on_done, r);
}

static void answers_in_order(void **state)
{
	static struct result r[MANY];
	char text[32];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "n%d", i);
		assert_non_null(ask("echo", text, &r[i]));
		assert_int_equal(r[i].calls, 0);
	}
	event_base_dispatch(base);
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "n%d", i);
		assert_int_equal(r[i].calls, 1);
		assert_string_equal(r[i].text, text);
		assert_int_equal(r[i].pid, r[0].pid);
	}
}

static void errors_are_passed_on(void **state)
{
	struct result r;

	(void)state;
	ask("refuse", "", &r);
	event_base_dispatch(base);
	assert_string_equal(r.code, "UnknownDomain");
	assert_string_equal(r.text, "no such domain");
}

/* A death takes the request it was at, and no other. */
static void death_costs_one_request(void **state)
{
	struct result before, fatal, after;

	(void)state;
	ask("echo", "a", &before);
	ask("die", "", &fatal);
	ask("echo", "b", &after);
	event_base_dispatch(base);
	assert_string_equal(before.text, "a");
	assert_string_equal(fatal.code, "LibvirtFailed");
	assert_non_null(strstr(fatal.text, "signal 9"));
	assert_string_equal(after.text, "b");
	assert_int_not_equal(before.pid, after.pid);
}

static void hang_is_a_timeout(void **state)
{
	struct result hung, after;

	(void)state;
	ask("hang", "", &hung);
	ask("echo", "b", &after);
	event_base_dispatch(base);
	assert_string_equal(hung.code, "Timeout");
	assert_string_equal(after.text, "b");
}

/* Each request is answered by its own deadline, also while the one before is still in the kernel. */
static void who_cannot_be_killed_blocks_nobody(void **state)
{
	struct result before, hung, behind, after;

	(void)state;
	ask("echo", "a", &before);
	event_base_dispatch(base);
	undead = true;
	ask("hang", "", &hung);
	ask("echo", "b", &behind);
	event_base_dispatch(base);
	assert_string_equal(hung.code, "Timeout");
	assert_string_equal(behind.code, "Timeout");
	assert_int_equal(spared, (pid_t)before.pid);
	assert_non_null(strstr(behind.text, "hangs in the kernel"));

	/* Its system call has ended: so does it, and the next one has a helper. */
	undead = false;
	assert_int_equal(kill(spared, SIGKILL), 0);
	ask("echo", "c", &after);
	event_base_dispatch(base);
	assert_string_equal(after.text, "c");
	assert_int_not_equal(after.pid, before.pid);
}

static void nonsense_ends_the_helper(void **state)
{
	struct result garbage, wrong, after;

	(void)state;
	ask("garbage", "", &garbage);
	ask("wrong-id", "", &wrong);
	ask("echo", "b", &after);
	event_base_dispatch(base);
	assert_string_equal(garbage.code, "LibvirtFailed");
	assert_string_equal(wrong.code, "LibvirtFailed");
	assert_string_equal(after.text, "b");
}

static void no_program_is_an_error(void **state)
{
	struct libvirt_client *c = client;
	struct result r;

	(void)state;
	assert_int_equal(libvirt_client_new(base, "/nonexistent/vnicd-libvirt", &client), 0);
	ask("echo", "a", &r);
	event_base_dispatch(base);
	client = libvirt_client_free(client);
	client = c;
	assert_string_equal(r.code, "LibvirtFailed");
	assert_non_null(strstr(r.text, "/nonexistent/vnicd-libvirt"));
}

static int start(void **state)
{
	const char *top = getenv("top_builddir");
	char program[4096];

	(void)state;
	vnic_log_set_level(LOG_ERR);
	snprintf(program, sizeof(program), "%s/tests/unit/fake_helper", top ? top : ".");
	base = event_base_new();
	return libvirt_client_new(base, program, &client);
}

static int stop(void **state)
{
	(void)state;
	client = libvirt_client_free(client);
	event_base_free(base);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_in_order),
		cmocka_unit_test(errors_are_passed_on),
		cmocka_unit_test(death_costs_one_request),
		cmocka_unit_test(hang_is_a_timeout),
		cmocka_unit_test(who_cannot_be_killed_blocks_nobody),
		cmocka_unit_test(nonsense_ends_the_helper),
		cmocka_unit_test(no_program_is_an_error),
	};

	return cmocka_run_group_tests_name("libvirt_client", tests, start, stop);
}
