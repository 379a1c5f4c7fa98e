/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The step that plugs a VF in or pulls it: what the helper is asked, and what its answers mean. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/log.h"
#include "daemon/vf_plug.h"

#define UUID "6ecd5f50-1712-4b9b-ba6c-dd77b83b4ab5"

static struct event_base *base;
static struct libvirt_client *client;
static struct vf_plug *plug;
static struct vnic_port port;
static int calls, error;
static struct vnic_err said;

static void on_done(void *arg, int e, const struct vnic_err *err)
{
	(void)arg;
	calls++;
	error = e;
	said = err ? *err : (struct vnic_err)VNIC_ERR_INIT;
	event_base_loopbreak(base);
}

/* The outcome for the VF of that function. */
static int outcome(int function, bool undo)
{
	struct outside_plug ops = vf_plug_ops(plug);
	struct step step = { .kind = STEP_VF_ATTACH };

	snprintf(step.vf_addr, sizeof(step.vf_addr), "0000:03:10.%d", function);
	calls = 0;
	ops.plug(ops.data, &step, &port, undo, on_done, NULL);
	assert_int_equal(calls, 0);
	event_base_dispatch(base);
	assert_int_equal(calls, 1);
	return error;
}

static void plugged_in(void **state)
{
	(void)state;
	assert_int_equal(outcome(0, false), 0);
	assert_int_equal(outcome(2, false), -EIO);
	assert_string_equal(said.code, "Busy");
	assert_string_equal(said.message, "attach-hostdev " UUID " 0000:03:10.2 ua-web");
	/* A domain that has ended cannot be given anything. */
	assert_int_equal(outcome(1, false), -EIO);
}

static void pulled(void **state)
{
	(void)state;
	assert_int_equal(outcome(0, true), 0);
	/* A domain that has ended has let go of it. */
	assert_int_equal(outcome(1, true), 0);
	assert_int_equal(outcome(2, true), -EIO);
	assert_string_equal(said.message, "detach-hostdev " UUID " 0000:03:10.2 none");
	/* What is not said to be out is not out. */
	assert_int_equal(outcome(3, true), -EBADMSG);
}

static void nobody_is_told_after_the_end(void **state)
{
	struct outside_plug ops = vf_plug_ops(plug);
	struct step step = { .kind = STEP_VF_ATTACH, .vf_addr = "0000:03:10.0" };

	(void)state;
	calls = 0;
	ops.plug(ops.data, &step, &port, false, on_done, NULL);
	ops.plug(ops.data, &step, &port, true, on_done, NULL);
	client = libvirt_client_free(client);
	plug = vf_plug_free(plug);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(calls, 0);
}

static int set_up(void **state)
{
	const char *top = getenv("top_builddir");
	char program[4096];

	(void)state;
	vnic_log_set_level(LOG_ERR);
	snprintf(program, sizeof(program), "%s/tests/unit/fake_helper", top ? top : ".");
	base = event_base_new();
	memset(&port, 0, sizeof(port));
	strcpy(port.spec.standby, "ua-web");
	if (uuid_parse(UUID, port.spec.key.uuid) < 0 ||
	    libvirt_client_new(base, program, &client) < 0)
		return -1;
	return vf_plug_new(client, &plug);
}

static int tear_down(void **state)
{
	(void)state;
	client = libvirt_client_free(client);
	plug = vf_plug_free(plug);
	event_base_free(base);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(plugged_in, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pulled, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nobody_is_told_after_the_end, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("vf_plug", tests, NULL, NULL);
}
